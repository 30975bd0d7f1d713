"""Runs programs through the zygote process, keeps one alive, and collects what programs write."""

import asyncio
import contextlib
import errno
import json
import os
import platform
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cadre_kit.logs import logger
from cadre_sandbox.adapters.collected import Collected
from cadre_sandbox.domain.executions import (
    Ending,
    Limits,
    OnOutput,
    Program,
    RunnerLost,
    Usage,
    Wall,
)
from cadre_sandbox.worker.frames import BadFrame

__all__ = ["ZygoteRunner", "zygote_runner"]

log = logger()

_START_SECONDS = 20.0
_STOP_SECONDS = 3.0
# The zygote ends a program in time; when even that does not happen, the zygote itself is what hangs.
_GRACE_SECONDS = 5.0
_READ_BYTES = 256 * 1024
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
        return [Wall(name=w["name"], holds=w["holds"], detail=w["detail"]) for w in ready["walls"]]

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        self._ids += 1
        number = self._ids
        ended = self._endings[number] = asyncio.get_running_loop().create_future()
        out, theirs = _pipe()
        try:
            request = _request_file(program)
            try:
                self._ask(number, program.limits, [request, theirs])
            finally:
                os.close(request)
                os.close(theirs)
            collected = Collected(program.limits.output_bytes, on_output)
            return await self._collect(number, program.limits, out, ended, collected)
        except BaseException:
            self.kill(number)
            raise
        finally:
            os.close(out)
            if ended.done():
                self._endings.pop(number, None)

    def _ask(self, number: int, limits: Limits, descriptors: list[int]) -> None:
        message = {
            "op": "run",
            "id": number,
            "timeout_seconds": limits.timeout_seconds,
            "cpu_seconds": limits.cpu_seconds,
            "memory_mb": limits.memory_mb,
        }
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)
        except OSError as exc:
            raise _lost() from exc

    async def _collect(
        self,
        number: int,
        limits: Limits,
        out: int,
        ended: asyncio.Future[Mapping[str, Any]],
        collected: Collected,
    ) -> Ending:
        killed = ""
        try:
            async with asyncio.timeout(limits.timeout_seconds + _GRACE_SECONDS):
                async for data in _chunks(out):
                    collected.feed(data)
                    if collected.flood and not killed:
                        killed = "output"
                        self.kill(number)
                facts = await asyncio.shield(ended)
        except BadFrame:
            self.kill(number)
            facts = await asyncio.shield(ended)
            killed = "frames"
        except TimeoutError as exc:
            self._process.kill()
            raise _lost() from exc
        if "why" in facts:
            raise RunnerLost(f"no process could be started: {facts['why']}")
        return _ending(collected, facts, killed)

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
                waiting.set_exception(_lost())
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
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._started.wait()
        except TimeoutError as exc:
            raise _lost() from exc
        if self._zygote is None:
            raise _lost()
        return await self._zygote.run(program, on_output)

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
            return Wall(name="language", holds=False, detail="tried, and got past it")
    return Wall(
        name="language",
        holds=True,
        detail="private parts of objects, and all modules but the listed ones",
    )


def _lost() -> RunnerLost:
    return RunnerLost(
        "the process that starts programs died",
        resolution="Try again: another one is being started.",
    )


def _pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    return ours, theirs


def _request_file(program: Program) -> int:
    """A file in memory, without a name, holding what the program's process needs to know."""
    text = json.dumps({"code": program.code, "inputs": dict(program.inputs)}).encode()
    fd = os.memfd_create("request")
    view = memoryview(text)
    while view:
        view = view[os.write(fd, view) :]
    return fd


async def _chunks(fd: int) -> AsyncIterator[bytes]:
    """What comes through the pipe, until its other end is closed everywhere."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        while True:
            await readable.wait()
            try:
                data = os.read(fd, _READ_BYTES)
            except OSError as exc:
                if exc.errno != errno.EAGAIN:
                    raise
                readable.clear()
                continue
            if not data:
                return
            yield data
            # Others get their turn, however much a program writes.
            await asyncio.sleep(0)
    finally:
        loop.remove_reader(fd)


def _ending(collected: Collected, facts: Mapping[str, Any], killed: str) -> Ending:
    return collected.ending(
        said={} if killed == "frames" else collected.said(),
        killed=facts["killed"] if facts["killed"] != "asked" else killed,
        status=facts["status"],
        usage=Usage(
            wall_ms=facts["wall_ms"],
            cpu_ms=facts["cpu_ms"],
            peak_memory_bytes=facts["peak_memory_bytes"],
        ),
    )
