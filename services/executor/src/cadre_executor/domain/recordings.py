"""Writes runs that ended down as tests of their files, and makes sure that the tests pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cadre_executor.domain.definitions import Document, Library
from cadre_executor.domain.peers import Reply
from cadre_executor.domain.runs import FINAL, Event, Run, RunStatus
from cadre_executor.domain.scripts import CallPlace
from cadre_executor.domain.stores import RunStore
from cadre_executor.domain.testers import CaseResult, Tester
from cadre_executor.domain.transcripts import Transcript
from cadre_kit.errors import CadreError, FailedPrecondition

__all__ = ["KeptReplies", "Recorded", "Recorder"]

_EVENTS_AT_ONCE = 1000
_LONGEST_TEXT = 200
_MOST_ITEMS = 20
_ESCAPES = str.maketrans({"\\": r"\\", "'": r"\'", "\n": r"\n", "\t": r"\t"})


class RunNotRecordable(FailedPrecondition):
    """What is kept of a run does not suffice to repeat it."""

    code = "RUN_NOT_RECORDABLE"


class KeptReplies(Protocol):
    """The model replies of earlier runs."""

    async def of_run(self, run_id: str) -> Mapping[str, Reply]:
        """Those that are kept, by the idempotency key of the step."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A run as an entry of a file's `tests`, and the text of the file with it."""

    test: Mapping[str, Any]
    source: str


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """Writes runs down."""

    store: RunStore
    library: Library
    replies: KeptReplies
    tester: Tester

    async def record(self, run_id: str, *, name: str, source: str) -> "Recorded":
        """The run as a test of a file with the text `source`, or without one of its own. Raises RunNotFound and
        RunNotRecordable.

        Programs run anew in the test; only when that gives something else is their result written down too.
        """
        run = await self.store.get(run_id)
        _check(run)
        document = await self.library.document(run.source)
        transcript = Transcript(
            workflow=document.workflow,
            events=await self._events(run_id),
            replies=await self._replies(run_id),
        )
        expected = _expected(document, run)
        begun = {"name": name or f"run {run_id}", "inputs": dict(run.inputs)}
        results: list[CaseResult] = []
        for with_programs in (False, True):
            written = {"replies": transcript.written(with_programs=with_programs)}
            test = {key: value for key, value in (begun | written | expected).items() if value}
            text, result = await self._tried(run, source or run.source, test)
            if result.passed:
                return Recorded(test=test, source=text)
            results.append(result)
        raise _not_repeated(run, results)

    async def _events(self, run_id: str) -> list[Event]:
        events: list[Event] = []
        while True:
            after = events[-1].sequence if events else 0
            found = await self.store.events(run_id, after=after, limit=_EVENTS_AT_ONCE)
            events += found
            if len(found) < _EVENTS_AT_ONCE:
                return events

    async def _replies(self, run_id: str) -> dict[CallPlace, Reply]:
        kept = await self.replies.of_run(run_id)
        own = {key: reply for key, reply in kept.items() if key.startswith(f"{run_id}/")}
        return {CallPlace.of(key): reply for key, reply in own.items()}

    async def _tried(
        self, run: Run, source: str, test: Mapping[str, Any]
    ) -> tuple[str, CaseResult]:
        """The file with the test, and how that ends."""
        try:
            await self.library.document(source)
            text = self.library.language.with_test_added(source, test)
            document = await self.library.document(text)
        except CadreError as error:
            raise RunNotRecordable(
                f"run {run.id!r} cannot be written down as a test: {error.message}",
                resolution=error.resolution or "Write the test by hand.",
                metadata={"run_id": run.id},
            ) from error
        return text, await self.tester.result(document, text, document.parsed.cases[-1])


def _check(run: Run) -> None:
    reason = ""
    if run.status not in FINAL:
        reason = f"has not ended; it is {run.status.value}"
    elif run.status is RunStatus.CANCELLED:
        reason = "was cancelled, which no test can repeat"
    elif run.forked_from:
        reason = "was forked: its first steps are another run's"
    if reason:
        raise RunNotRecordable(
            f"run {run.id!r} {reason}",
            resolution="Record a run that began at its start and ended by itself.",
            metadata={"run_id": run.id},
        )


def _not_repeated(run: Run, results: Sequence[CaseResult]) -> RunNotRecordable:
    failure = results[-1].failures[0]
    return RunNotRecordable(
        f"run {run.id!r} cannot be repeated from what is kept of it: {failure.message}",
        resolution="Replies of models are kept for 30 days; results that nodes took from their cache are not."
        " Run it again with --record, or write the test by hand.",
        metadata={"run_id": run.id, "node": failure.node},
    )


def _expected(document: Document, run: Run) -> dict[str, Any]:
    """What the test expects: the failure, or the fields that nodes wrote as they were at the end."""
    if run.error is not None:
        return {"fails": run.error.code}
    nodes = document.workflow.nodes.values()
    written = {output.field for node in nodes for output in node.outputs}
    outputs = run.outputs or {}
    return {
        "expect": [_condition(name, value) for name, value in outputs.items() if name in written]
    }


def _condition(name: str, value: Any) -> str:
    """A condition that holds for the value: equality, or for what is long its length."""
    literal = _literal(value)
    if literal is None and isinstance(value, list) and len(value) <= _MOST_ITEMS:
        items = [_literal(item) for item in value]
        short = [item for item in items if item is not None]
        literal = f"[{', '.join(short)}]" if len(short) == len(items) else None
    if literal is None or len(literal) > 2 * _LONGEST_TEXT:
        return f"len(state.{name}) == {len(value)}"
    return f"state.{name} == {literal}"


def _literal(value: Any) -> str | None:
    """A value as conditions write it; None for what they cannot, or what is long."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str() if _can_be_quoted(value):
            return f"'{value.translate(_ESCAPES)}'"
    return None


def _can_be_quoted(text: str) -> bool:
    plain = text.replace("\n", "").replace("\t", "")
    return len(text) <= _LONGEST_TEXT and plain.isprintable() and "state." not in text
