"""Sessions in mode docker: a container of its own, in which one process runs one program after the other."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from cadre_sandbox.adapters.collected import Collected
from cadre_sandbox.adapters.container_endings import ending_of
from cadre_sandbox.adapters.guest_streams import (
    INTERRUPT,
    ReadyContainer,
    encoded,
    program_bytes,
    request_bytes,
)
from cadre_sandbox.domain.executions import (
    Ending,
    File,
    FileEntry,
    FileNotFound,
    FileRefused,
    OnOutput,
    Program,
    RunnerLost,
)
from cadre_sandbox.worker.frames import BadFrame

__all__ = ["ContainerKernel"]

# The container ends a program in time; when even that does not happen, it is the container that hangs.
_GRACE_SECONDS = 10.0
_FILE_SECONDS = 10.0
_LIST_BYTES = 1024 * 1024


class ContainerKernel:
    """Holds a session's process and folder. One call at a time. `discard` removes the container."""

    def __init__(self, container: ReadyContainer, discard: Callable[[], None]) -> None:
        self.ended = asyncio.Event()
        self._container = container
        self._discard = discard
        self._exchange: asyncio.Task[Collected] | None = None

    async def begin(self) -> None:
        """Says that the container is a session's. Raises RunnerLost."""
        try:
            await self._container.send(request_bytes("open"))
        except BadFrame as exc:
            raise self._lost() from exc

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        """Runs a program. One that is interrupted leaves what it made; one that must be killed only its files."""
        began = time.monotonic()
        collected = await self._ask(
            program_bytes(program),
            limit=program.limits.output_bytes,
            seconds=program.limits.timeout_seconds,
            on_output=on_output,
        )
        facts = collected.said() or {}
        if "wrong" in facts:
            raise FileRefused(f"the files could not be written: {facts['wrong']}")
        killed = "output" if collected.flood else "time" if facts.get("killed") == "time" else ""
        ending = ending_of(collected, facts, killed=killed, began=began)
        return replace(ending, session_reset=facts.get("reset") is True)

    async def write(self, file: File) -> None:
        """Puts a file into the folder."""
        facts = (await self._ask(request_bytes("write", files=encoded([file])))).said() or {}
        if "wrong" in facts:
            raise FileRefused(
                f"the file {file.name!r} could not be written: {str(facts['wrong'])[:100]}",
                resolution="Choose another name; the folder holds 64 MiB.",
            )

    async def read(self, name: str) -> File:
        """A regular file of the folder."""
        collected = await self._ask(request_bytes("read", name=name))
        try:
            files = collected.files()
        except BadFrame as exc:
            raise self._lost() from exc
        if not files:
            raise FileNotFound(
                f"there is no file {name!r} that can be read: a regular file of at most 10 MiB",
                resolution="ListFiles lists the files that there are.",
            )
        return File(name=name, content=files[0].content)

    async def entries(self) -> Sequence[FileEntry]:
        """The regular files of the folder."""
        collected = await self._ask(request_bytes("list"), limit=_LIST_BYTES)
        try:
            found = json.loads(collected.result or b"[]")
            return [FileEntry(name=str(name), size_bytes=int(size)) for name, size in found]
        except (TypeError, ValueError) as exc:
            raise self._lost() from exc

    async def close(self) -> None:
        """Removes the container, with all that is in it."""
        if not self.ended.is_set():
            self.ended.set()
            self._discard()

    async def _ask(
        self,
        request: bytes,
        *,
        limit: int = 0,
        seconds: float = _FILE_SECONDS,
        on_output: OnOutput | None = None,
    ) -> Collected:
        """What the container answers. Who is cancelled meanwhile has the program interrupted."""
        if self._exchange is not None:
            # Given up while its program was being interrupted.
            await asyncio.wait([self._exchange])
        if self.ended.is_set():
            raise _gone()
        collected = Collected(limit, on_output)
        self._exchange = asyncio.create_task(self._exchanged(request, collected, seconds))
        try:
            return await asyncio.shield(self._exchange)
        except asyncio.CancelledError:
            collected.deaf = True
            await self._interrupt()
            raise

    async def _exchanged(self, request: bytes, collected: Collected, seconds: float) -> Collected:
        is_interrupted = False
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                await self._container.send(request)
                async for data in self._container.received():
                    collected.feed(data)
                    if collected.has_ended:
                        return collected
                    if collected.flood and not is_interrupted:
                        is_interrupted = True
                        await self._interrupt()
        except (BadFrame, TimeoutError) as exc:
            raise self._lost() from exc
        raise self._lost()

    async def _interrupt(self) -> None:
        with contextlib.suppress(BadFrame):
            await self._container.send(INTERRUPT)

    def _lost(self) -> RunnerLost:
        if not self.ended.is_set():
            self.ended.set()
            self._discard()
        return _gone()


def _gone() -> RunnerLost:
    return RunnerLost("the session's container has ended", resolution="Open another session.")
