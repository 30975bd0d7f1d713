"""Starts, follows and lists runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadre_cli import following, problems
from cadre_cli.commands.batches import BatchOptions, Output, run_batch
from cadre_cli.errors import CliError, ExitStatus
from cadre_cli.groups import group
from cadre_cli.options import (
    InputsFile,
    InputValues,
    JsonFlag,
    Notify,
    read_inputs,
    read_text,
    usd_of,
)
from cadre_cli.replacing import replace_text
from cadre_cli.screen import errors, escape, print_json, print_table
from cadre_cli.session import gateway
from cadre_cli.words import as_text, cost, count, duration, moment

if TYPE_CHECKING:
    from cadre_client import Client, Run

__all__ = ["add_to", "app"]

app = group("List, show, follow, answer, resume, fork, record and cancel runs.")
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Do not wait for the end; print the run's id.")
]
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "waiting": "yellow"}
_FILE_SUFFIXES = (".yaml", ".yml")


def add_to(app: typer.Typer) -> None:
    """Adds the command that stands by itself."""
    app.command(
        epilog="Examples: cadre run examples/hello.yaml · cadre run triage -i message='Where is it?' · "
        "cadre run triage@2 --inputs values.json --json · cadre run triage.yaml -i message=hi --record · "
        "cadre run triage --inputs letters.csv --batch --max-concurrent 4 --output results.csv"
    )(run)


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE_OR_NAME",
            help="A workflow file, or the name of an applied workflow (NAME@VERSION for an earlier one).",
            show_default=False,
        ),
    ],
    inputs: InputValues = None,
    inputs_file: InputsFile = None,
    batch: Annotated[
        bool,
        typer.Option("--batch", help="Run it over every row of the --inputs file, JSONL or CSV."),
    ] = False,
    max_concurrent: Annotated[
        int | None,
        typer.Option(
            min=1, max=200, help="With --batch: at most so many rows at once; 8 if not given."
        ),
    ] = None,
    output_file: Output = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="With --batch: go on with the last batch of these rows, also when it was cancelled or rows failed.",
        ),
    ] = False,
    detach: Detach = False,
    notify: Notify = "",
    record: Annotated[
        bool,
        typer.Option("--record", help="Write the run as a test into the file that it ran."),
    ] = False,
    record_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the run as a test into this file, made if need be."
        ),
    ] = None,
    record_as: Annotated[
        str, typer.Option(metavar="NAME", help="The test's name. Default: run and the run's id.")
    ] = "",
    json_: JsonFlag = False,
) -> None:
    """Run a workflow.

    Shows its progress, outputs, tokens, cost and duration, and asks what the run asks. Ctrl-C asks whether to cancel
    it.

    With --json, or where nobody can be asked, a run that waits for a person is left waiting.

    With --record, its replies become a test in the file, which `cadre test` then runs with no model.

    Ends with 0 when the run succeeded, 1 when it failed, 2 when the file or command is wrong, 3 when the platform
    cannot be reached, 4 when a budget or limit stopped it, 5 when it waits for a person, 130 when it was cancelled.

    With --batch each row is a run, -i gives values for all of them, and every row is checked before any is run. The
    same command again goes on where an interrupted batch was; no row is run twice.
    """
    if batch:
        if inputs_file is None:
            raise typer.BadParameter("--batch needs --inputs FILE, its rows.")
        run_batch(
            BatchOptions(
                file=inputs_file,
                values=read_inputs(inputs, None),
                **_target(target),
                max_concurrent=max_concurrent or 0,
                resume=resume,
                output=output_file,
                notify=notify,
                detach=detach,
                json=json_,
            )
        )
        return
    if max_concurrent is not None or resume or output_file is not None:
        raise typer.BadParameter("--max-concurrent, --output and --resume go with --batch.")
    values = read_inputs(inputs, inputs_file)
    into = _recorded_into(target, record, record_to, detach)
    with gateway() as client:
        started = _start(client, target, values, notify)
        if detach:
            _tell_detached(started, json_)
            return
        if not json_:
            version = f" version {started.version}" if started.version else ""
            errors().print(f"Run {started.id} of [bold]{escape(started.workflow)}[/]{version}")
        ended = following.shown_end(client, started.id, json_)
        if into is not None and ended.status.is_final:
            _record(client, ended.id, into, record_as)
    raise typer.Exit(following.exit_status(ended))


@app.command(
    "list",
    epilog="Examples: cadre runs list · cadre runs list --workflow triage --status failed · "
    "cadre runs list --schedule nightly",
)
def list_runs(
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    status: Annotated[
        str | None, typer.Option(help="queued, running, waiting, succeeded, failed or cancelled.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Only runs that this schedule started.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Only runs of this batch.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest.")] = 20,
    json_: JsonFlag = False,
) -> None:
    """List runs, newest first."""
    with gateway() as client:
        found = client.runs(
            workflow=workflow, status=status, limit=limit, schedule=schedule, batch_id=batch
        )
    if json_:
        print_json({"runs": [run.model_dump(mode="json") for run in found]})
        return
    print_table(
        ["Run", "Workflow", "Version", "Status", "Started by", "Created", "Took", "Cost"],
        [
            (
                run.id,
                escape(run.workflow),
                str(run.version or "file"),
                _coloured(run.status),
                _starter(run),
                moment(run.created_time),
                duration(run.duration_ms),
                cost(run.usage.cost_usd),
            )
            for run in found
        ],
        empty="There are no runs yet. Start one: cadre run examples/hello.yaml",
    )


@app.command(epilog="Example: cadre runs show 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 --json")
def show(run_id: RunId, json_: JsonFlag = False) -> None:
    """Show a run: its inputs, nodes so far, outputs and usage."""
    with gateway() as client:
        found = client.run(run_id)
        if json_:
            print_json(found.model_dump(mode="json"))
            return
        _show_details(found)
        following.Progress(quiet=False).show(client.watch(run_id), last=found.last_sequence)
    following.show_result(found)


@app.command(epilog="Example: cadre runs watch 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")
def watch(run_id: RunId, json_: JsonFlag = False) -> None:
    """Follow a run to its end, from its first event on. Exit statuses are those of `cadre run`."""
    with gateway() as client:
        following.show_end(client, run_id, json_)


@app.command(epilog="Example: cadre runs cancel 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")
def cancel(run_id: RunId, json_: JsonFlag = False) -> None:
    """Stop a run: no further step of it starts. A run that has ended stays as it is."""
    with gateway() as client:
        found = client.cancel(run_id)
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    ended = "" if found.status == "cancelled" or not found.status.is_final else " already"
    errors().print(f"Run {found.id}:{ended} {_coloured(found.status)}")


@app.command(
    epilog="Examples: cadre runs resume 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 · "
    "cadre runs resume 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 --usd 2.00"
)
def resume(
    run_id: RunId,
    usd: Annotated[
        str | None, typer.Option(help="US dollars that it may spend in all from now on.")
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=0, help="Tokens that it may use in all from now on; 0 leaves them.")
    ] = 0,
    detach: Detach = False,
    json_: JsonFlag = False,
) -> None:
    """Go on with a failed run from the step that failed, once its cause is mended. Steps that were done stay done.

    With --usd or --tokens, also with a run that waits for more of its budget; without, with one that waits for a budget
    that it shares.
    """
    amount = usd_of(usd)
    with gateway() as client:
        resumed = client.resume(run_id, usd=amount, tokens=tokens)
        if detach:
            _tell_detached(resumed, json_)
            return
        following.show_end(client, run_id, json_)


@app.command(
    epilog="Examples: cadre runs answer 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 approve · "
    "cadre runs answer 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 reject --node review --comment 'Too long'"
)
def answer(
    run_id: RunId,
    choice: Annotated[
        str | None,
        typer.Argument(
            help="One of the choices, or an answer in words; left out, you are asked.",
            show_default=False,
        ),
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(
            help="The node that asks, as `cadre runs show` says it; needed when several do."
        ),
    ] = None,
    comment: Annotated[str, typer.Option(help="What to add.")] = "",
    by: Annotated[str, typer.Option(help="Who answers.")] = "",
    json_: JsonFlag = False,
) -> None:
    """Answer a run that waits. The first answer counts."""
    with gateway() as client:
        if choice is None:
            found = client.run(run_id)
            if not found.questions:
                errors().print(f"Run {run_id} waits for nobody: {_coloured(found.status)}")
                raise typer.Exit(ExitStatus.REFUSED)
            following.ask(client, found)
            found = client.run(run_id)
        else:
            found = client.answer(run_id, choice, node=node, comment=comment, answered_by=by)
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    errors().print(f"Run {found.id}: {_coloured(found.status)}")


@app.command(
    epilog="Examples: cadre runs fork 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 -i mood=happy · "
    "cadre runs fork 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 --checkpoint 3 --detach"
)
def fork(
    run_id: RunId,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Where to start, as `cadre runs checkpoints` lists; the last by default."
        ),
    ] = None,
    inputs: InputValues = None,
    inputs_file: InputsFile = None,
    detach: Detach = False,
    notify: Notify = "",
    json_: JsonFlag = False,
) -> None:
    """Start a new run from a step of another, with other values for state fields."""
    values = read_inputs(inputs, inputs_file)
    with gateway() as client:
        started = client.fork(run_id, checkpoint=checkpoint, state=values, notify=notify)
        if detach:
            _tell_detached(started, json_)
            return
        if not json_:
            errors().print(f"Run {started.id}, forked from {run_id}")
        following.show_end(client, started.id, json_)


@app.command(epilog="Example: cadre runs checkpoints 01JD2N3Q8ZC4R6T8V0X2Z4B6D8")
def checkpoints(run_id: RunId, json_: JsonFlag = False) -> None:
    """List the steps of a run that `cadre runs fork` can start from."""
    with gateway() as client:
        found = client.checkpoints(run_id)
    if json_:
        print_json({"checkpoints": [one.model_dump(mode="json") for one in found]})
        return
    print_table(
        ["Checkpoint", "Time", "After", "Next"],
        [
            (
                one.id,
                moment(one.time),
                escape(", ".join(one.nodes)),
                escape(", ".join(one.next_nodes)),
            )
            for one in found
        ],
        empty="No step of this run is kept.",
    )


def _start(client: "Client", target: str, values: dict[str, Any], notify: str) -> "Run":
    meant = _target(target)
    with problems.shown(source=meant.get("source", ""), file=target):
        return client.start_run(**meant, inputs=values, notify=notify)


def _target(target: str) -> dict[str, Any]:
    """What is to be run, as the client is told: a file's source, or a workflow with its version."""
    if _is_file(target):
        return {"source": read_text(Path(target))}
    name, _, version = target.partition("@")
    if version and not version.isdigit():
        raise typer.BadParameter(f"{target!r}: a version is a number, as in {name}@2")
    return {"workflow": name, "version": int(version or 0)}


def _is_file(target: str) -> bool:
    return target.endswith(_FILE_SUFFIXES) or target == "-" or Path(target).is_file()


def _tell_detached(started: "Run", json_: bool) -> None:
    if json_:
        print_json(following.result(started))
        return
    print(started.id)
    errors().print(f"It goes on by itself; follow it with `cadre runs watch {started.id}`.")


@app.command(
    "record",
    epilog="Examples: cadre runs record 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 · "
    "cadre runs record 01JD2N3Q8ZC4R6T8V0X2Z4B6D8 triage.yaml --as 'an angry customer'",
)
def record_run(
    run_id: RunId,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The workflow file that the test goes into; without one the test is printed.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="The test's name. Default: run and its id.")
    ] = "",
    json_: JsonFlag = False,
) -> None:
    """Write a run that ended down as a test of its file, which `cadre test` then runs with no model.

    Replies of models are kept for 30 days.
    """
    with gateway() as client:
        if file is None:
            print_json(client.record(run_id, name=name).test)
            return
        test = _record(client, run_id, file, name)
    if json_:
        print_json(test)


def _recorded_into(target: str, record: bool, other: Path | None, detach: bool) -> Path | None:
    """The file that the run is recorded into."""
    into = other or (Path(target) if record else None)
    if into is None:
        return None
    if other is None and (not _is_file(target) or target == "-"):
        raise CliError(
            "--record writes into the file that is run, and there is none",
            code="USAGE",
            resolution="Name the file: --record-to FILE.",
        )
    if detach:
        raise CliError(
            "a run is recorded when it has ended, and --detach does not wait for that",
            code="USAGE",
            resolution="Leave out --detach, or record it later: cadre runs record RUN FILE.",
        )
    return into


def _record(client: "Client", run_id: str, file: Path, name: str) -> dict[str, Any]:
    """Writes a run as a test into a file; what it says now, for the run may have taken its time."""
    source = read_text(file) if file.exists() else ""
    recorded = client.record(run_id, name=name, source=source)
    replace_text(file, recorded.source)
    said = f"Wrote the test {recorded.test['name']!r} into {file}; run it with `cadre test {file}`."
    errors().print(said, markup=False, highlight=False)
    return recorded.test


def _show_details(run: "Run") -> None:
    details = {
        "Run": run.id,
        "Workflow": f"{run.workflow} version {run.version}" if run.version else run.workflow,
        "Started by": _starter(run),
        "Created": moment(run.created_time),
        "Ended": moment(run.ended_time),
        "Trace": run.trace_id or "-",
        **({"Waits for its turn": _turn(run)} if run.status == "queued" else {}),
        **({"Forked from": run.forked_from_run_id} if run.forked_from_run_id else {}),
        **({"Step of": run.parent_run_id} if run.parent_run_id else {}),
        **{f"Input {name}": as_text(value) for name, value in (run.inputs or {}).items()},
    }
    for name, value in details.items():
        errors().print(f"[dim]{escape(name)}:[/] {escape(value)}")


def _turn(run: "Run") -> str:
    """Where a run that waits for a place stands."""
    match run.runs_before:
        case 0:
            return "it is the next"
        case 1:
            return "1 run is before it"
    return f"{count(run.runs_before)} runs are before it"


def _starter(run: "Run") -> str:
    """What started it; a run that is a step of another was started by that, whatever started the other."""
    match run.trigger:
        case "schedule":
            return f"schedule {run.schedule}"
        case "batch":
            return f"batch {run.batch_id}, row {run.batch_row}"
    return run.trigger


def _coloured(status: str) -> str:
    return f"[{_COLOURS.get(status, 'cyan')}]{status}[/]"
