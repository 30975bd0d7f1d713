"""A run as a person follows it: live progress, what Ctrl-C may do, and the summary at its end."""

import select
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cadre_cli.errors import ExitStatus
from cadre_cli.screen import errors, escape, is_interactive, output
from cadre_cli.within_nodes import WithinNodes
from cadre_cli.words import as_text, cost, count, duration

if TYPE_CHECKING:
    from cadre_client import Client, Event, Run

__all__ = ["Left", "exit_status", "follow", "result", "show_result"]

_LIMIT_WORDS = ("BUDGET", "LIMIT")
_PATIENCE_SECONDS = 60.0
_NOTICE_SECONDS = 0.2
_PAUSE_SECONDS = 0.5


class Left(Exception):
    """The person left the run going."""


def follow(client: "Client", run_id: str, *, quiet: bool) -> "Run":
    """Follows a run to its end. Raises Left when it is interrupted and goes on.

    Interrupted, it asks a person whether to cancel the run; where nobody can be asked, it cancels it.
    """
    progress = Progress(quiet=quiet)
    try:
        progress.show(client.watch(run_id))
    except KeyboardInterrupt:
        if not _wants_cancel(run_id):
            raise Left from None
        errors().print(f"Cancelling run {run_id}", highlight=False)
        client.cancel(run_id)
        Progress(quiet=quiet).show(client.watch(run_id, after=progress.seen))
    return _ended(client, run_id)


def _ended(client: "Client", run_id: str) -> "Run":
    """The run, also from a gateway that was killed since it told the run's last event."""
    from cadre_client import ApiError, GatewayUnreachable

    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return client.run(run_id)
        except (ApiError, GatewayUnreachable) as error:
            passing = isinstance(error, GatewayUnreachable) or error.status >= 500
            if not passing or time.monotonic() > give_up:
                raise
        time.sleep(_PAUSE_SECONDS)


def _wants_cancel(run_id: str) -> bool:
    if not is_interactive():
        return True
    console = errors()
    try:
        console.print(f"\nInterrupted; run {run_id} goes on. Cancel it? [bold]\\[y/N][/] ", end="")
        # An interrupt in the moment before a blocking read begins would be noticed only after it.
        while not select.select([sys.stdin], [], [], _NOTICE_SECONDS)[0]:
            pass
        return input().strip().lower() in ("y", "yes", "c", "cancel")
    except (KeyboardInterrupt, EOFError):
        console.print()
        return False


class Progress:
    """Shows events as they come: a line for each node that ended, and at a terminal what is under way."""

    def __init__(self, *, quiet: bool) -> None:
        self.seen = 0
        self._quiet = quiet
        self._under_way: dict[str, int] = {}
        self._within = WithinNodes()

    def show(self, events: Iterable["Event"]) -> None:
        """Shows all events to the last."""
        if self._quiet:
            for event in events:
                self.seen = event.sequence
            return
        with errors().status("Waiting for the run to start") as status:
            for event in events:
                self.seen = event.sequence
                self._note(event)
                for line in (*self._within.lines(event), *_lines(event)):
                    errors().print(line, highlight=False)
                running = (name for name, times in self._under_way.items() if times)
                names = ", ".join(self._within.state(name) for name in running)
                status.update(f"Running {names}" if names else "Working")

    def _note(self, event: "Event") -> None:
        change = {"node_started": 1, "node_succeeded": -1, "node_failed": -1}.get(event.type, 0)
        if change and not event.item:
            self._under_way[event.node] = max(0, self._under_way.get(event.node, 0) + change)


def _lines(event: "Event") -> Iterable[str]:
    if event.item:
        return
    name = f"{escape(event.node)}{f' #{event.iteration}' if event.iteration > 1 else ''}"
    took = f"[dim]{duration(event.duration_ms)}[/]"
    reason = escape(f"{event.error.code}: {event.error.message}") if event.error else ""
    match event.type:
        case "node_started":
            # At a terminal the line below says what is under way.
            if not errors().is_terminal:
                yield f"  [dim]… {name}[/]"
        case "node_succeeded":
            yield f"  [green]✓[/] {name}  {took}"
        case "node_failed":
            yield f"  [red]✗[/] {name}  {took}  {reason}"
        case "node_retried":
            yield f"  [yellow]↻[/] {name}  attempt {event.attempt} failed, trying again  {reason}"
        case "node_skipped":
            yield f"  [dim]- {name} skipped[/]"
        case "run_resumed":
            yield "  [yellow]↻[/] the run goes on after its executor was restarted"
        case _:
            return


def result(run: "Run") -> dict[str, object]:
    """A run as `cadre run --json` prints it."""
    usage = run.usage.model_dump(mode="json", include={"input_tokens", "output_tokens", "cost_usd"})
    return {
        "run_id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "status": str(run.status),
        "outputs": run.outputs or {},
        "usage": usage,
        "duration_ms": run.duration_ms,
        "error": run.error.model_dump(mode="json") if run.error else None,
    }


def show_result(run: "Run") -> None:
    """Prints what a run gave and used: its outputs on standard output, the rest on standard error."""
    for name, value in (run.outputs or {}).items():
        output().print(f"[bold]{escape(name)}[/]:", end=" ")
        output().print(as_text(value), markup=False, highlight=False, soft_wrap=True)
    usage, console = run.usage, errors()
    if run.error:
        console.print(f"[bold red]{escape(run.error.code)}[/]: {escape(run.error.message)}")
        console.print(run.error.resolution, markup=False, highlight=False)
    console.print(
        f"[{_colour(run)}]{run.status}[/] in {duration(run.duration_ms)}, "
        f"{count(usage.input_tokens)} tokens in, {count(usage.output_tokens)} out, "
        f"cost {cost(usage.cost_usd)}  [dim]{run.id}[/]"
    )


def exit_status(run: "Run") -> ExitStatus:
    """What a run's end means for the command that followed it."""
    match run.status:
        case "succeeded":
            return ExitStatus.SUCCEEDED
        case "cancelled":
            return ExitStatus.CANCELLED
        case _:
            code = run.error.code if run.error else ""
            limited = any(word in code for word in _LIMIT_WORDS)
            return ExitStatus.LIMITED if limited else ExitStatus.FAILED


def _colour(run: "Run") -> str:
    return {"succeeded": "green", "failed": "red", "cancelled": "yellow"}.get(run.status, "cyan")
