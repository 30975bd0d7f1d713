"""What accepting a webhook costs over an empty FastAPI route, at 200 deliveries a second; and 500 watchers of one run.

The aim is less than 10 ms more at the 99th percentile, with the runs being started meanwhile, and each watcher getting
every event once. Both servers are processes; the requests come from this one, in open loop: late ones count as late.
"""

import asyncio
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from tests.fakes.deliveries import Provider
from tests.platform import Platform, eventually, platform
from tests.ports import free_port

from cadre_client import Client

SECONDS = 15
PER_SECOND = 200
WARM_UP = 100
CONNECTIONS = 50
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
WATCHERS = 500
SECRET = "a-secret-of-this-benchmark-only"
EMPTY = textwrap.dedent(
    """
    import sys, uvicorn
    from fastapi import FastAPI
    app = FastAPI()
    @app.post("/empty", status_code=202)
    async def empty() -> dict[str, str]:
        return {}
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
    """
)
WORKFLOW = """
flow: {name: accepted}
state: {fields: {number: {type: int, default: 0}, verdict: {type: dict, default: {}}}}
nodes: [{id: review, type: approval, message: "Go on?", outputs: [verdict]}]
triggers: [{webhook: {secret: HOOK_SECRET, input: {number: "{body.number}"}}}]
"""


def main() -> None:
    """Prints both tables."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"HOOK_SECRET": SECRET, "CADRE_GATEWAY_CONCURRENT_REQUESTS": "2000"}
        with platform(Path(folder), "executor", "gateway", **settings) as running:
            client = running.client()
            client.apply(WORKFLOW)
            _accepting(running)
            _watching(running, client)


def _accepting(running: Platform) -> None:
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", EMPTY, str(port)]) as empty:
        try:
            url = f"http://127.0.0.1:{port}/empty"
            eventually(lambda: _answers(url))
            baseline = asyncio.run(_latencies(Provider(url=url, secret=SECRET)))
        finally:
            empty.terminate()
    hook = Provider(url=f"{running.gateway_url}/hooks/accepted", secret=SECRET)
    measured = asyncio.run(_latencies(hook))
    print(f"{PER_SECOND} deliveries a second for {SECONDS} s      p50        p99")
    for name, values in (("an empty FastAPI route", baseline), ("the gateway's inbox", measured)):
        print(f"  {name:<32}{_ms(values, 0.5)} {_ms(values, 0.99)}")
    added = _quantile(measured, 0.99) - _quantile(baseline, 0.99)
    print(f"  added at p99: {added * 1000:.1f} ms (aim: less than 10)")


def _watching(running: Platform, client: Client) -> None:
    run = client.start_run(workflow="accepted")
    eventually(lambda: client.run(run.id).status == "waiting")
    started = time.perf_counter()
    sequences = asyncio.run(_watched(running, client, run.id))
    seconds = time.perf_counter() - started
    last = sequences[0][-1]
    whole = sum(found == list(range(1, last + 1)) for found in sequences)
    print(
        f"{WATCHERS} watchers of one run: {whole} got each of its {last} events once, in {seconds:.1f} s"
    )


async def _watched(running: Platform, client: Client, run_id: str) -> Sequence[list[int]]:
    headers = {"Authorization": f"Bearer {running.api_key}"}
    limits = httpx.Limits(max_connections=WATCHERS)
    async with httpx.AsyncClient(
        base_url=running.gateway_url, headers=headers, timeout=60, verify=False, limits=limits
    ) as http:
        watching = [asyncio.create_task(_sequences(http, run_id)) for _ in range(WATCHERS)]
        await asyncio.sleep(2)
        await asyncio.to_thread(client.answer, run_id, "approve")
        return await asyncio.gather(*watching)


async def _sequences(http: httpx.AsyncClient, run_id: str) -> list[int]:
    found = []
    async with http.stream("GET", f"/api/v1/runs/{run_id}/events") as response:
        async for line in response.aiter_lines():
            if line.startswith("id: "):
                found.append(int(line[4:]))
    return found


async def _latencies(provider: Provider) -> list[float]:
    """From when each delivery was due to the end of its answer. All are signed before, and sent over plain sockets: a
    client library takes longer for a request than the gateway does."""
    wanted = [_request(provider, f"msg_{number}") for number in range(SECONDS * PER_SECOND)]
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    where = urlsplit(provider.url)
    for _ in range(CONNECTIONS):
        connections.put_nowait(await asyncio.open_connection(where.hostname, where.port))
    for number in range(WARM_UP):
        await _one(connections, _request(provider, f"warm_{number}"), time.perf_counter())
    begun = time.perf_counter()
    sending = []
    for number, request in enumerate(wanted):
        due = begun + number / PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sending.append(asyncio.create_task(_one(connections, request, due)))
    found = sorted(await asyncio.gather(*sending))
    while not connections.empty():
        connections.get_nowait()[1].close()
    return found


def _request(provider: Provider, key: str) -> bytes:
    where, body = urlsplit(provider.url), b'{"number": 1}'
    headers = {
        "host": where.netloc,
        "content-type": "application/json",
        "content-length": str(len(body)),
        **provider.headers(key, body),
    }
    lines = [f"POST {where.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _one(connections: "asyncio.Queue[Connection]", request: bytes, due: float) -> float:
    reader, writer = connection = await connections.get()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    await reader.readexactly(int(length.split(b":")[1]))
    seconds = time.perf_counter() - due
    connections.put_nowait(connection)
    assert head.startswith(b"HTTP/1.1 202"), head
    return seconds


def _answers(url: str) -> bool:
    try:
        return httpx.post(url, verify=False).status_code == 202
    except httpx.HTTPError:
        return False


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def _ms(values: Sequence[float], share: float) -> str:
    return f"{_quantile(values, share) * 1000:7.2f} ms"
