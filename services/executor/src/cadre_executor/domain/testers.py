"""Runs the tests of workflow files: the engine that drives real runs, between stand-ins that keep nothing."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cadre_executor.domain.cases import Case, Expectation
from cadre_executor.domain.checkpoints import Position
from cadre_executor.domain.cuts import shown
from cadre_executor.domain.definitions import Document, Library
from cadre_executor.domain.drivers import Driver, Engine
from cadre_executor.domain.peers import Peers
from cadre_executor.domain.runs import Ending, Failure, Run, RunStatus
from cadre_executor.domain.scripts import ReplyMissing, Script
from cadre_executor.domain.stand_in_agents import scripted_delegations
from cadre_executor.domain.stand_ins import (
    CheckArguments,
    Misfits,
    NoFiles,
    ScriptedChildren,
    ScriptedMemory,
    ScriptedModels,
    ScriptedRuns,
    ScriptedSandbox,
    ScriptedTools,
    WithoutCache,
)
from cadre_executor.domain.states import no_progress, visible
from cadre_executor.domain.stores import Claim
from cadre_executor.domain.visits import Drive
from cadre_executor.domain.workflows import Scope, Workflow
from cadre_kit.errors import CadreError, InvalidInput
from cadre_kit.ids import new_id

__all__ = ["CaseFailure", "CaseResult", "NoTests", "Tester"]

_AT_ONCE = 4
_CASE_SECONDS = 120.0
_SHOWN_CHARACTERS = 300


class NoTests(InvalidInput):
    """A file has no tests, or none of the name that was asked for."""

    code = "NO_TESTS"


@dataclass(frozen=True, kw_only=True)
class CaseFailure:
    """Why a test did not pass, and where that stands in the file."""

    code: str
    message: str
    path: str
    line: int
    column: int
    resolution: str = ""
    node: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """How a test ended. `state` is that at the end of its run; None when the run did not begin."""

    name: str
    failures: tuple[CaseFailure, ...]
    duration_ms: int
    state: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


@dataclass(frozen=True, kw_only=True)
class Tester:
    """Runs tests. `driver` is the one of real runs: a test changes what it drives between, not how it drives."""

    library: Library
    driver: Driver
    check_arguments: CheckArguments
    misfits: Misfits

    async def test(self, source: str, *, name_contains: str) -> AsyncGenerator[CaseResult]:
        """The results, in the file's order. Raises WorkflowInvalid and NoTests."""
        document = await self.library.document(source)
        cases = [
            case
            for case in document.parsed.cases
            if name_contains.casefold() in case.name.casefold()
        ]
        if not cases:
            raise _no_tests(document, name_contains)
        places = asyncio.Semaphore(_AT_ONCE)
        running = [
            asyncio.create_task(self._in_its_turn(document, source, case, places)) for case in cases
        ]
        try:
            for task in running:
                yield await task
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    async def result(self, document: Document, source: str, case: Case) -> CaseResult:
        """How one test of a file, whose text is `source`, ends."""
        started = time.monotonic()
        stage = _Stage.of(document.workflow, source, case)
        try:
            async with asyncio.timeout(_CASE_SECONDS):
                await self._drive(stage)
            failures = _failures(case, document.workflow, stage)
        except TimeoutError:
            message = f"the test took longer than {_CASE_SECONDS:g} s"
            failures = [_at_case(case, "TEST_TIMEOUT", message, "Give its run less to do.")]
        position = stage.position
        return CaseResult(
            name=case.name,
            failures=tuple(failures),
            duration_ms=round((time.monotonic() - started) * 1000),
            state=None if position is None else position.fields,
        )

    async def _in_its_turn(
        self, document: Document, source: str, case: Case, places: asyncio.Semaphore
    ) -> CaseResult:
        async with places:
            return await self.result(document, source, case)

    async def _drive(self, stage: "_Stage") -> None:
        """Drives the run of a test to its end."""
        script, runs = stage.script, stage.runs
        driver = replace(
            self.driver,
            store=runs,
            engine=stage.watching(self.driver.engine),
            peers=Peers(
                models=ScriptedModels(script=script, workflow=stage.workflow, misfits=self.misfits),
                sandbox=ScriptedSandbox(script=script, sandbox=self.driver.peers.sandbox),
                memory=ScriptedMemory(script=script),
                tools=ScriptedTools(script=script, check_arguments=self.check_arguments),
                files=NoFiles(),
            ),
            children=ScriptedChildren(script=script),
            delegations=scripted_delegations(script),
            cache=WithoutCache(),
            patience_seconds=0.0,
            stored=lambda _: None,
            pause=_at_once,
        )
        claim = Claim(run=runs.run)
        journal = driver.journal(claim, broken=lambda _: None)
        try:
            await driver.drive(claim, journal)
        finally:
            await journal.settle()


@dataclass(kw_only=True)
class _Stage:
    """The run of one test, and where it stands."""

    workflow: Workflow
    script: Script
    runs: ScriptedRuns
    reached: Position | None = None

    @classmethod
    def of(cls, workflow: Workflow, source: str, case: Case) -> "_Stage":
        script = Script(case.replies)
        return cls(
            workflow=workflow,
            script=script,
            runs=ScriptedRuns(script=script, run=_run(workflow, source, case)),
        )

    @property
    def position(self) -> Position | None:
        """Where the run stood last."""
        return self.reached or self.runs.position

    def watching(self, engine: Engine) -> Engine:
        """An engine that tells where it got to."""
        return _Watched(engine=engine, stage=self)


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """An engine, and who is told how far it got."""

    engine: Engine
    stage: _Stage

    async def advance(
        self, document: Document, drive: Drive, position: Position, *, wake: Sequence[str]
    ) -> Position:
        """Takes every step that can be taken."""
        reached = await self.engine.advance(document, drive, position, wake=wake)
        self.stage.reached = reached
        return reached


def _run(workflow: Workflow, source: str, case: Case) -> Run:
    """The run of a test, in a trace that is not recorded."""
    return Run(
        id=f"test-{new_id()}",
        workflow=workflow.name,
        version=0,
        status=RunStatus.RUNNING,
        source=source,
        inputs=case.inputs,
        trigger="test",
        created_time=datetime.now(UTC),
        trace_parent=f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00",
    )


async def _at_once(_: float) -> None:
    """No pause: nobody else needs the time."""


def _failures(case: Case, workflow: Workflow, stage: _Stage) -> list[CaseFailure]:
    """Why a test whose run ended did not pass."""
    if stage.script.missing:
        return [_of_reply(case, missed) for missed in stage.script.missing]
    ending = stage.runs.ending
    assert ending is not None, "a run that was driven to its end has one"
    wrong = _of_ending(case, ending)
    if wrong is not None:
        return [wrong]
    position = stage.position or Position(fields=case.inputs, progress=no_progress())
    scope = Scope(state=visible(workflow, position.fields, position.progress))
    found = (_of_expectation(expected, scope) for expected in case.expect)
    return [each for each in found if each is not None]


def _of_ending(case: Case, ending: Ending) -> CaseFailure | None:
    error = ending.error
    if error is None and case.fails:
        message = f"the run succeeded, and the test says that it fails with {case.fails}"
        return _at_case(case, "EXPECTATION_FAILED", message)
    if error is not None and error.code != case.fails:
        return _of_failure(case, error)
    return None


def _of_failure(case: Case, error: Failure) -> CaseFailure:
    where = f" at node {error.node!r}" if error.node else ""
    expected = f", not with {case.fails}" if case.fails else ""
    return _at_case(
        case,
        error.code,
        f"the run failed{where}{expected}: {error.message}",
        error.resolution,
        node=error.node,
    )


def _of_reply(case: Case, missed: ReplyMissing) -> CaseFailure:
    node = missed.metadata["node"]
    return _at_case(case, missed.code, missed.message, missed.resolution, node=node)


def _at_case(
    case: Case, code: str, message: str, resolution: str = "", *, node: str = ""
) -> CaseFailure:
    return CaseFailure(
        code=code,
        message=message,
        resolution=resolution,
        node=node,
        path=case.path,
        line=case.line,
        column=case.column,
    )


def _of_expectation(expected: Expectation, scope: Scope) -> CaseFailure | None:
    condition = expected.condition
    try:
        if condition.holds(scope):
            return None
        code, reason = "EXPECTATION_FAILED", f"`{condition.text}` does not hold"
    except CadreError as error:
        code, reason = error.code, f"`{condition.text}` cannot be computed: {error.message}"
    values = ", ".join(
        f"{name} is {shown(repr(value), longest=_SHOWN_CHARACTERS)}"
        for name, value in condition.values(scope).items()
    )
    return CaseFailure(
        code=code,
        message=f"{reason}: {values}" if values else reason,
        path=expected.path,
        line=expected.line,
        column=expected.column,
    )


def _no_tests(document: Document, name_contains: str) -> NoTests:
    names = [case.name for case in document.parsed.cases]
    if not names:
        return NoTests(
            f"the workflow {document.workflow.name!r} has no tests",
            resolution="Write some under `tests`, or record one: cadre run FILE --record.",
        )
    return NoTests(
        f"no test of {document.workflow.name!r} has {name_contains!r} in its name",
        resolution=f"Its tests: {', '.join(names[:20])}.",
    )
