"""One process of a program: started in a session of its own, logged, waited for, and stopped with its family."""

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import psutil

from cadre_cli.supervisor.logs import ProgramLog
from cadre_cli.supervisor.processes import ProcessMark, family, mark_of
from cadre_cli.supervisor.programs import Program

__all__ = ["Child", "Ending"]

_CHUNK_BYTES = 65536
_LEFT_BEHIND_SECONDS = 1.0
_GONE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a process ended: its exit status, negative for a signal's number, and the reason that its log gives."""

    status: int
    reason: str = ""

    def __str__(self) -> str:
        return f"{_in_words(self.status)}: {self.reason}" if self.reason else _in_words(self.status)


class Child:
    """A running process of a program."""

    def __init__(
        self, process: asyncio.subprocess.Process, mark: ProcessMark, log: ProgramLog, output: int
    ) -> None:
        self.mark = mark
        self._process = process
        self._log = log
        self._output = output
        asyncio.get_running_loop().add_reader(output, self._read)

    @classmethod
    async def start(cls, program: Program, log: ProgramLog) -> "Child":
        """Starts the program. Raises OSError when the system cannot."""
        log.begin()
        # A pipe of our own: waiting for a process of asyncio's would also wait for grandchildren that hold the pipe.
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=dict(program.environment) or None,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                start_new_session=True,
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        mark = mark_of(process.pid) or ProcessMark(pid=process.pid, started=time.time())
        _be_nice(process.pid, program.niceness)
        return cls(process, mark, log, reading)

    async def wait(self) -> Ending:
        """Waits until the process ends by itself."""
        status = await self._process.wait()
        self._read()
        return Ending(status=status, reason=self._log.reason())

    async def stop(self, *, grace_seconds: float, hurry: asyncio.Event) -> None:
        """Asks it to end, kills what is left of its family after the grace or when `hurry` is set."""
        if self._process.returncode is None:
            self._process.terminate()
            await _first_of(self._process.wait(), hurry.wait(), limit_seconds=grace_seconds)
        await self._sweep(hurry)
        await _first_of(self._process.wait(), limit_seconds=_GONE_SECONDS)
        self._close()

    async def _sweep(self, hurry: asyncio.Event) -> None:
        number = signal.SIGKILL if self._process.returncode is None else signal.SIGTERM
        asked = time.monotonic()
        while left := family(self.mark):
            waited = time.monotonic() - asked
            if hurry.is_set() or waited > _LEFT_BEHIND_SECONDS:
                number = signal.SIGKILL
            if waited > _LEFT_BEHIND_SECONDS + _GONE_SECONDS:
                return
            for process in left:
                _send(process, number)
            await asyncio.sleep(0.02)

    def _read(self) -> None:
        try:
            while data := os.read(self._output, _CHUNK_BYTES):
                self._log.write(data)
        except BlockingIOError:
            return
        asyncio.get_running_loop().remove_reader(self._output)

    def _close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._output)
        os.close(self._output)


async def _first_of(*waits: Coroutine[Any, Any, object], limit_seconds: float) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=limit_seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _be_nice(pid: int, niceness: int) -> None:
    if not niceness:
        return
    try:
        psutil.Process(pid).nice(niceness)
    except psutil.Error:
        return


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


def _in_words(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL":
        return "was killed by SIGKILL (by hand, or by the system because memory ran out)"
    return f"was killed by {name}"
