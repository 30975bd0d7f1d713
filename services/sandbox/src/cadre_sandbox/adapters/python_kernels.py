"""Sessions in mode python, from the service's side: talks with the keeper of one (`worker/keepers.py`)."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from cadre_sandbox.adapters.program_pipes import Ended, request_of, run_through_pipes
from cadre_sandbox.domain.executions import (
    Ending,
    File,
    FileEntry,
    FileNotFound,
    FileRefused,
    Limits,
    OnOutput,
    Program,
    RunnerLost,
)

__all__ = ["PythonKernel", "worker_lost"]

_MESSAGE_BYTES = 4096
# For what is no program: as good as none.
_OF_FILES = Limits(timeout_seconds=10, cpu_seconds=10, memory_mb=64, output_bytes=1024 * 1024)


def worker_lost() -> RunnerLost:
    """What there is to say when nobody is at the other end any more."""
    return RunnerLost(
        "the process that starts programs died",
        resolution="Try again: another one is being started.",
    )


class PythonKernel:
    """Holds a session's variables. One call at a time."""

    def __init__(self, keeper: socket.socket) -> None:
        self.ended = asyncio.Event()
        self._keeper = keeper
        self._call: Ended | None = None
        asyncio.get_running_loop().add_reader(keeper, self._listen)

    async def run(self, program: Program, on_output: OnOutput | None = None) -> Ending:
        """Runs a program on the variables and files; one that is killed leaves them as they were. Raises RunnerLost."""
        return await self._serve(request_of(program), program.limits, on_output)

    async def _serve(
        self, request: Mapping[str, Any], limits: Limits, on_output: OnOutput | None = None
    ) -> Ending:
        # The one before may have been given up while it was being killed.
        await self._settled()
        call = self._call = asyncio.get_running_loop().create_future()
        try:
            return await run_through_pipes(
                request,
                limits,
                hand_over=lambda ends: self._ask(limits, ends),
                ended=call,
                kill=self._kill,
                on_output=on_output,
            )
        except TimeoutError as exc:
            await self.close()
            raise worker_lost() from exc

    async def _settled(self) -> None:
        if self._call is not None:
            with contextlib.suppress(RunnerLost):
                await asyncio.shield(self._call)

    def _ask(self, limits: Limits, ends: list[int]) -> None:
        message = {
            "op": "run",
            "timeout_seconds": limits.timeout_seconds,
            "cpu_seconds": limits.cpu_seconds,
        }
        try:
            socket.send_fds(self._keeper, [json.dumps(message).encode()], ends)
        except OSError as exc:
            self._lose()
            raise worker_lost() from exc

    def _kill(self) -> None:
        if self._call is not None and not self._call.done():
            with contextlib.suppress(OSError):
                self._keeper.send(b'{"op": "kill"}')

    def _listen(self) -> None:
        try:
            data = self._keeper.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
        elif self._call is not None and not self._call.done():
            facts: Mapping[str, Any] = json.loads(data)
            self._call.set_result(facts)

    def _lose(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        asyncio.get_running_loop().remove_reader(self._keeper)
        self._keeper.close()
        if self._call is not None and not self._call.done():
            self._call.set_exception(worker_lost())
            # Perhaps nobody waits for it.
            self._call.exception()

    async def close(self) -> None:
        """Ends the session's processes: their keeper sees that nobody is at the other end."""
        self._lose()

    async def write(self, file: File) -> None:
        """Puts a file into the session's folder. Raises FileRefused when the session's memory has no room for it."""
        ending = await self.run(Program(code="", inputs={}, limits=_OF_FILES, files=[file]))
        if ending.said != {"outcome": "succeeded"}:
            raise FileRefused(
                f"the file {file.name!r} does not fit into the session's memory",
                resolution="Open the session with more memory_mb.",
            )

    async def read(self, name: str) -> File:
        """A file of the session's folder. Raises FileNotFound, and FileRefused for one that is too large."""
        ending = await self._serve({"read": name}, _OF_FILES)
        if ending.files_left_out:
            raise FileRefused(f"the file {name!r} is too large to be read")
        if not ending.files:
            raise FileNotFound(
                f"the session has no file {name!r}",
                resolution="ListFiles lists the files that there are.",
            )
        return ending.files[0]

    async def entries(self) -> Sequence[FileEntry]:
        """The files of the session's folder, by name; the first thousand."""
        ending = await self._serve({"list": True}, _OF_FILES)
        found = json.loads(ending.result or b"[]")
        return [FileEntry(name=name, size_bytes=size) for name, size in found]
