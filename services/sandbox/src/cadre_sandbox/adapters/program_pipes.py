"""The two ends of a program in mode python: the request that it reads, and the frames that it writes."""

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias

from cadre_sandbox.adapters.collected import Collected
from cadre_sandbox.domain.executions import Ending, Limits, OnOutput, Program, RunnerLost, Usage
from cadre_sandbox.worker.frames import BadFrame

__all__ = ["Ended", "request_of", "run_through_pipes"]

_READ_BYTES = 256 * 1024
# Who watches a program ends it in time; when even that does not happen, it is they who hang.
_GRACE_SECONDS = 5.0

Ended: TypeAlias = "asyncio.Future[Mapping[str, Any]]"
"""What is said of a program's end by who watches it."""


def request_of(program: Program) -> dict[str, Any]:
    """What the process of a program reads."""
    files = {file.name: b64encode(file.content).decode() for file in program.files}
    return {"code": program.code, "inputs": dict(program.inputs), "files": files}


async def run_through_pipes(
    request: Mapping[str, Any],
    limits: Limits,
    *,
    hand_over: Callable[[list[int]], None],
    ended: Ended,
    kill: Callable[[], None],
    on_output: OnOutput | None,
) -> Ending:
    """Hands the ends of a request over, and collects what is written until its process has done it.

    Kills it when it writes too much or nobody waits for it any more. Raises RunnerLost, and TimeoutError when nobody
    says of its end.
    """
    out, theirs = _pipe()
    try:
        asked = _file_of(request)
        try:
            hand_over([asked, theirs])
        finally:
            os.close(asked)
            os.close(theirs)
        return await _collected(limits, out, ended, kill, on_output)
    except BaseException:
        kill()
        raise
    finally:
        os.close(out)


async def _collected(
    limits: Limits, out: int, ended: Ended, kill: Callable[[], None], on_output: OnOutput | None
) -> Ending:
    collected, killed = Collected(limits.output_bytes, on_output), ""
    try:
        async with asyncio.timeout(limits.timeout_seconds + _GRACE_SECONDS):
            async for data in _chunks(out, ended):
                collected.feed(data)
                if collected.flood and not killed:
                    killed = "output"
                    kill()
            facts = await asyncio.shield(ended)
    except BadFrame:
        kill()
        facts = await asyncio.shield(ended)
        killed = "frames"
    if "why" in facts:
        raise RunnerLost(f"no process could be started: {facts['why']}")
    return _ending(collected, facts, killed)


def _pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    return ours, theirs


def _file_of(request: Mapping[str, Any]) -> int:
    """A file in memory, without a name, holding what the process needs to know."""
    text = json.dumps(request).encode()
    fd = os.memfd_create("request")
    view = memoryview(text)
    while view:
        view = view[os.write(fd, view) :]
    return fd


async def _chunks(fd: int, ended: Ended) -> AsyncIterator[bytes]:
    """What comes through the pipe, until its other end is closed everywhere, or the program has ended."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    ended.add_done_callback(lambda _: readable.set())
    try:
        while True:
            await readable.wait()
            is_over = ended.done()
            if not is_over:
                readable.clear()
            try:
                data = os.read(fd, _READ_BYTES)
            except BlockingIOError:
                if is_over:
                    return
                continue
            if not data:
                return
            yield data
            if is_over:
                # Others get their turn, however much a program wrote.
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
