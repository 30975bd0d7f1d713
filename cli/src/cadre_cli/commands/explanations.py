"""Says why a run went the way it went, and how two runs differ."""

from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli.options import JsonFlag
from cadre_cli.screen import escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, duration

if TYPE_CHECKING:
    from cadre_client import Client, Decision, Difference, Event, Run, Visit

__all__ = ["add_to"]

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
_MARKS = {
    "succeeded": "[green]✓[/]",
    "failed": "[red]✗[/]",
    "skipped": "[dim]-[/]",
    "unfinished": "[yellow]…[/]",
}
_LONGEST_VALUE = 80


def add_to(runs: typer.Typer) -> None:
    """Adds the commands to `cadre runs`."""
    runs.command(epilog="Example: cadre runs explain 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")(explain)
    runs.command(
        epilog="Example: cadre runs diff 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 01JD2N9V1XK7M5P3R1T9W8Y6B4"
    )(diff)


def explain(run_id: RunId, json_: JsonFlag = False) -> None:
    """Say what happened at each step of a run so far, and why it went on from there.

    For each condition: what it read, whether it held, where it leads. No model is asked.
    """
    from cadre_client import explain as explained

    with gateway() as client:
        found = explained(*_so_far(client, run_id))
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    output().print(found.summary, markup=False, highlight=False)
    for visit in found.visits:
        _print_visit(visit)


def diff(first: RunId, second: RunId, json_: JsonFlag = False) -> None:
    """Put two runs side by side: inputs, steps so far, outputs, tokens, cost. What is the same is left out."""
    from cadre_client import compare

    with gateway() as client:
        found = compare(*_so_far(client, first), *_so_far(client, second))
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    rows = [
        *_rows("", found.run),
        *_rows("input ", found.inputs),
        *_rows("", found.visits),
        *_rows("output ", found.outputs),
    ]
    print_table(["", first, second], rows, empty="The two runs do not differ.")


def _so_far(client: "Client", run_id: str) -> "tuple[Run, list[Event]]":
    run = client.run(run_id)
    return run, list(client.events_so_far(run))


def _print_visit(visit: "Visit") -> None:
    again = f" (visit {visit.iteration})" if visit.iteration > 1 else ""
    tries = f", {visit.attempts} tries" if visit.attempts > 1 else ""
    took = f" [dim]{duration(visit.duration_ms)}{tries}[/]" if visit.duration_ms is not None else ""
    way = f" → {escape(', '.join(visit.route))}" if visit.route else ""
    line = f"{_MARKS.get(visit.outcome, '')} [bold]{escape(visit.node)}[/]{again}{took}{way}"
    output().print(line, highlight=False)
    if visit.error is not None:
        _indented(f"{visit.error.message} ({visit.error.code})")
    for decision in visit.decisions:
        _indented(_in_words(decision))
    if visit.loop:
        _indented(f"its loop was taken {visit.loop} times" if visit.loop > 1 else "took its loop")


def _in_words(decision: "Decision") -> str:
    leads = f" → {', '.join(decision.to)}" if decision.to else ""
    if decision.held is None:
        return f"cannot be computed: {decision.condition}{leads}: {decision.error}"
    saw = ", ".join(f"{name} = {_short(value)}" for name, value in decision.values.items())
    where = f" with {saw}" if saw else ""
    return f"{'held' if decision.held else 'did not hold'}: {decision.condition}{leads}{where}"


def _indented(text: str) -> None:
    output().print(f"    {text}", markup=False, highlight=False, soft_wrap=True)


def _rows(kind: str, differences: "list[Difference]") -> list[tuple[str, str, str]]:
    return [
        (escape(f"{kind}{one.name}"), escape(_cell(one.first)), escape(_cell(one.second)))
        for one in differences
    ]


def _cell(value: object) -> str:
    return "-" if value is None else _short(value)


def _short(value: object) -> str:
    text = as_text(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
