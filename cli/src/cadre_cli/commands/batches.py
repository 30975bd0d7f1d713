"""Batches: a workflow over the rows of a file, and what became of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadre_cli import following, problems
from cadre_cli.datasets import check_output, read_rows, write_results
from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.groups import group
from cadre_cli.options import JsonFlag, read_text
from cadre_cli.screen import errors, escape, output, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import cost, count, moment

if TYPE_CHECKING:
    from cadre_client import Batch, BatchRow, Client

__all__ = ["BatchOptions", "Output", "app", "run_batch"]

app = group("List, show and cancel batches: workflows over the rows of a file.")
BatchId = Annotated[
    str, typer.Argument(metavar="BATCH", help="The batch's id.", show_default=False)
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write what every row gave to a .jsonl or .csv file."
    ),
]
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "waiting": "yellow"}
_PAUSE_SECONDS = 0.5
# A flow run asks for its batch every few seconds.
_GONE_SECONDS = 90.0
_SHOWN_FAILURES = 10
_LISTED_FAILURES = 100


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch is run: an applied workflow, or a file's source, with values for every row that a row may replace."""

    file: Path
    values: Mapping[str, Any]
    workflow: str | None = None
    version: int = 0
    source: str | None = None
    max_concurrent: int = 0
    resume: bool = False
    output: Path | None = None
    notify: str = ""
    detach: bool = False
    json: bool = False


@dataclass(kw_only=True)
class _Results:
    """What is noted while rows are read."""

    failures: list[dict[str, Any]] = field(default_factory=list)

    def noted(self, rows: Iterator["BatchRow"]) -> Iterator["BatchRow"]:
        """The rows, noted as they pass."""
        for row in rows:
            self._note(row)
            yield row

    def _note(self, row: "BatchRow") -> None:
        if row.run is not None and row.run.error is not None:
            error = row.run.error
            said = {"code": error.code, "message": error.message}
            self.failures.append({"row": row.row, "line": row.line, "run_id": row.run.id, **said})


def run_batch(options: BatchOptions) -> None:
    """Runs a workflow over the rows of a file; ends the command."""
    check_output(options.output)
    text, file = read_text(options.file), str(options.file)
    with gateway() as client:
        rows = read_rows(text, file=file, types=_types(client, options))
        with problems.shown(source=text, file=file):
            batch = client.create_batch(
                [({**options.values, **row.inputs}, row.line) for row in rows],
                workflow=options.workflow,
                version=options.version,
                source=options.source,
                max_concurrent=options.max_concurrent,
                resume=options.resume,
                notify=options.notify,
            )
        _tell_start(batch, options)
        if options.detach:
            return
        ended = _follow(client, batch, quiet=options.json)
        _finish(client, ended, output_file=options.output, json_=options.json)


@app.command("list", epilog="Example: cadre batches list --json")
def list_batches(
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest.")] = 20,
    json_: JsonFlag = False,
) -> None:
    """List batches, newest first, with how many of their rows have ended and what they cost."""
    with gateway() as client:
        found = client.batches(limit=limit)
    if json_:
        print_json({"batches": [batch.model_dump(mode="json") for batch in found]})
        return
    print_table(
        ["Batch", "Workflow", "Version", "Status", "Rows", "Failed", "Cost", "Created"],
        [
            (
                batch.id,
                escape(batch.workflow),
                str(batch.version or "file"),
                _coloured(batch.status),
                f"{batch.rows.ended} of {batch.rows.total}",
                str(batch.rows.failed),
                cost(batch.usage.cost_usd),
                moment(batch.created_time),
            )
            for batch in found
        ],
        empty="There are no batches yet. Start one: cadre run NAME --inputs data.jsonl --batch",
    )


@app.command(epilog="Example: cadre batches show 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 --output results.csv")
def show(batch_id: BatchId, output_file: Output = None, json_: JsonFlag = False) -> None:
    """Show a batch as it stands, and write what its rows gave so far. Exit statuses are those of `cadre run`."""
    check_output(output_file)
    with gateway() as client:
        _finish(client, client.batch(batch_id), output_file=output_file, json_=json_)


@app.command(epilog="Example: cadre batches cancel 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")
def cancel(batch_id: BatchId, json_: JsonFlag = False) -> None:
    """Stop a batch: no further row starts, and the runs under way are cancelled."""
    with gateway() as client:
        batch = client.cancel_batch(batch_id)
    if json_:
        print_json(batch.model_dump(mode="json"))
        return
    errors().print(f"Batch {batch.id}: {_coloured(batch.status)}")


def _types(client: "Client", options: BatchOptions) -> dict[str, str]:
    """The types of the state fields, which say how the cells of a CSV file are read."""
    if options.file.suffix.lower() != ".csv":
        return {}
    if options.source is None:
        workflow = client.workflow(options.workflow or "", options.version)
    else:
        found = client.validate(options.source).workflow
        if found is None:
            # Starting the batch says what is wrong with the file.
            return {}
        workflow = found
    return {each.name: each.type for each in workflow.inputs}


def _tell_start(batch: "Batch", options: BatchOptions) -> None:
    if options.detach and options.json:
        print_json(batch.model_dump(mode="json"))
    elif options.detach:
        print(batch.id)
        errors().print(f"It goes on by itself; see it with `cadre batches show {batch.id}`.")
    elif not options.json:
        version = f" version {batch.version}" if batch.version else ""
        rows = f"{count(batch.rows.total)} rows"
        if batch.rows.ended:
            rows += f", {count(batch.rows.ended)} of them done before"
        errors().print(f"Batch {batch.id} of [bold]{escape(batch.workflow)}[/]{version}: {rows}")


def _follow(client: "Client", batch: "Batch", *, quiet: bool) -> "Batch":
    """The batch once it has ended, or waits for people; interrupted, it is cancelled, or left going."""
    try:
        return _watched(client, batch, quiet=quiet)
    except KeyboardInterrupt:
        if not following.wants_cancel(f"batch {batch.id}"):
            errors().print(f"Batch {batch.id} goes on; the same command follows it again.")
            raise typer.Exit(ExitStatus.SUCCEEDED) from None
    errors().print(f"Cancelling batch {batch.id}", highlight=False)
    return client.cancel_batch(batch.id)


def _watched(client: "Client", batch: "Batch", *, quiet: bool) -> "Batch":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    hidden = quiet or not errors().is_terminal
    again = partial(client.batch, batch.id)
    seen, seen_at = batch.driven_time, time.monotonic()
    with Progress(*columns, console=errors(), disable=hidden, transient=True) as progress:
        bar = progress.add_task("", total=batch.rows.total)
        while not batch.status.is_final and batch.status != "waiting":
            progress.update(bar, completed=batch.rows.ended, description=_stand(batch))
            time.sleep(_PAUSE_SECONDS)
            batch = following.patiently(again)
            if batch.driven_time != seen:
                seen, seen_at = batch.driven_time, time.monotonic()
            elif seen is not None and time.monotonic() - seen_at > _GONE_SECONDS:
                raise _abandoned(batch)
    return batch


def _stand(batch: "Batch") -> str:
    if batch.status == "queued":
        return "waiting for a Prefect worker"
    rows = batch.rows
    failed = f"{rows.failed} failed, " if rows.failed else ""
    waiting = f", {rows.waiting} wait for a person" if rows.waiting else ""
    return f"{failed}{rows.running} under way{waiting}"


def _abandoned(batch: "Batch") -> CliError:
    return CliError(
        f"no worker sees to batch {batch.id} any more; {batch.rows.ended} of {batch.rows.total} rows have ended",
        code="BATCH_ABANDONED",
        resolution="See that a Prefect worker runs (`cadre status`); the same command then goes on with the batch.",
        exit_status=ExitStatus.FAILED,
    )


def _finish(client: "Client", batch: "Batch", *, output_file: Path | None, json_: bool) -> None:
    """Writes the results and the summary, and ends the command."""
    results = _Results()
    rows = results.noted(client.batch_rows(batch.id))
    if output_file is not None:
        write_results(output_file, rows)
    else:
        for _ in rows:
            pass
    if json_:
        print_json(_summary(batch, results, output_file))
    else:
        _show(batch, results, output_file)
    raise typer.Exit(_exit_status(batch, results.failures))


def _summary(batch: "Batch", results: _Results, output_file: Path | None) -> dict[str, Any]:
    usage = batch.usage
    cost_usd = None if usage.cost_usd is None else f"{usage.cost_usd:f}"
    return {
        "batch_id": batch.id,
        "workflow": batch.workflow,
        "version": batch.version,
        "status": str(batch.status),
        "rows": batch.rows.model_dump(),
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": cost_usd,
        },
        "output": None if output_file is None else str(output_file),
        "failures": results.failures[:_LISTED_FAILURES],
    }


def _show(batch: "Batch", results: _Results, output_file: Path | None) -> None:
    console, rows, usage = errors(), batch.rows, batch.usage
    for failure in results.failures[:_SHOWN_FAILURES]:
        console.print(f"[red]✗[/] row {failure['row']} (line {failure['line']})", end=" ")
        console.print(f"{failure['code']}: {failure['message']}", markup=False, highlight=False)
    if len(results.failures) > _SHOWN_FAILURES:
        console.print(f"and {len(results.failures) - _SHOWN_FAILURES} more rows that failed")
    others = {"failed": rows.failed, "cancelled": rows.cancelled, "waiting": rows.waiting}
    others["not started"] = rows.pending
    counts = "".join(f", {number} {name}" for name, number in others.items() if number)
    console.print(
        f"[{_COLOURS.get(batch.status, 'cyan')}]{batch.status}[/]: {rows.succeeded} of {rows.total} rows succeeded"
        f"{counts}; {count(usage.input_tokens)} tokens in, {count(usage.output_tokens)} out, "
        f"cost {cost(usage.cost_usd)}  [dim]{batch.id}[/]"
    )
    if rows.waiting:
        console.print(f"See what is asked: cadre runs list --batch {batch.id} --status waiting")
    if output_file is not None:
        output().print(str(output_file), markup=False, highlight=False)


def _exit_status(batch: "Batch", failures: Sequence[Mapping[str, Any]]) -> ExitStatus:
    match batch.status:
        case "waiting":
            return ExitStatus.WAITING
        case "cancelled":
            return ExitStatus.CANCELLED
        case "failed":
            limited = failures and all(following.is_limit(each["code"]) for each in failures)
            return ExitStatus.LIMITED if limited else ExitStatus.FAILED
        case _:
            return ExitStatus.SUCCEEDED


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'cyan')}]{status}[/]"
