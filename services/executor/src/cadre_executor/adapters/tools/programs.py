"""python, shell and process: programs that the sandbox runs."""

import hashlib
from typing import Any

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.domain.cuts import shown_ends
from cadre_executor.domain.peers import Call, Execution, Outcome, Program, SandboxSessions
from cadre_executor.domain.tools import ToolFailed, ToolResult
from cadre_executor.domain.workflows import SandboxLimits, SandboxMode
from cadre_kit.errors import (
    CadreError,
    FailedPrecondition,
    LimitExceeded,
    NotFound,
    Unavailable,
    Unsupported,
)
from cadre_kit.logs import logger

__all__ = ["ProgramTools"]

log = logger()

_SECONDS = 30.0
_OPEN_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
_NOT_KEPT = "No session was free: later calls do not find the variables of this one."
_LOST = "The session of earlier calls has ended, and their variables with it."
# Runs inside the container, which the sandbox bounds and destroys.
_RUN = """
import subprocess
done = subprocess.run(argv, input=stdin, capture_output=True, text=True, errors="replace")
result = {"exit_status": done.returncode, "stdout": done.stdout[-200000:], "stderr": done.stderr[-50000:]}
"""


class ProgramTools:
    """Runs programs for workflows."""

    def __init__(self, sandbox: SandboxSessions) -> None:
        self._sandbox = sandbox
        self._sessions: dict[tuple[str, float], str] = {}
        """The open ones, by their loop and the seconds that a program may take."""

    async def python(self, asked: Invocation) -> ToolResult:
        """A Python program; what it printed, and its variable `result`. A model's loop keeps its variables."""
        loop, note = asked.context.loop, ""
        if not loop:
            return _python_result(await self._python(asked), note)
        try:
            execution = await self._python(asked, await self._session(loop, asked))
        except NotFound:
            self._sessions.pop((loop, _seconds(asked)), None)
            note = _LOST
            execution = await self._python(asked, await self._session(loop, asked))
        except (LimitExceeded, Unsupported):
            note = _NOT_KEPT
            execution = await self._python(asked)
        return _python_result(execution, note)

    async def _python(self, asked: Invocation, session: str = "") -> Execution:
        inputs = asked.arguments.get("inputs", {})
        code = asked.arguments["code"]
        return await self._run(asked, code, inputs, SandboxMode.PYTHON, session)

    async def _session(self, loop: str, asked: Invocation) -> str:
        """The loop's session. Its key is the loop's, so that whoever goes on with a run finds what is there."""
        seconds = _seconds(asked)
        if (loop, seconds) not in self._sessions:
            limits = SandboxLimits(mode=SandboxMode.PYTHON, timeout_seconds=seconds)
            call = _call(asked, f"{loop}/session/{seconds:g}")
            opened = await self._sandbox.open_session(limits, call=call, seconds=_OPEN_SECONDS)
            self._sessions[loop, seconds] = opened
        return self._sessions[loop, seconds]

    async def end_loop(self, loop: str) -> None:
        """Ends what the loop has of sessions."""
        for name in [name for name in self._sessions if name[0] == loop]:
            try:
                await self._sandbox.close_session(self._sessions.pop(name), seconds=_CLOSE_SECONDS)
            except CadreError as error:
                log.warning("sandbox_session_not_closed", code=error.code, reason=error.message)

    async def shell(self, asked: Invocation) -> ToolResult:
        """A command line of `sh`, in a container."""
        return await self._in_container(asked, ["sh", "-c", asked.arguments["command"]], "")

    async def process(self, asked: Invocation) -> ToolResult:
        """A program with arguments, in a container."""
        argv = [asked.arguments["program"], *asked.arguments.get("arguments", ())]
        return await self._in_container(asked, argv, asked.arguments.get("stdin", ""))

    async def _in_container(self, asked: Invocation, argv: list[str], stdin: str) -> ToolResult:
        inputs = {"argv": argv, "stdin": stdin}
        try:
            execution = await self._run(asked, _RUN, inputs, SandboxMode.DOCKER)
        except (Unavailable, Unsupported, FailedPrecondition) as error:
            raise ToolFailed(
                f"shell and process need the sandbox's docker mode: {error.message}",
                code="DOCKER_MODE_MISSING",
                resolution=error.resolution or "Start a Docker engine where the sandbox runs.",
            ) from error
        return ToolResult(value=execution.result)

    async def _run(
        self,
        asked: Invocation,
        code: str,
        inputs: dict[str, Any],
        mode: SandboxMode,
        session: str = "",
    ) -> Execution:
        limit = _seconds(asked)
        program = Program(
            code=code, inputs=inputs, limits=SandboxLimits(mode=mode, timeout_seconds=limit)
        )
        call = _call(asked, _key(asked.context.key, session))
        execution = await self._sandbox.execute(program, call=call, seconds=limit, session=session)
        if execution.outcome is not Outcome.SUCCEEDED:
            raise ToolFailed(
                f"the program {_ENDS[execution.outcome]}: {execution.error[:4000]}{_printed(execution)}",
                code=f"PROGRAM_{execution.outcome.value.upper()}",
                resolution=execution.resolution,
            )
        return execution


def _seconds(asked: Invocation) -> float:
    """How long a program may take."""
    return min(float(asked.config.get("timeout_seconds", _SECONDS)), asked.seconds)


def _printed(execution: Execution) -> str:
    """What a program printed before it failed, from which a model sees how far it came."""
    text = execution.stdout.rstrip("\n")
    return f"\nBefore that it printed:\n{shown_ends(text)}" if text else ""


def _python_result(execution: Execution, note: str) -> ToolResult:
    value = {"stdout": execution.stdout, "result": execution.result}
    more = {"stderr": execution.stderr, "note": note}
    return ToolResult(value=value | {name: text for name, text in more.items() if text})


def _key(step: str, session: str) -> str:
    """A step that is repeated in another session is another request to the sandbox."""
    if not session:
        return step
    return f"{step}/{hashlib.sha256(session.encode()).hexdigest()[:12]}"


def _call(asked: Invocation, key: str) -> Call:
    context = asked.context
    return Call(
        workflow=context.workflow.name,
        version=context.version,
        run_id=context.run_id,
        root_run_id=context.root_run_id,
        node=context.node,
        key=key,
    )


_ENDS = {
    Outcome.FAILED: "failed",
    Outcome.BLOCKED: "tried what is not allowed",
    Outcome.LIMIT: "reached a limit",
}
