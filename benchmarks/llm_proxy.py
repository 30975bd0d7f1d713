"""The llm-proxy over gRPC, with its ledger and keys, against other ways to the same provider, all in one run.

The others: straight over HTTP, through litellm in process, through LiteLLM's own proxy. One call at a time and 64 at
once, whole replies and streams. LiteLLM's proxy takes part when `LITELLM_PROXY` names its program, bin/litellm of an
environment with `litellm[proxy]`, and both are measured at 64 once more with a core of their own, the callers and the
provider on another: on two cores all of them get in each other's way. The llm-proxy's memory is looked at over 20,000
calls, or as many as the number after the benchmark's name says: what it has after the first 10,000 against what it has
at the end.
"""

import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

from cadre_kit.serving import run_in_loop

ALONE = 200
AT_ONCE = 64
TOGETHER = 1200
SLOW_TOGETHER = 320
MEMORY_CALLS = 20_000
SETTLING_CALLS = 10_000
TOKEN = "a-token-of-the-benchmark"
MODEL = "gpt-4.1-mini"

# One call: returns the seconds until its first text.
Ask = Callable[[int], Awaitable[float]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one way took: milliseconds of a call alone (median), calls a second and the 99th percentile at 64, and the
    milliseconds until the first text of a stream alone (median)."""

    alone_ms: float
    rate: float
    p99_ms: float
    first_ms: float
    streams: float


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL} | {
        "choices": [choice]
    }


_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_MESSAGE = {"role": "assistant", "content": "hello"}
_WHOLE = json.dumps(
    {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "usage": _USAGE}
    | {"choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}]}
).encode()
_STREAM = b"".join(
    b"data: " + json.dumps(each).encode() + b"\n\n"
    for each in (
        *(_chunk({"content": f"word{n} "}) for n in range(5)),
        _chunk({}, "stop"),
        {**_chunk({}), "choices": [], "usage": _USAGE},
    )
) + (b"data: [DONE]\n\n")


async def _provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            lengths = [int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length")]
            body = await reader.readexactly(sum(lengths))
            streams = json.loads(body or b"{}").get("stream")
            kind, said = (
                (b"text/event-stream", _STREAM) if streams else (b"application/json", _WHOLE)
            )
            writer.write(head % (kind, len(said)) + said)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _serve(sender: "Connection[str, object]") -> None:
    async def serve() -> None:
        server = await asyncio.start_server(_provide, "127.0.0.1", 0, backlog=1024)
        host, port = server.sockets[0].getsockname()
        sender.send(f"http://{host}:{port}/v1")
        await server.serve_forever()

    run_in_loop(serve())


async def _measure(whole: Ask, stream: Ask, *, together: int) -> Figures:
    for number in range(20):
        await whole(-number)
        await stream(-100 - number)
    alone = [await _timed(whole, number) for number in range(ALONE)]
    first = [await stream(10_000 + number) for number in range(ALONE)]
    rate, taken = await _at_once(whole, 20_000, together)
    streams, _ = await _at_once(stream, 40_000, together)
    return Figures(
        alone_ms=statistics.median(alone) * 1000,
        rate=rate,
        p99_ms=statistics.quantiles(taken, n=100)[98] * 1000,
        first_ms=statistics.median(first) * 1000,
        streams=streams,
    )


async def _timed(ask: Ask, number: int) -> float:
    began = perf_counter()
    await ask(number)
    return perf_counter() - began


async def _at_once(ask: Ask, start: int, count: int) -> tuple[float, list[float]]:
    left, taken = iter(range(start, start + count)), []

    async def worker() -> None:
        for number in left:
            taken.append(await _timed(ask, number))

    began = perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return count / (perf_counter() - began), taken


def _body(**more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **more}


async def _over_http(base: str, *, together: int = TOGETHER) -> Figures:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    headers = {"authorization": "Bearer key"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def whole(_number: int) -> float:
            async with session.post(f"{base}/chat/completions", json=_body()) as response:
                json.loads(await response.read())
                assert response.status == 200
                return 0.0

        async def stream(_number: int) -> float:
            began, first = perf_counter(), 0.0
            body = _body(stream=True, stream_options={"include_usage": True})
            async with session.post(f"{base}/chat/completions", json=body) as response:
                async for line in response.content:
                    first = first or (perf_counter() - began if b"word0" in line else 0.0)
            assert first
            return first

        return await _measure(whole, stream, together=together)


async def _in_process(base: str) -> Figures:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    reached = {"model": f"openai/{MODEL}", "api_base": base, "api_key": "key"}
    messages = [{"role": "user", "content": "hi"}]

    async def whole(_number: int) -> float:
        await litellm.acompletion(messages=messages, **reached)
        return 0.0

    async def stream(_number: int) -> float:
        began, first = perf_counter(), 0.0
        async for chunk in await litellm.acompletion(messages=messages, stream=True, **reached):
            if chunk.choices and chunk.choices[0].delta.content and not first:
                first = perf_counter() - began
        return first

    return await _measure(whole, stream, together=SLOW_TOGETHER)


async def _over_grpc(
    base: str, *, memory_calls: int = 0, core: int | None = None
) -> tuple[Figures, str]:
    """The figures, and how memory grew if it was to be looked at. `core` is what the llm-proxy has to itself."""
    from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
    from cadre_kit.channels import call, connect
    from cadre_kit.channels import stream as streamed
    from cadre_kit.credentials import Credentials

    credentials = Credentials(token=TOKEN)
    request = llm_pb2.CompleteRequest(
        options=llm_pb2.ModelOptions(provider="openai", model=MODEL),
        messages=[llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")],
    )
    async with _llm_proxy(base, core) as (address, pid), connect(address, credentials) as channel:
        stub = llm_pb2_grpc.LlmServiceStub(channel)
        common: Any = {"service": "llm-proxy", "timeout_seconds": 60.0}

        async def whole(_number: int) -> float:
            await call(stub.Complete, request, **common)
            return 0.0

        async def stream(_number: int) -> float:
            began, first = perf_counter(), 0.0
            asked = llm_pb2.StreamCompleteRequest(request=request)
            async for _part in streamed(stub.StreamComplete, asked, **common):
                first = first or perf_counter() - began
            return first

        figures = await _measure(whole, stream, together=TOGETHER)
        return figures, await _memory(whole, pid, memory_calls) if memory_calls else ""


async def _memory(ask: Ask, pid: int, calls: int) -> str:
    """How much memory grew over `calls` after the first of them."""
    settling = min(SETTLING_CALLS, calls // 2)
    await _at_once(ask, 100_000, settling)
    before = _resident(pid)
    await _at_once(ask, 1_000_000, calls - settling)
    after = _resident(pid)
    return (
        f"memory after {settling} calls {before // 1024} MiB, after {calls} {after // 1024} MiB: "
        f"{after / before - 1:+.1%}   aim: under +5 %"
    )


def _resident(pid: int) -> int:
    """KiB of memory that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@asynccontextmanager
async def _llm_proxy(base: str, core: int | None) -> AsyncIterator[tuple[str, int]]:
    from cadre_kit.health import is_serving

    port = _free_port()
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "CADRE_HOME": home,
            "CADRE_LLM_PROXY_PORT": str(port),
            "CADRE_TRACES_ENDPOINT": "",
            "CADRE_LOG_LEVEL": "error",
            "CADRE_SERVICE_TOKEN": TOKEN,
            "OPENAI_API_KEY": "key",
            "OPENAI_API_BASE": base,
        }
        process = await asyncio.create_subprocess_exec(
            *_on(core), sys.executable, "-m", "cadre_llm_proxy", env=environment
        )
        try:
            async with asyncio.timeout(60):
                while not await is_serving(f"127.0.0.1:{port}"):  # noqa: ASYNC110 - seen from outside
                    await asyncio.sleep(0.05)
            yield f"127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            await process.wait()


def _on(core: int | None) -> tuple[str, ...]:
    """What a command begins with so that it runs on that core only."""
    return () if core is None else ("taskset", "--cpu-list", str(core))


async def _over_litellms_proxy(base: str, program: str, core: int | None = None) -> Figures:
    port = _free_port()
    reached = {"model": f"openai/{MODEL}", "api_base": base, "api_key": "key"}
    config = {"model_list": [{"model_name": MODEL, "litellm_params": reached}]}
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "config.yaml"
        path.write_text(json.dumps(config))
        arguments = ["--config", str(path), "--port", str(port), "--host", "127.0.0.1"]
        process = await asyncio.create_subprocess_exec(
            *_on(core),
            program,
            *arguments,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={
                **os.environ,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_LOG": "ERROR",
                # It listens on loopback only.
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            },
        )
        try:
            await _until_listening(port)
            return await _over_http(f"http://127.0.0.1:{port}/v1", together=SLOW_TOGETHER)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
            else:
                writer.close()
                return


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _row(name: str, figures: Figures, direct: Figures) -> str:
    return (
        f"{name:22}{figures.alone_ms:9.2f}{figures.alone_ms - direct.alone_ms:9.2f}{figures.rate:9.0f}"
        f"{figures.p99_ms:9.1f}{figures.first_ms:11.2f}{figures.streams:11.0f}"
    )


def _print_apart(base: str, program: str, provider: int) -> None:
    """Prints both proxies at 64, each on a core that it shares with nobody."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("a core each: this machine has one only")
        return
    own, rest = cores[0], set(cores[1:])
    for process in (os.getpid(), provider):
        os.sched_setaffinity(process, rest)
    ours, _ = run_in_loop(_over_grpc(base, core=own))
    theirs = run_in_loop(_over_litellms_proxy(base, program, own))
    print(
        f"with a core each: {ours.rate:.0f} and {theirs.rate:.0f} calls a second, "
        f"{ours.rate / theirs.rate:.1f}; p99 {ours.p99_ms:.1f} and {theirs.p99_ms:.1f} ms, "
        f"{ours.p99_ms / theirs.p99_ms:.2f}"
    )


def _print_aims(direct: Figures, ours: Figures, litellm: Figures, theirs: Figures | None) -> None:
    added = (ours.alone_ms - direct.alone_ms) / (litellm.alone_ms - direct.alone_ms)
    print(f"added latency against litellm's in process  {added:7.2f}   aim: 0.5 or less")
    late = ours.first_ms - direct.first_ms
    print(f"first text after the direct call's, ms      {late:7.2f}   aim: 2 or less")
    print(f"calls a second against litellm in process   {ours.rate / litellm.rate:7.1f}")
    if theirs is not None:
        print(
            f"calls a second against LiteLLM's proxy      {ours.rate / theirs.rate:7.1f}   aim: 10 or more"
        )
        print(
            f"p99 at {AT_ONCE} against LiteLLM's proxy           {ours.p99_ms / theirs.p99_ms:7.2f}   aim: 0.1 or less"
        )
    else:
        print("LiteLLM's proxy took no part: LITELLM_PROXY names no program")


def main(memory_calls: int = MEMORY_CALLS) -> None:
    """Prints all of them, and their ratios."""
    receiver, sender = multiprocessing.Pipe()
    provider = multiprocessing.Process(target=_serve, args=(sender,), daemon=True)
    provider.start()
    base = receiver.recv()
    direct = run_in_loop(_over_http(base))
    ours, memory = run_in_loop(_over_grpc(base, memory_calls=memory_calls))
    litellm = run_in_loop(_in_process(base))
    program = os.environ.get("LITELLM_PROXY", "")
    theirs = run_in_loop(_over_litellms_proxy(base, program)) if program else None
    print(
        f"{'':22}{'alone ms':>9}{'added':>9}{f'{AT_ONCE}/s':>9}{'p99 ms':>9}{'first ms':>11}{'streams/s':>11}"
    )
    print(_row("direct HTTP", direct, direct))
    print(_row("llm-proxy over gRPC", ours, direct))
    print(_row("litellm in process", litellm, direct))
    if theirs is not None:
        print(_row("LiteLLM's proxy", theirs, direct))
    _print_aims(direct, ours, litellm, theirs)
    print(memory)
    if program:
        _print_apart(base, program, provider.pid or 0)
    provider.terminate()
