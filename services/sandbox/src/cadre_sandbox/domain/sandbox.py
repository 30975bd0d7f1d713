"""Runs programs: checks them, waits for a place, and says how they ended."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
    Ending,
    Execution,
    File,
    FileEntry,
    FileRefused,
    HostNotAllowed,
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
from cadre_sandbox.domain.hosts import HostList
from cadre_sandbox.domain.presets import Preset, granted, within
from cadre_sandbox.domain.sessions import Lifetime, Session, SessionFixed, Sessions, lifetime

__all__ = ["Asked", "Sandbox"]

_FILE_COUNT = 100
_FILE_BYTES = 10 * 1024 * 1024
# What one message between services can hold, with its output.
_FILES_BYTES = 12 * 1024 * 1024
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
    hosts: frozenset[str] = frozenset()
    files: Sequence[File] = ()
    session_id: str = ""


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
        sessions: Sessions,
        longest: Lifetime,
    ) -> None:
        self._runner = runner
        self._containers = containers
        self._capacity = capacity
        self._answers = answers
        self._ceiling = ceiling
        self._modules = modules
        self._allow_weaker = allow_weaker
        self._sessions = sessions
        self._longest = longest

    async def execute(self, asked: Asked, *, key: str, request: bytes) -> Execution:
        """Runs a program, once for each `key`. `request` tells requests with one key apart.

        Raises CodeTooLong, LimitOutOfRange, ModeNotOffered, FileRefused, PackageNotAllowed, HostNotAllowed,
        SandboxTooWeak, SandboxBusy, KeyReused, RunnerLost; in a session also SessionNotFound, SessionFixed,
        SessionBusy.
        """
        run = self._prepared(asked, key)
        return await self._answers.once(key, request, lambda: run(None))

    async def stream(self, asked: Asked, *, key: str, on_output: OnOutput) -> Execution:
        """Runs a program, passing on its output as it is written. Raises as `execute` does."""
        return await self._prepared(asked, key)(on_output)

    def _prepared(
        self, asked: Asked, key: str
    ) -> Callable[[OnOutput | None], Awaitable[Execution]]:
        """Checks what is asked; what is left is to run it."""
        if asked.session_id:
            session = self._sessions.get(asked.session_id)
            called = self._call(asked, session)
            return lambda on_output: self._run_in(session, called, on_output)
        runner, program = self._runner_for(asked.mode), self._program(asked)
        return lambda on_output: self._run(runner, program, key, on_output)

    async def open_session(
        self, asked: Asked, *, idle_seconds: float, total_seconds: float, key: str, request: bytes
    ) -> Session:
        """Opens a session for programs of the shape that is asked for; a repeated key gets the same one.

        Raises as `execute` does, and TooManySessions and SessionsNotOffered.
        """
        runner, shape = self._runner_for(asked.mode), self._program(asked)
        lasts = lifetime(idle_seconds, total_seconds, self._longest)

        async def make(session_id: str) -> Session:
            return Session(
                id=session_id,
                mode=asked.mode,
                limits=shape.limits,
                lifetime=lasts,
                kernel=await runner.open(shape),
                hosts=shape.hosts,
            )

        return await self._sessions.open(key, request, make)

    async def close_session(self, session_id: str) -> bool:
        """Ends a session; whether there was one."""
        return await self._sessions.close(session_id)

    async def write_file(self, session_id: str, file: File) -> None:
        """Puts a file into a session's folder. Raises SessionNotFound, SessionBusy, FileRefused."""
        _check_files([file])
        async with self._sessions.get(session_id).use() as kernel:
            await kernel.write(file)

    async def read_file(self, session_id: str, name: str) -> File:
        """A file of a session's folder. Raises SessionNotFound, SessionBusy, FileNotFound, FileRefused."""
        _check_files([File(name=name, content=b"")])
        async with self._sessions.get(session_id).use() as kernel:
            return await kernel.read(name)

    async def list_files(self, session_id: str) -> Sequence[FileEntry]:
        """The files of a session's folder. Raises SessionNotFound, SessionBusy."""
        async with self._sessions.get(session_id).use() as kernel:
            return await kernel.entries()

    def _call(self, asked: Asked, session: Session) -> Program:
        """One call in a session. Raises SessionFixed and what is wrong with it."""
        limits = asked.limits
        settled = {
            "preset": asked.preset is not Preset.NONE,
            "packages": asked.packages,
            "hosts": asked.hosts,
            "memory_mb": limits.memory_mb,
            "cpus": limits.cpus,
        }
        for name, value in settled.items():
            if value:
                raise SessionFixed(
                    f"{name} was settled when the session was opened",
                    resolution=f"Leave {name} out, or open another session.",
                    metadata={"field": name},
                )
        _check_code(asked.code)
        _check_mode(session.mode, asked)
        _check_files(asked.files)
        return Program(
            code=asked.code,
            inputs=asked.inputs,
            limits=within(limits, session.limits),
            files=asked.files,
            hosts=session.hosts,
        )

    def _program(self, asked: Asked) -> Program:
        _check_code(asked.code)
        self._check_extras(asked)
        return Program(
            code=asked.code,
            inputs=asked.inputs,
            limits=granted(asked.limits, asked.preset, self._ceiling),
            files=asked.files,
            packages=asked.packages,
            hosts=self._hosts(asked.hosts),
        )

    def _hosts(self, asked: frozenset[str]) -> frozenset[str]:
        """What a program may reach. Raises HostNotAllowed."""
        allowed = HostList(self._containers.hosts)
        if asked and self._containers.hosts_missing:
            raise HostNotAllowed(
                f"no host can be reached: {self._containers.hosts_missing}",
                resolution="Ask for no hosts; or list them in CADRE_SANDBOX_HOSTS, and where gVisor is installed set"
                " CADRE_SANDBOX_DOCKER_RUNTIME=runc.",
            )
        if "*" in asked:
            asked = asked - {"*"} | set(self._containers.hosts)
        for host in sorted(asked):
            if not allowed.covers(host):
                raise HostNotAllowed(
                    f"the host {host[:200]!r} is not allowed",
                    resolution="GetCapabilities lists the hosts; CADRE_SANDBOX_HOSTS adds to them.",
                    metadata={"host": host[:200]},
                )
        return asked

    def _check_extras(self, asked: Asked) -> None:
        _check_mode(asked.mode, asked)
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
        return self._judged(ending, program, runner)

    async def _run_in(
        self, session: Session, program: Program, on_output: OnOutput | None
    ) -> Execution:
        async with session.use() as kernel, self._capacity.place(session.id):
            ending = await kernel.run(program, on_output)
        runner = self._containers if session.mode is Mode.DOCKER else self._runner
        return self._judged(ending, program, runner)

    def _judged(self, ending: Ending, program: Program, runner: Runner) -> Execution:
        walls = [wall.name for wall in runner.walls() if wall.holds]
        if program.hosts:
            # Its network has an opening: the proxy, which knows its hosts.
            walls = ["proxy" if name == "network" else name for name in walls]
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
            session_modes=[Mode.PYTHON] * (python and self._runner.has_sessions)
            + [Mode.DOCKER] * (not self._containers.missing),
            hosts=self._containers.hosts,
        )

    def _runner_for(self, mode: Mode) -> Runner:
        if mode is Mode.DOCKER:
            if self._containers.missing:
                raise ModeNotOffered(
                    f"mode docker is not offered: {self._containers.missing}",
                    resolution="Do what it says, or ask for mode python.",
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


def _check_code(code: str) -> None:
    if len(code.encode("utf-8", "surrogatepass")) > CODE_BYTES:
        raise CodeTooLong(
            f"the program has {len(code)} characters; at most {CODE_BYTES} bytes are allowed",
            resolution="Pass data as inputs, not in the code.",
        )


def _check_mode(mode: Mode, asked: Asked) -> None:
    if mode is Mode.PYTHON and asked.packages:
        raise PackageNotAllowed(
            "a program in mode python has no packages", resolution="Ask for mode docker."
        )
    if mode is Mode.PYTHON and asked.hosts:
        raise HostNotAllowed(
            "a program in mode python has no network",
            resolution="Ask for mode docker, or pass data as inputs.",
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
