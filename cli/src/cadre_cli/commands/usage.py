"""Shows the models that can be named, and what calls to them cost."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import cost, count, now

if TYPE_CHECKING:
    from cadre_client import Usage, UsageGroup, UsageReport

__all__ = ["add_to"]

_BAR_CELLS = 24
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_to(app: typer.Typer) -> None:
    """Adds the commands that stand by themselves."""
    app.command(epilog="Examples: cadre models · cadre models --json")(models)
    app.command(
        epilog="Examples: cadre costs · cadre costs --by day --last 30d · cadre costs --by workflow --by model"
    )(costs)


def models(json_: JsonFlag = False) -> None:
    """List the models that can be named.

    Says which is the default, and why one cannot be used now.
    """
    with gateway() as client:
        found = client.models()
    if json_:
        print_json({"models": [model.model_dump(mode="json") for model in found]})
        return
    print_table(
        ["Model", "Usable", "Context", "$ per million in", "out", ""],
        [
            (
                escape(model.id) + (" [bold](default)[/]" if model.default else ""),
                "[green]yes[/]" if model.available else "[red]no[/]",
                count(model.context_tokens) if model.context_tokens else "-",
                _price(model.input_usd_per_million),
                _price(model.output_usd_per_million),
                f"[dim]{escape(model.unavailable_reason)}[/]",
            )
            for model in found
        ],
        empty="There are no models.",
    )


def costs(
    by: Annotated[
        list[str] | None,
        typer.Option(help="workflow, run, node, model, provider, day or hour; may be repeated."),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Only calls of the last 12h, 7d, 4w; all if not given."),
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only calls of this workflow.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Only calls of this run.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Show what model calls used and cost.

    Grouped, with a bar for each group's share. A cost is `unknown` where the price of a call is; it is never guessed.
    """
    dimensions = by or ["model"]
    with gateway() as client:
        report = client.usage(
            group_by=dimensions, start=_since(last), workflow=workflow, run_id=run_id
        )
    if json_:
        print_json(report.model_dump(mode="json"))
        return
    _show(report, dimensions)


def _show(report: "UsageReport", dimensions: Sequence[str]) -> None:
    share = _shares([group.usage for group in report.groups])
    rows = [
        (*_keys(group, dimensions), *_numbers(group.usage), str(group.failed_calls), _bar(part))
        for group, part in zip(report.groups, share, strict=True)
    ]
    total = ("[bold]Total[/]", *[""] * (len(dimensions) - 1), *_numbers(report.total), "", "")
    print_table(
        [*dimensions, "Calls", "Tokens in", "Tokens out", "Cost", "Failed", ""],
        [*rows, total] if rows else [],
        empty="No model was called yet.",
    )


def _keys(group: "UsageGroup", dimensions: Sequence[str]) -> list[str]:
    return [escape(group.keys.get(dimension) or "-") for dimension in dimensions]


def _numbers(usage: "Usage") -> tuple[str, str, str, str]:
    return (
        count(usage.calls),
        count(usage.input_tokens),
        count(usage.output_tokens),
        cost(usage.cost_usd),
    )


def _shares(usages: Sequence["Usage"]) -> list[Decimal]:
    """Each one's part of the largest: by cost, or by tokens where nothing cost anything."""
    amounts = [usage.cost_usd or Decimal(0) for usage in usages]
    if not any(amounts):
        amounts = [Decimal(usage.input_tokens + usage.output_tokens) for usage in usages]
    largest = max(amounts, default=Decimal(0)) or Decimal(1)
    return [amount / largest for amount in amounts]


def _bar(share: Decimal) -> str:
    return f"[cyan]{'█' * round(share * _BAR_CELLS)}[/]"


def _price(usd: Decimal | None) -> str:
    return "unknown" if usd is None else cost(usd)


def _since(span: str | None) -> datetime | None:
    if span is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", span)
    if match is None:
        raise typer.BadParameter(
            f"{span!r} is no span of time; write 30m, 12h, 7d or 4w", param_hint="--last"
        )
    number, unit = match.groups()
    return now() - timedelta(**{_UNITS[unit]: int(number)})
