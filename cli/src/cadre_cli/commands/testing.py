"""Tests workflow files with no model, and plans their runs before anything is spent."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer

from cadre_cli import problems
from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.options import (
    InputsFile,
    InputValues,
    JsonFlag,
    WorkflowFile,
    read_inputs,
    read_text,
)
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import cost, count, duration

if TYPE_CHECKING:
    from cadre_client import CostRange, Need, Plan, PlannedNode, TestFailure, TestReport

__all__ = ["add_to"]

_BASES = {
    "history": "as {runs} of this file did",
    "estimate": "by counted tokens and measured speeds, loops at their bounds",
    "limit": "the run's own limit",
}


def add_to(app: typer.Typer) -> None:
    """Adds the commands that stand by themselves."""
    app.command(
        "test",
        epilog="Examples: cadre test triage.yaml · cadre test triage.yaml -k angry --json",
    )(run_tests)
    app.command(
        epilog="Examples: cadre plan triage.yaml -i message=hello · cadre plan triage.yaml --max-cost 0.05 --json"
    )(plan)


def run_tests(
    file: WorkflowFile,
    name: Annotated[
        str, typer.Option("-k", metavar="NAME", help="Only tests whose name contains this.")
    ] = "",
    json_: JsonFlag = False,
) -> None:
    """Run the tests that a workflow file carries, with their written replies and no model.

    Nothing is kept of them: no run, no cost, no memory.

    Ends with 0 when all passed, 1 when some failed, 2 when the file is wrong or has no such test.
    """
    source = read_text(file)
    with gateway() as client, problems.shown(source=source, file=str(file)):
        report = client.test(source, name_contains=name)
    if json_:
        print_json(report.model_dump(mode="json"))
    else:
        _show_report(report, source, str(file))
    raise typer.Exit(ExitStatus.SUCCEEDED if report.passed else ExitStatus.FAILED)


def plan(
    file: WorkflowFile,
    inputs: InputValues = None,
    inputs_file: InputsFile = None,
    max_cost: Annotated[
        str | None,
        typer.Option(
            metavar="USD", help="End with 4 when a run may cost more, or nobody knows how much."
        ),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Show what a run would need, cost and take, before anything is spent.

    Runs nothing and asks no model. Inputs that are given make the estimate closer.

    Ends with 4 when the upper bound of the cost passes --max-cost or is unknown.
    """
    limit, source = _dollars(max_cost), read_text(file)
    values = read_inputs(inputs, inputs_file)
    with gateway() as client, problems.shown(source=source, file=str(file)):
        planned = client.plan(source, values)
    refusal = None if limit is None else _refusal(planned.cost, limit)
    if json_:
        print_json({**planned.model_dump(mode="json"), "refused": refusal})
    else:
        _show_plan(planned)
        if refusal is not None:
            errors().print(refusal, style="bold red", markup=False, highlight=False)
    raise typer.Exit(ExitStatus.SUCCEEDED if refusal is None else ExitStatus.LIMITED)


def _show_report(report: "TestReport", source: str, file: str) -> None:
    rows = [
        (
            escape(result.name),
            "[green]passed[/]" if result.passed else "[red]failed[/]",
            duration(result.duration_ms),
        )
        for result in report.tests
    ]
    print_table(["Test", "Result", "Took"], rows, empty="There are no tests.")
    lines = source.splitlines()
    for result in report.tests:
        if not result.passed:
            errors().print(f"\n[bold red]{escape(result.name)}[/]")
        for failure in result.failures:
            _show_failure(failure, lines, file)
    failed = sum(not result.passed for result in report.tests)
    said = f"{len(report.tests) - failed} passed, {failed} failed"
    errors().print(said, style="bold red" if failed else "green")


def _show_failure(failure: "TestFailure", lines: Sequence[str], file: str) -> None:
    console = errors()
    console.print(f"  {failure.code}  {file}:{failure.line}:{failure.column}", markup=False)
    if 0 < failure.line <= len(lines):
        console.print(f"  | {lines[failure.line - 1].strip()}", markup=False, style="dim")
    console.print(f"  {failure.message}", markup=False, highlight=False)
    if failure.resolution:
        console.print(f"  → {failure.resolution}", markup=False, highlight=False)


def _show_plan(planned: "Plan") -> None:
    print_table(
        ["Node", "Kind", "Visits", "Models", "Calls", "Cost"],
        [_row(node) for node in planned.nodes],
        empty="There are no nodes.",
    )
    console = output()
    for edge in planned.workflow.graph.edges if planned.workflow.graph else []:
        way = f"  {edge.source} → {edge.target}"
        when = f"  if {edge.condition}" if edge.condition else ""
        console.print(
            f"{way}{when}{'  (loop)' if edge.loop else ''}", markup=False, highlight=False
        )
    print_table(
        ["Needs", "What", "For", "Is there"],
        [_need(need) for need in planned.needs],
        empty="It needs nothing.",
    )
    _show_ranges(planned)


def _show_ranges(planned: "Plan") -> None:
    console, spent, taken = output(), planned.cost, planned.duration
    console.print(
        f"Cost: {_range(spent.min_usd, spent.max_usd)}, {_basis(spent.basis, spent.runs)}",
        markup=False,
    )
    if spent.unknown_reason:
        console.print(f"  unknown: {spent.unknown_reason}", markup=False, style="yellow")
    if spent.basis == "history":
        console.print(f"  at most {cost(spent.worst_usd)}, loops at their bounds", markup=False)
    if taken.basis == "history" or taken.min_ms:
        said = _span(duration(taken.min_ms), duration(taken.max_ms))
    else:
        said = f"at most {duration(taken.max_ms)}"
    console.print(f"Duration: {said}, {_basis(taken.basis, taken.runs)}", markup=False)


def _row(node: "PlannedNode") -> tuple[str, ...]:
    least, most = count(node.min_visits), count(node.max_visits)
    return (
        escape(node.id),
        node.kind,
        _span(least, most),
        escape(", ".join(node.models)),
        f"up to {count(node.max_calls)}" if node.max_calls else "",
        _range(node.min_usd, node.max_usd) if node.models else "",
    )


def _need(need: "Need") -> tuple[str, ...]:
    there = f"[red]missing[/] {escape(need.reason)}" if need.missing else "[green]yes[/]"
    if need.kind in ("host", "person") and not need.missing:
        there = ""
    return need.kind, escape(need.name), escape(", ".join(need.nodes)), there


def _range(least: Decimal | None, most: Decimal | None) -> str:
    return _span(cost(least), cost(most))


def _span(least: str, most: str) -> str:
    return most if least == most else f"{least} to {most}"


def _basis(basis: str, runs: int) -> str:
    return _BASES[basis].format(runs="1 run" if runs == 1 else f"{runs} runs")


def _refusal(spent: "CostRange", limit: Decimal) -> str | None:
    """Why a run may not be started for at most so many dollars."""
    if spent.max_usd is None:
        return f"What a run costs at most is unknown ({spent.unknown_reason}), and may pass {cost(limit)}."
    if spent.max_usd > limit:
        return f"A run may cost {cost(spent.max_usd)}, which passes {cost(limit)}."
    return None


def _dollars(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation as exc:
        raise _no_amount(text) from exc
    if not amount.is_finite() or amount < 0:
        raise _no_amount(text)
    return amount


def _no_amount(text: str) -> CliError:
    return CliError(
        f"{text!r} is no amount of US dollars",
        code="AMOUNT_INVALID",
        resolution="Write it as a number, such as --max-cost 0.05.",
    )
