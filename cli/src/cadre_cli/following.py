"""A run as a person follows it: live progress, what Ctrl-C may do, and the summary at its end."""

import select
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import typer

from cadre_cli.errors import ExitStatus
from cadre_cli.screen import errors, escape, is_interactive, output, print_json
from cadre_cli.within_nodes import WithinNodes
from cadre_cli.words import as_text, cost, count, duration, moment, span

if TYPE_CHECKING:
    from cadre_client import Client, Event, Run

__all__ = [
    "Left",
    "ask",
    "exit_status",
    "follow",
    "is_limit",
    "patiently",
    "result",
    "show_end",
    "show_result",
    "shown_end",
    "wants_cancel",
]

Answer = TypeVar("Answer")
_LIMIT_WORDS = ("BUDGET", "LIMIT")
_PATIENCE_SECONDS = 60.0
_NOTICE_SECONDS = 0.2
_PAUSE_SECONDS = 0.5


class Left(Exception):
    """The person left the run going."""


def follow(client: "Client", run_id: str, *, quiet: bool) -> "Run":
    """Follows a run to its end, or until it waits for a person whom nobody can ask here. Raises Left when it is
    interrupted and goes on.

    What the run asks, it asks the person at the terminal. Interrupted, it asks whether to cancel the run; where nobody
    can be asked, it cancels it.
    """
    progress = Progress(quiet=quiet)
    try:
        while True:
            if not progress.show(client.watch(run_id, after=progress.seen)):
                break
            run = _read(client, run_id)
            if quiet or not is_interactive():
                run = _at_rest(client, run_id)
                if run.status == "waiting":
                    # Other branches went on after one of them asked.
                    progress.show(client.watch(run_id, after=progress.seen), last=run.last_sequence)
                    return run
            elif run.questions:
                ask(client, run)
    except KeyboardInterrupt:
        if not wants_cancel(f"run {run_id}"):
            raise Left from None
        errors().print(f"Cancelling run {run_id}", highlight=False)
        client.cancel(run_id)
        Progress(quiet=quiet).show(client.watch(run_id, after=progress.seen))
    return _read(client, run_id)


def show_end(client: "Client", run_id: str, json_: bool) -> None:
    """Follows a run, shows how it ended, and ends the command accordingly."""
    raise typer.Exit(exit_status(shown_end(client, run_id, json_)))


def shown_end(client: "Client", run_id: str, json_: bool) -> "Run":
    """A run that was followed to its end, and shown."""
    try:
        ended = follow(client, run_id, quiet=json_)
    except Left:
        errors().print(f"Run {run_id} goes on; follow it with `cadre runs watch {run_id}`.")
        raise typer.Exit(ExitStatus.SUCCEEDED) from None
    if json_:
        print_json(result(ended))
    else:
        show_result(ended)
    return ended


def ask(client: "Client", run: "Run") -> None:
    """Asks the person at the terminal what a run asks first, and gives it the answer."""
    from cadre_client import ApiError

    question, console = run.questions[0], errors()
    # What asks is a run below this one: the same question may come from several.
    below = f"  [dim]{escape(question.node)}[/]" if question.run_id not in ("", run.id) else ""
    console.print(f"\n[bold]{escape(question.message)}[/]{below}")
    until = f", until {moment(question.deadline)}" if question.deadline else ""
    if question.choices:
        choice = _chosen(question.choices, f"{', '.join(question.choices)}{until}")
        comment = console.input("Comment (may be empty): ").strip()
    else:
        choice, comment = _in_words(f"Your answer{until}"), ""
    try:
        client.answer(
            run.id, choice, node=question.node, iteration=question.iteration, comment=comment
        )
    except ApiError as error:
        if error.status >= 500:
            raise
        # Somebody, or the deadline, was quicker; the run goes on with that.
        console.print(f"[yellow]{escape(str(error))}[/]")


def _chosen(choices: Sequence[str], said: str) -> str:
    """The choice, by its name or the beginning of it."""
    console = errors()
    while True:
        typed = console.input(f"{escape(said)}: ").strip()
        meant = [c for c in choices if c == typed] or [c for c in choices if c.startswith(typed)]
        if typed and len(meant) == 1:
            return meant[0]
        console.print(f"Please answer with one of {escape(', '.join(choices))}.")


def _in_words(said: str) -> str:
    """An answer that is the person's own."""
    while True:
        if typed := errors().input(f"{escape(said)}: ").strip():
            return typed


def _at_rest(client: "Client", run_id: str) -> "Run":
    """The run, once it only waits for people, or has its answers: other branches go on after one of them asked."""
    while True:
        run = _read(client, run_id)
        if not run.questions or run.status == "waiting" or run.status.is_final:
            return run
        time.sleep(_PAUSE_SECONDS)


def _read(client: "Client", run_id: str) -> "Run":
    """The run, also from a gateway that was killed since it told the run's last event."""
    return patiently(lambda: client.run(run_id))


def patiently(ask: Callable[[], Answer]) -> Answer:
    """What the gateway answers, also one that was killed and starts again: it is known to have been there."""
    from cadre_client import ApiError, GatewayUnreachable

    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (ApiError, GatewayUnreachable) as error:
            passing = isinstance(error, GatewayUnreachable) or error.status >= 500
            if not passing or time.monotonic() > give_up:
                raise
        time.sleep(_PAUSE_SECONDS)


def wants_cancel(what: str) -> bool:
    """Whether the person who interrupted the command wants that cancelled; where nobody can be asked, yes."""
    if not is_interactive():
        return True
    console = errors()
    try:
        console.print(f"\nInterrupted; {what} goes on. Cancel it? [bold]\\[y/N][/] ", end="")
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

    def show(self, events: Iterable["Event"], *, last: int | None = None) -> bool:
        """Shows all events to the `last` one known, or without it until the run asks a person; whether it does."""
        if last is not None and (self._quiet or self.seen >= last):
            return False
        if self._quiet:
            return any(self._sees(event) for event in events)
        with errors().status("Waiting for the run to start") as status:
            for event in events:
                waits = self._sees(event)
                self._note(event)
                for line in (*self._within.lines(event), *_lines(event)):
                    errors().print(line, highlight=False)
                running = (name for name, times in self._under_way.items() if times)
                names = ", ".join(self._within.state(name) for name in running)
                status.update(f"Running {names}" if names else "Working")
                if waits if last is None else event.sequence >= last:
                    return waits
        return False

    def _sees(self, event: "Event") -> bool:
        """Counts an event as seen; whether it asks a person."""
        self.seen = event.sequence
        return event.type == "node_waiting"

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
            kept = "  [dim]a kept result[/]" if (event.data or {}).get("cached") else ""
            yield f"  [green]✓[/] {name}  {took}{kept}"
        case "node_failed":
            yield f"  [red]✗[/] {name}  {took}  {reason}"
        case "node_retried":
            delay = (event.data or {}).get("delay_seconds")
            when = f" in {span(delay)}" if isinstance(delay, float) else ""
            yield f"  [yellow]↻[/] {name}  attempt {event.attempt} failed, trying again{when}  {reason}"
        case "node_skipped":
            yield f"  [dim]- {name} skipped[/]"
        case "node_waiting":
            yield f"  [yellow]?[/] {name}  waits for a person"
        case "node_answered":
            choice = escape(str((event.data or {}).get("choice") or "nothing in time"))
            yield f"  [yellow]?[/] {name}  answered: {choice}"
        case "run_resumed":
            yield "  [yellow]↻[/] the run goes on where it was interrupted"
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
    for question in run.questions:
        console.print(f"[bold yellow]{escape(question.node)}[/] asks: {escape(question.message)}")
        console.print(
            f"Answer it: cadre runs answer {run.id} --node {question.node} {'|'.join(question.choices) or 'TEXT'}",
            markup=False,
            highlight=False,
        )
    if run.error:
        console.print(f"[bold red]{escape(run.error.code)}[/]: {escape(run.error.message)}")
        console.print(run.error.resolution, markup=False, highlight=False)
    took = "" if run.duration_ms is None else f" in {duration(run.duration_ms)}"
    console.print(
        f"[{_colour(run)}]{run.status}[/]{took}, "
        f"{count(usage.input_tokens)} tokens in, {count(usage.output_tokens)} out, "
        f"cost {cost(usage.cost_usd)}  [dim]{run.id}[/]"
    )


def exit_status(run: "Run") -> ExitStatus:
    """What a run's end, or its waiting, means for the command that followed it."""
    match run.status:
        case "waiting":
            return ExitStatus.WAITING
        case "succeeded":
            return ExitStatus.SUCCEEDED
        case "cancelled":
            return ExitStatus.CANCELLED
        case _:
            limited = run.error is not None and is_limit(run.error.code)
            return ExitStatus.LIMITED if limited else ExitStatus.FAILED


def is_limit(code: str) -> bool:
    """Whether an error says that a budget or a limit stopped a run."""
    return any(word in code for word in _LIMIT_WORDS)


def _colour(run: "Run") -> str:
    return {"succeeded": "green", "failed": "red", "cancelled": "yellow", "waiting": "yellow"}.get(
        run.status, "cyan"
    )
