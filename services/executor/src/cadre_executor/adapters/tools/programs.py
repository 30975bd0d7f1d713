"""python, shell and process: programs that the sandbox runs."""

from typing import Any

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.domain.peers import Call, Execution, Outcome, Program, Sandbox
from cadre_executor.domain.tools import ToolFailed, ToolResult
from cadre_executor.domain.workflows import SandboxLimits, SandboxMode
from cadre_kit.errors import FailedPrecondition, Unavailable, Unsupported

__all__ = ["ProgramTools"]

_SECONDS = 30.0
# Runs inside the container, which the sandbox bounds and destroys.
_RUN = """
import subprocess
done = subprocess.run(argv, input=stdin, capture_output=True, text=True, errors="replace")
result = {"exit_status": done.returncode, "stdout": done.stdout[-200000:], "stderr": done.stderr[-50000:]}
"""


class ProgramTools:
    """Runs programs for workflows."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def python(self, asked: Invocation) -> ToolResult:
        """A Python program; what it printed, and its variable `result`."""
        inputs = asked.arguments.get("inputs", {})
        execution = await self._run(asked, asked.arguments["code"], inputs, SandboxMode.PYTHON)
        return ToolResult(value={"stdout": execution.stdout, "result": execution.result})

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
        self, asked: Invocation, code: str, inputs: dict[str, Any], mode: SandboxMode
    ) -> Execution:
        limit = min(float(asked.config.get("timeout_seconds", _SECONDS)), asked.seconds)
        program = Program(
            code=code, inputs=inputs, limits=SandboxLimits(mode=mode, timeout_seconds=limit)
        )
        context = asked.context
        call = Call(
            workflow=context.workflow.name,
            version=context.version,
            run_id=context.run_id,
            root_run_id=context.root_run_id,
            node=context.node,
            key=context.key,
        )
        execution = await self._sandbox.execute(program, call=call, seconds=limit)
        if execution.outcome is not Outcome.SUCCEEDED:
            raise ToolFailed(
                f"the program {_ENDS[execution.outcome]}: {execution.error[:4000]}",
                code=f"PROGRAM_{execution.outcome.value.upper()}",
                resolution=execution.resolution,
            )
        return execution


_ENDS = {
    Outcome.FAILED: "failed",
    Outcome.BLOCKED: "tried what is not allowed",
    Outcome.LIMIT: "reached a limit",
}
