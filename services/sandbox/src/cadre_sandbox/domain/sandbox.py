"""Runs programs: checks them, waits for a place, and says how they ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from cadre_sandbox.domain.answers import Answers
from cadre_sandbox.domain.capacity import Capacity
from cadre_sandbox.domain.endings import execution_of
from cadre_sandbox.domain.executions import (
    CODE_BYTES,
    CONTAINER_MINIMUM,
    Capabilities,
    CodeTooLong,
    Containers,
    Execution,
    File,
    FileRefused,
    Limits,
    Mode,
    ModeNotOffered,
    OnOutput,
    PackageNotAllowed,
    Program,
    Runner,
    SandboxTooWeak,
    missing_walls,
)
from cadre_sandbox.domain.presets import Preset, granted

__all__ = ["Asked", "Sandbox"]

_FILE_COUNT = 100
_FILE_BYTES = 10 * 1024 * 1024
_FILES_BYTES = 32 * 1024 * 1024
_NAME_BYTES = 200


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a caller wants run; 0 in `limits` means the preset's."""

    code: str = field(repr=False)
    inputs: Mapping[str, Any] = field(repr=False)
    limits: Limits
    mode: Mode = Mode.PYTHON
    preset: Preset = Preset.NONE
    packages: frozenset[str] = frozenset()
    files: Sequence[File] = ()


class Sandbox:
    """What the service does."""

    def __init__(
        self,
        *,
        runner: Runner,
        containers: Containers,
        capacity: Capacity,
        answers: Answers,
        ceiling: Limits,
        modules: Sequence[str],
        allow_weaker: bool,
    ) -> None:
        self._runner = runner
        self._containers = containers
        self._capacity = capacity
        self._answers = answers
        self._ceiling = ceiling
        self._modules = modules
        self._allow_weaker = allow_weaker

    async def execute(self, asked: Asked, *, key: str, request: bytes) -> Execution:
        """Runs a program, once for each `key`. `request` tells requests with one key apart.

        Raises CodeTooLong, LimitOutOfRange, ModeNotOffered, FileRefused, PackageNotAllowed, SandboxTooWeak,
        SandboxBusy, KeyReused, RunnerLost.
        """
        runner, program = self._runner_for(asked.mode), self._program(asked)
        return await self._answers.once(key, request, lambda: self._run(runner, program, key))

    async def stream(self, asked: Asked, *, key: str, on_output: OnOutput) -> Execution:
        """Runs a program, passing on its output as it is written. Raises as `execute` does."""
        runner, program = self._runner_for(asked.mode), self._program(asked)
        return await self._run(runner, program, key, on_output)

    def _program(self, asked: Asked) -> Program:
        if len(asked.code.encode("utf-8", "surrogatepass")) > CODE_BYTES:
            raise CodeTooLong(
                f"the program has {len(asked.code)} characters; at most {CODE_BYTES} bytes are allowed",
                resolution="Pass data as inputs, not in the code.",
            )
        self._check_extras(asked)
        return Program(
            code=asked.code,
            inputs=asked.inputs,
            limits=granted(asked.limits, asked.preset, self._ceiling),
            files=asked.files,
            packages=asked.packages,
        )

    def _check_extras(self, asked: Asked) -> None:
        if asked.mode is Mode.PYTHON and (asked.files or asked.packages):
            raise FileRefused(
                "a program in mode python has neither files nor packages",
                resolution="Ask for mode docker, or pass data as inputs.",
            )
        _check_files(asked.files)
        if unknown := sorted(asked.packages - set(self._containers.packages)):
            raise PackageNotAllowed(
                f"the package {unknown[0]!r} is not allowed",
                resolution="GetCapabilities lists the packages; CADRE_SANDBOX_PACKAGES adds to them.",
                metadata={"package": unknown[0]},
            )

    async def _run(
        self, runner: Runner, program: Program, key: str, on_output: OnOutput | None = None
    ) -> Execution:
        # Keys of the platform begin with their run's id: runs take turns.
        async with self._capacity.place(key.partition("/")[0]):
            ending = await runner.run(program, on_output)
        walls = [wall.name for wall in runner.walls() if wall.holds]
        return replace(execution_of(ending, program.limits), walls=walls)

    def capabilities(self) -> Capabilities:
        """What the sandbox can do on this machine."""
        walls = self._runner.walls()
        python = self._allow_weaker or not missing_walls(walls)
        return Capabilities(
            walls=walls,
            modules=self._modules,
            ceiling=self._ceiling,
            modes=[Mode.PYTHON] * python + [Mode.DOCKER] * (not self._containers.missing),
            docker_walls=self._containers.walls(),
            docker_missing=self._containers.missing,
            packages=self._containers.packages,
        )

    def _runner_for(self, mode: Mode) -> Runner:
        if mode is Mode.DOCKER:
            if self._containers.missing:
                raise ModeNotOffered(
                    f"mode docker is not offered: {self._containers.missing}",
                    resolution="Start a Docker engine that the sandbox may reach, or ask for mode python.",
                    metadata={"mode": mode.value},
                )
            self._check(missing_walls(self._containers.walls(), CONTAINER_MINIMUM))
            return self._containers
        self._check(missing_walls(self._runner.walls()))
        return self._runner

    def _check(self, missing: Sequence[str]) -> None:
        if missing and not self._allow_weaker:
            raise SandboxTooWeak(
                f"these walls do not hold on this machine: {', '.join(missing)}",
                resolution="GetCapabilities says why. CADRE_SANDBOX_ALLOW_WEAKER=true runs code all the same.",
                metadata={"missing": ", ".join(missing)},
            )


def _check_files(files: Sequence[File]) -> None:
    total = sum(len(file.content) for file in files)
    if len(files) > _FILE_COUNT or total > _FILES_BYTES:
        raise FileRefused(
            f"{len(files)} files of {total} bytes; at most {_FILE_COUNT} of {_FILES_BYTES} bytes are allowed",
            resolution="Pass fewer files, or smaller ones.",
        )
    for file in files:
        path = PurePosixPath(file.name)
        inside = path.parts and not path.is_absolute() and ".." not in path.parts
        short = len(file.name.encode("utf-8", "surrogatepass")) <= _NAME_BYTES
        if not inside or not short or "\0" in file.name or len(file.content) > _FILE_BYTES:
            raise FileRefused(
                f"the file {file.name[:80]!r} is not allowed",
                resolution=f"Name a path within the folder; a file has at most {_FILE_BYTES} bytes.",
            )
