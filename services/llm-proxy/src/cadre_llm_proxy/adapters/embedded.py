"""The embedded model: its process is started at the first call, and again after it died."""

import asyncio
import json
import os
import secrets
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from pydantic import SecretStr

from cadre_kit.logs import logger
from cadre_llm_proxy.adapters.embedded_process import Start
from cadre_llm_proxy.domain.facts import EmbeddedBusy, EmbeddedFailed

__all__ = ["EmbeddedModel", "Endpoint"]

log = logger()

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_KEPT_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the embedded model answers in OpenAI's words."""

    api_base: str
    api_key: SecretStr


@dataclass(frozen=True, kw_only=True)
class _Running:
    process: Process
    endpoint: Endpoint
    listener: asyncio.Task[None]
    said: deque[str] = field(repr=False)


class EmbeddedModel:
    """Runs the model in a process of its own; at most `slots` calls at once, and `queue` more wait.

    `threads` 0 means half of the cores.
    """

    def __init__(self, *, threads: int, slots: int, queue: int, context_tokens: int) -> None:
        # llama.cpp's threads spin at barriers: as many as cores is a fifth faster on an idle machine, and three times
        # slower on a busy one.
        self._threads = threads or max(1, (os.cpu_count() or 1) // 2)
        self._slots = slots
        self._places = slots + queue
        self._context_tokens = context_tokens
        self._free = asyncio.Semaphore(slots)
        self._taken = 0
        self._starting = asyncio.Lock()
        self._running: _Running | None = None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Endpoint]:
        """A place at the model, for one call. Raises EmbeddedBusy, and EmbeddedFailed when it does not start."""
        if self._taken >= self._places:
            raise EmbeddedBusy(
                f"{self._taken} calls wait for the embedded model already",
                resolution="Try again later, allow more with CADRE_EMBEDDED_QUEUE, or use a provider with a key.",
                metadata={"calls": str(self._taken)},
            )
        self._taken += 1
        try:
            async with self._free:
                yield await self._endpoint()
        finally:
            self._taken -= 1

    async def close(self) -> None:
        """Ends the process, if there is one."""
        if self._running is not None:
            running, self._running = self._running, None
            await _end(running)

    async def _endpoint(self) -> Endpoint:
        async with self._starting:
            if self._running is not None and self._running.process.returncode is None:
                return self._running.endpoint
            if self._running is not None:
                await self._bury(self._running)
            self._running = await self._start()
            return self._running.endpoint

    async def _bury(self, dead: _Running) -> None:
        log.error(
            "embedded_model_died", exit_status=dead.process.returncode, last_lines=list(dead.said)
        )
        self._running = None
        await _end(dead)

    async def _start(self) -> _Running:
        began = monotonic()
        log.info("embedded_model_loading", threads=self._threads, slots=self._slots)
        key = SecretStr(secrets.token_urlsafe(32))
        start = Start(
            api_key=key.get_secret_value(),
            threads=self._threads,
            slots=self._slots,
            context_tokens=self._context_tokens,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cadre_llm_proxy.adapters.embedded_process",
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
        )
        said: deque[str] = deque(maxlen=_KEPT_LINES)
        listener = asyncio.create_task(_listen(process, said))
        try:
            async with asyncio.timeout(_START_SECONDS):
                address = await _introduce(process, start)
        except (TimeoutError, EmbeddedFailed) as exc:
            reason = str(exc) or f"it was not ready after {_START_SECONDS:.0f} s"
            await _kill(process, listener)
            log.error("embedded_model_failed", reason=reason, last_lines=list(said))
            raise EmbeddedFailed(
                f"the embedded model does not start: {reason}",
                resolution="Look for embedded_model_failed in the log of the llm-proxy under CADRE_HOME/logs.",
            ) from exc
        except asyncio.CancelledError:
            await _kill(process, listener)
            raise
        log.info("embedded_model_ready", seconds=round(monotonic() - began, 2), pid=process.pid)
        endpoint = Endpoint(api_base=f"{address}/v1", api_key=key)
        return _Running(process=process, endpoint=endpoint, listener=listener, said=said)


async def _introduce(process: Process, start: Start) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(start).encode() + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readline()
    except (BrokenPipeError, ConnectionResetError, RuntimeError) as exc:
        # uvloop says with a RuntimeError that a pipe is closed.
        raise EmbeddedFailed("its process ended at once") from exc
    if not line:
        raise EmbeddedFailed(f"its process ended with status {await process.wait()}")
    answer = json.loads(line)
    if "error" in answer:
        raise EmbeddedFailed(str(answer["error"]))
    return str(answer["address"])


async def _listen(process: Process, said: deque[str]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        said.append(line.decode(errors="replace").rstrip()[:500])


async def _end(running: _Running) -> None:
    assert running.process.stdin is not None
    running.process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await running.process.wait()
    except TimeoutError:
        log.warning("embedded_model_killed", pid=running.process.pid)
    await _kill(running.process, running.listener)


async def _kill(process: Process, listener: asyncio.Task[None]) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
    await listener
