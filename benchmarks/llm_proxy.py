"""The llm-proxy over gRPC, with its ledger and keys, against litellm called in process; the same loopback provider."""

import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

CALLS = 300
AT_ONCE = 8
_REPLY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4.1-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
).encode()


async def _provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            length = next(int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length"))
            await reader.readexactly(length)
            writer.write(head % len(_REPLY) + _REPLY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _start_provider() -> str:
    started = threading.Event()
    address: list[str] = []

    async def serve() -> None:
        server = await asyncio.start_server(_provider, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        address.append(f"http://{host}:{port}/v1")
        started.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    started.wait(10)
    return address[0]


async def _measure(ask: Callable[[int], Awaitable[object]]) -> tuple[float, float]:
    """Milliseconds of one call alone, and calls per second with several at once."""
    for number in range(20):
        await ask(-number)
    began = perf_counter()
    for number in range(CALLS):
        await ask(number)
    alone_ms = (perf_counter() - began) / CALLS * 1000
    left = iter(range(CALLS, 2 * CALLS))

    async def worker() -> None:
        for number in left:
            await ask(number)

    began = perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return alone_ms, CALLS / (perf_counter() - began)


async def _in_process(base: str) -> tuple[float, float]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True

    async def ask(_number: int) -> object:
        return await litellm.acompletion(
            model="openai/gpt-4.1-mini",
            messages=[{"role": "user", "content": "hi"}],
            api_base=base,
            api_key="key",
        )

    return await _measure(ask)


async def _over_grpc(base: str, home: Path) -> tuple[float, float]:
    from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
    from cadre_kit.channels import call, connect

    port = _free_port()
    environment = {
        **os.environ,
        "CADRE_HOME": str(home),
        "CADRE_LLM_PROXY_PORT": str(port),
        "CADRE_TRACES_ENDPOINT": "",
        "CADRE_LOG_LEVEL": "error",
        "OPENAI_API_KEY": "key",
        "OPENAI_API_BASE": base,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cadre_llm_proxy", env=environment
    )
    request = llm_pb2.CompleteRequest(
        options=llm_pb2.ModelOptions(provider="openai", model="gpt-4.1-mini"),
        messages=[llm_pb2.Message(role=llm_pb2.ROLE_USER, content="hi")],
    )
    try:
        await _until_served(port)
        async with connect(f"127.0.0.1:{port}") as channel:
            stub = llm_pb2_grpc.LlmServiceStub(channel)

            async def ask(number: int) -> object:
                return await call(
                    stub.Complete,
                    request,
                    service="llm-proxy",
                    timeout_seconds=60.0,
                    idempotency_key=f"bench/{number}",
                )

            return await _measure(ask)
    finally:
        process.terminate()
        await process.wait()


async def _until_served(port: int) -> None:
    from cadre_kit.health import is_serving

    async with asyncio.timeout(60):
        while not await is_serving(f"127.0.0.1:{port}"):  # noqa: ASYNC110 - seen from outside
            await asyncio.sleep(0.05)


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main() -> None:
    """Prints both, and their ratios."""
    base = _start_provider()
    direct_ms, direct_rate = asyncio.run(_in_process(base))
    with tempfile.TemporaryDirectory() as home:
        proxied_ms, proxied_rate = asyncio.run(_over_grpc(base, Path(home)))
    print(f"llm-proxy over gRPC against litellm in process ({CALLS} calls, {AT_ONCE} at once)")
    print(f"{'':24}{'litellm':>10}{'llm-proxy':>11}{'ratio':>8}   aim")
    print(
        f"{'one call alone, ms':24}{direct_ms:10.2f}{proxied_ms:11.2f}"
        f"{proxied_ms / direct_ms:8.2f}   1.5 or less"
    )
    print(
        f"{'calls per second':24}{direct_rate:10.0f}{proxied_rate:11.0f}"
        f"{direct_rate / proxied_rate:8.2f}   1.5 or less"
    )


if __name__ == "__main__":
    main()
