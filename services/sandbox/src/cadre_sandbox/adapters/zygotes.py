"""Runs programs through the zygote process, keeps one alive, and collects what programs write."""

import asyncio
import contextlib
import json
import platform
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cadre_kit.logs import logger
from cadre_sandbox.adapters.program_pipes import request_of, run_through_pipes
from cadre_sandbox.adapters.python_kernels import PythonKernel, worker_lost
from cadre_sandbox.domain.executions import (
    Ending,
    Limits,
    OnOutput,
    Program,
    RunnerLost,
    SessionsNotOffered,
    Wall,
)

__all__ = ["ZygoteRunner", "zygote_runner"]

log = logger()

_START_SECONDS = 20.0
_STOP_SECONDS = 3.0
_MESSAGE_BYTES = 64 * 1024
_LONGEST_PAUSE_SECONDS = 5.0
_LANGUAGE_ATTEMPTS = (
    "import os",
    "().__class__.__base__.__subclasses__()",
    "result = '{0.__class__.__init__.__globals__}'.format(lambda: 0)",
    "open('/etc/passwd')",
)
_ATTEMPT_LIMITS = Limits(timeout_seconds=5, cpu_seconds=5, memory_mb=64, output_bytes=65536)


_NO_LINUX = Wall(name="process", holds=False, detail="programs are confined on Linux only")


class _Zygote:
    """One zygote process."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._ids = 0
        self._endings: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._ready: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._no_sessions = ""
        self.lost = asyncio.Event()
        asyncio.get_running_loop().add_reader(control, self._listen)

    @classmethod
    async def start(cls, *, first_uid: int) -> "_Zygote":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-m",
                "cadre_sandbox.worker",
                str(theirs.fileno()),
                str(first_uid),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env={},
            )
        except OSError as exc:
            ours.close()
            raise RunnerLost(
                f"the process that starts programs cannot be started: {exc.strerror}",
                resolution="Check that the service's user may run its Python interpreter.",
            ) from exc
        finally:
            theirs.close()
        return cls(process, ours)

    async def walls(self) -> list[Wall]:
        """What the zygote proved. Raises RunnerLost when it does not say so in time."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                ready = await asyncio.shield(self._ready)
        except TimeoutError as exc:
            raise RunnerLost("the process that starts programs did not get ready") from exc
        self._no_sessions = ready["no_sessions"]
        return [Wall(name=w["name"], holds=w["holds"], detail=w["detail"]) for w in ready["walls"]]

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        self._ids += 1
        number = self._ids
        ended = self._endings[number] = asyncio.get_running_loop().create_future()
        try:
            return await run_through_pipes(
                request_of(program),
                program.limits,
                hand_over=lambda ends: self._ask(number, program.limits, ends),
                ended=ended,
                kill=lambda: self.kill(number),
                on_output=on_output,
            )
        except TimeoutError as exc:
            self._process.kill()
            raise worker_lost() from exc
        finally:
            if ended.done():
                self._endings.pop(number, None)

    def _ask(self, number: int, limits: Limits, descriptors: list[int]) -> None:
        self._send({"op": "run", "id": number, **_said(limits)}, descriptors)

    @property
    def has_sessions(self) -> bool:
        return not self._no_sessions

    def open(self, limits: Limits) -> PythonKernel:
        """A session's kernel, with which one talks without the zygote."""
        if self._no_sessions:
            raise SessionsNotOffered(
                f"there are no sessions in mode python: {self._no_sessions}",
                resolution="Start the sandbox where user namespaces are allowed, or ask for mode docker.",
            )
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            self._send({"op": "open", **_said(limits)}, [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return PythonKernel(ours)

    def _send(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)
        except OSError as exc:
            raise worker_lost() from exc

    def kill(self, number: int) -> None:
        """Ends a program; nothing when it has ended."""
        with contextlib.suppress(OSError):
            self._control.send(json.dumps({"op": "kill", "id": number}).encode())

    def _listen(self) -> None:
        try:
            data = self._control.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        message = json.loads(data)
        if message["op"] == "ready":
            self._ready.set_result(message)
            return
        waiting = self._endings.pop(message["id"], None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _lose(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        self.lost.set()
        for waiting in (self._ready, *self._endings.values()):
            if not waiting.done():
                waiting.set_exception(worker_lost())
                # Not every one of them is awaited at this moment.
                waiting.exception()
        self._endings.clear()

    async def stop(self) -> None:
        """Ends the zygote and with it every program."""
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class ZygoteRunner:
    """Runs programs; starts another zygote when one dies."""

    def __init__(self, *, first_uid: int, walls: Sequence[Wall] = ()) -> None:
        self._first_uid = first_uid
        self._zygote: _Zygote | None = None
        self._walls = walls
        self._started = asyncio.Event()

    def walls(self) -> Sequence[Wall]:
        """The walls that were proved when the present zygote started."""
        return self._walls

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        """Runs it to its end. Raises RunnerLost when the zygote dies. Cancelling kills the program."""
        return await (await self._present()).run(program, on_output)

    async def open(self, shape: Program) -> PythonKernel:
        """A session's kernel. Raises SessionsNotOffered and RunnerLost."""
        return (await self._present()).open(shape.limits)

    @property
    def has_sessions(self) -> bool:
        """Whether `open` can be called."""
        return self._zygote is not None and self._zygote.has_sessions

    async def _present(self) -> _Zygote:
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._started.wait()
        except TimeoutError as exc:
            raise worker_lost() from exc
        if self._zygote is None:
            raise worker_lost()
        return self._zygote

    async def keep_alive(self, first: asyncio.Future[None]) -> None:
        """Starts zygotes for ever; resolves `first` with how the first start went."""
        pause = 0.1
        while True:
            try:
                await self._live(first)
                pause = 0.1
            except RunnerLost as exc:
                if not first.done():
                    first.set_exception(exc)
                    return
            self._started.clear()
            log.error("sandbox_worker_lost", next_start_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _live(self, first: asyncio.Future[None]) -> None:
        zygote = await _Zygote.start(first_uid=self._first_uid)
        try:
            walls = await zygote.walls()
            self._walls = [await _language_wall(zygote), *walls]
            self._zygote = zygote
            self._started.set()
            if not first.done():
                first.set_result(None)
            await zygote.lost.wait()
        finally:
            self._zygote = None
            self._started.clear()
            await zygote.stop()


@asynccontextmanager
async def zygote_runner(*, first_uid: int) -> AsyncIterator[ZygoteRunner]:
    """A runner whose walls are proved. Where there are no zygotes (not Linux), one whose walls do not hold."""
    if platform.system() != "Linux":
        yield ZygoteRunner(first_uid=first_uid, walls=[_NO_LINUX])
        return
    runner = ZygoteRunner(first_uid=first_uid)
    first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    keeper = asyncio.create_task(runner.keep_alive(first))
    try:
        # Whatever ends the keeper ends the start as well.
        await asyncio.wait({first, keeper}, return_when=asyncio.FIRST_COMPLETED)
        if keeper.done() and not first.done():
            await keeper
        await first
        yield runner
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper


async def _language_wall(zygote: _Zygote) -> Wall:
    for code in _LANGUAGE_ATTEMPTS:
        ending = await zygote.run(Program(code=code, inputs={}, limits=_ATTEMPT_LIMITS))
        if ending.said is None or ending.said.get("outcome") != "blocked":
            return Wall(name="language", holds=False, detail="tried, and it was not blocked")
    return Wall(
        name="language",
        holds=True,
        detail="private parts of objects, and all modules but the listed ones",
    )


def _said(limits: Limits) -> dict[str, float]:
    return {
        "timeout_seconds": limits.timeout_seconds,
        "cpu_seconds": limits.cpu_seconds,
        "memory_mb": limits.memory_mb,
    }
