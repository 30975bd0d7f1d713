"""Runs programs: checks them, waits for a place, and says how they ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from cadre_sandbox.domain.answers import Answers
from cadre_sandbox.domain.capacity import Capacity
from cadre_sandbox.domain.endings import execution_of
from cadre_sandbox.domain.executions import (
    CODE_BYTES,
    Capabilities,
    CodeTooLong,
    Execution,
    LimitOutOfRange,
    Limits,
    Program,
    Runner,
    SandboxTooWeak,
    missing_walls,
)

__all__ = ["DEFAULT_OUTPUT_BYTES", "Sandbox"]

DEFAULT_TIMEOUT_SECONDS = 10.0
DEFAULT_MEMORY_MB = 256
DEFAULT_OUTPUT_BYTES = 1024 * 1024
LEAST_MEMORY_MB = 32


class Sandbox:
    """What the service does."""

    def __init__(
        self,
        *,
        runner: Runner,
        capacity: Capacity,
        answers: Answers,
        ceiling: Limits,
        modules: Sequence[str],
        allow_weaker: bool,
    ) -> None:
        self._runner = runner
        self._capacity = capacity
        self._answers = answers
        self._ceiling = ceiling
        self._modules = modules
        self._allow_weaker = allow_weaker

    async def execute(
        self, *, code: str, inputs: Mapping[str, Any], asked: Limits, key: str, request: bytes
    ) -> Execution:
        """Runs a program; 0 in `asked` means the default. `request` tells requests with one `key` apart.

        Raises CodeTooLong, LimitOutOfRange, SandboxTooWeak, SandboxBusy, KeyReused, RunnerLost.
        """
        self._check_walls()
        if len(code.encode("utf-8", "surrogatepass")) > CODE_BYTES:
            raise CodeTooLong(
                f"the program has {len(code)} characters; at most {CODE_BYTES} bytes are allowed",
                resolution="Pass data as inputs, not in the code.",
            )
        program = Program(code=code, inputs=inputs, limits=self._limits(asked))
        return await self._answers.once(key, request, lambda: self._run(program, key))

    async def _run(self, program: Program, key: str) -> Execution:
        # Keys of the platform begin with their run's id: runs take turns.
        async with self._capacity.place(key.partition("/")[0]):
            ending = await self._runner.run(program)
        return execution_of(ending, program.limits)

    def capabilities(self) -> Capabilities:
        """What the sandbox can do on this machine."""
        walls = self._runner.walls()
        return Capabilities(
            walls=walls,
            modules=self._modules,
            ceiling=self._ceiling,
            runs=self._allow_weaker or not missing_walls(walls),
        )

    def _check_walls(self) -> None:
        missing = missing_walls(self._runner.walls())
        if missing and not self._allow_weaker:
            raise SandboxTooWeak(
                f"these walls do not hold on this machine: {', '.join(missing)}",
                resolution="GetCapabilities says why. CADRE_SANDBOX_ALLOW_WEAKER=true runs code all the same.",
                metadata={"missing": ", ".join(missing)},
            )

    def _limits(self, asked: Limits) -> Limits:
        ceiling = self._ceiling
        timeout = asked.timeout_seconds or min(DEFAULT_TIMEOUT_SECONDS, ceiling.timeout_seconds)
        _check("timeout_seconds", timeout, 0.001, ceiling.timeout_seconds)
        cpu = asked.cpu_seconds or min(timeout, ceiling.cpu_seconds)
        _check("cpu_seconds", cpu, 0.001, ceiling.cpu_seconds)
        memory = asked.memory_mb or min(DEFAULT_MEMORY_MB, ceiling.memory_mb)
        _check("memory_mb", memory, LEAST_MEMORY_MB, ceiling.memory_mb)
        output = asked.output_bytes or min(DEFAULT_OUTPUT_BYTES, ceiling.output_bytes)
        _check("output_bytes", output, 1, ceiling.output_bytes)
        return Limits(
            timeout_seconds=timeout, cpu_seconds=cpu, memory_mb=memory, output_bytes=output
        )


def _check(name: str, value: float, least: float, most: float) -> None:
    # Said this way round so that a value which is no number is refused as well.
    if not least <= value <= most:
        raise LimitOutOfRange(
            f"{name} is {value:g}; it may be {least:g} to {most:g}",
            resolution=f"Ask for less; the operator's ceiling is CADRE_SANDBOX_MAX_{name.upper()}.",
            metadata={"limit": name, "value": f"{value:g}", "ceiling": f"{most:g}"},
        )
