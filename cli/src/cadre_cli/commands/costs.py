"""Shows what model calls used and cost: sums in groups, or the ledger's single entries."""

import csv
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadre_cli.errors import CliError
from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import cost, count, duration, moment, now

if TYPE_CHECKING:
    from cadre_client import ModelCall, Usage, UsageDetails, UsageGroup, UsageReport

__all__ = ["add_to"]

_BAR_CELLS = 24
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_IN_TIME = ("day", "hour")
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "uncertain": "magenta"}


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        epilog="Examples: cadre costs · cadre costs --by day --last 30d · cadre costs --by workflow --by model --csv · "
        "cadre costs --since 2026-11-01 --until 2026-12-01 · cadre costs --calls --run ID"
    )(costs)


def costs(
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="workflow, run, node, model, provider, key, schedule, day, hour; several between commas, or repeated."
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Only calls of the last 12h, 7d, 4w; all if not given."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Only calls from then on: 2026-11-01, or with a time; UTC."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only calls before then, written likewise.")
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only calls of this workflow.")] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", help="Only calls of this run, and of its steps' runs.")
    ] = None,
    calls: Annotated[bool, typer.Option("--calls", help="List single calls, not sums.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many calls, the newest.")] = 100,
    csv_: Annotated[
        bool, typer.Option("--csv", help="Print CSV, with a line of names first.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Show what model calls used and cost.

    Grouped, with a bar for each group's share. A cost is `unknown` where the price of a call is; it is never guessed.
    """
    _check(by, calls, csv_, json_)
    if last and since:
        raise CliError("--last and --since exclude each other", code="USAGE")
    start, end = _last(last) or _time(since, "--since"), _time(until, "--until")
    with gateway() as client:
        if calls:
            found = client.calls(
                start=start, end=end, workflow=workflow, run_id=run_id, limit=limit
            )
            _tell_calls(found, csv_, json_)
            return
        dimensions = [name.strip() for each in by or ["model"] for name in each.split(",")]
        report = client.usage(
            group_by=dimensions, start=start, end=end, workflow=workflow, run_id=run_id
        )
    _tell_sums(report, dimensions, csv_, json_)


def _check(by: list[str] | None, calls: bool, csv_: bool, json_: bool) -> None:
    if csv_ and json_:
        raise CliError("--csv and --json exclude each other", code="USAGE")
    if by and calls:
        raise CliError("--by groups calls, and --calls lists them one by one", code="USAGE")


def _tell_sums(report: "UsageReport", dimensions: Sequence[str], csv_: bool, json_: bool) -> None:
    if json_:
        print_json(report.model_dump(mode="json"))
    elif csv_:
        _print_csv(
            _names_of_sums(dimensions), [_flat(g) for g in _in_order(report.groups, dimensions)]
        )
    else:
        _show_sums(report, dimensions)


def _tell_calls(found: Sequence["ModelCall"], csv_: bool, json_: bool) -> None:
    documents = [call.model_dump(mode="json") for call in found]
    if json_:
        print_json({"calls": documents})
    elif csv_:
        from cadre_client import ModelCall

        _print_csv(list(ModelCall.model_fields), documents)
    else:
        _show_calls(found)


def _names_of_sums(dimensions: Sequence[str]) -> list[str]:
    from cadre_client import Usage, UsageDetails

    names = [*dimensions, *Usage.model_fields, "failed_calls", *UsageDetails.model_fields]
    return list(dict.fromkeys(names))


def _in_order(groups: Sequence["UsageGroup"], dimensions: Sequence[str]) -> list["UsageGroup"]:
    """The dearest first, as they come; days and hours one after the other."""
    if dimensions[0] not in _IN_TIME:
        return list(groups)
    return sorted(groups, key=lambda group: group.keys.get(dimensions[0]) or "")


def _flat(group: "UsageGroup") -> dict[str, Any]:
    document = group.model_dump(mode="json")
    rest = {"failed_calls": document["failed_calls"]}
    return {**document["keys"], **document["usage"], **rest, **document["details"]}


def _print_csv(names: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _show_sums(report: "UsageReport", dimensions: Sequence[str]) -> None:
    groups = _in_order(report.groups, dimensions)
    share = _shares(groups)
    rows = [
        (*_keys(group, dimensions), *_numbers(group.usage), str(group.failed_calls), _bar(part))
        for group, part in zip(groups, share, strict=True)
    ]
    total = ("[bold]Total[/]", *[""] * (len(dimensions) - 1), *_numbers(report.total), "", "")
    print_table(
        [*dimensions, "Calls", "Tokens in", "Tokens out", "Cost", "Failed", ""],
        [*rows, total] if rows else [],
        empty="No model was called yet.",
    )
    for line in _remarks(report.total, report.total_details):
        output().print(line, markup=False, highlight=False)


def _remarks(total: "Usage", details: "UsageDetails") -> list[str]:
    """What the table's sums leave open."""
    lines = []
    if total.cost_usd is None:
        lines.append(f"The costs that are known add up to {cost(details.known_usd)}.")
    if details.open_calls:
        lines.append(f"Under way: {details.open_calls}, at most {cost(details.open_usd)}.")
    if details.uncertain_calls:
        lines.append(
            f"Uncertain (sent, the reply never seen): {details.uncertain_calls}, "
            f"at most {cost(details.uncertain_usd)}."
        )
    if details.unbounded_calls:
        lines.append(f"Not in these sums: {details.unbounded_calls}, for want of a price.")
    if details.reused_replies:
        lines.append(
            f"Replies reused: {details.reused_replies}, {cost(details.saved_usd)} and "
            f"{count(details.saved_tokens)} tokens saved."
        )
    return lines


def _show_calls(found: Sequence["ModelCall"]) -> None:
    print_table(
        ["Time", "Run", "Node", "Model", "Status", "Tokens in", "out", "Cost", "Took"],
        [
            (
                moment(call.time),
                escape(call.run_id or "-"),
                escape(call.node or "-"),
                escape(f"{call.provider}/{call.model}"),
                f"[{_COLOURS.get(call.status, 'default')}]{escape(call.error_code or call.status)}[/]",
                "?" if call.input_tokens is None else count(call.input_tokens),
                "?" if call.output_tokens is None else count(call.output_tokens),
                _cost(call),
                duration(call.latency_ms),
            )
            for call in found
        ],
        empty="No model was called yet.",
    )


def _cost(call: "ModelCall") -> str:
    if call.cost_usd is None and call.reserved_usd is not None:
        return f"≤ {cost(call.reserved_usd)}"
    return cost(call.cost_usd)


def _keys(group: "UsageGroup", dimensions: Sequence[str]) -> list[str]:
    return [escape(group.keys.get(dimension) or "-") for dimension in dimensions]


def _numbers(usage: "Usage") -> tuple[str, str, str, str]:
    return (
        count(usage.calls),
        count(usage.input_tokens),
        count(usage.output_tokens),
        cost(usage.cost_usd),
    )


def _shares(groups: Sequence["UsageGroup"]) -> list[Decimal]:
    """Each one's part of the largest: by known cost, or by tokens where nothing cost anything."""
    amounts = [group.details.known_usd for group in groups]
    if not any(amounts):
        amounts = [Decimal(g.usage.input_tokens + g.usage.output_tokens) for g in groups]
    largest = max(amounts, default=Decimal(0)) or Decimal(1)
    return [amount / largest for amount in amounts]


def _bar(share: Decimal) -> str:
    return f"[cyan]{'█' * round(share * _BAR_CELLS)}[/]"


def _time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-11-01 or 2026-11-01T08:00", param_hint=option
        ) from exc
    # As the ledger's days and the periods of budgets are.
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _last(span: str | None) -> datetime | None:
    if span is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", span)
    if match is None:
        raise typer.BadParameter(
            f"{span!r} is no span of time; write 30m, 12h, 7d or 4w", param_hint="--last"
        )
    number, unit = match.groups()
    return now() - timedelta(**{_UNITS[unit]: int(number)})
