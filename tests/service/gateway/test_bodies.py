"""Large bodies that come slowly are on disk until they are whole."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from tests.platform import Platform, eventually, platform

SENDERS = 40
BODY = json.dumps({"source": "#" * 5_000_000}).encode()
MOST_GROWTH_BYTES = 60_000_000


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Platform]:
    with platform(tmp_path, "gateway", CADRE_GATEWAY_READ_SECONDS="120") as running:
        yield running


def begun(gateway: Platform) -> socket.socket:
    """A request of which all has come but the last byte."""
    sender = socket.create_connection(("127.0.0.1", gateway.ports["gateway"]), timeout=60)
    head = (
        "POST /api/v1/workflows/validate HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {gateway.api_key}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    sender.sendall(head.encode() + BODY[:-1])
    return sender


def bytes_held(process: psutil.Process) -> int:
    """What the unnamed files of a process hold."""
    held = 0
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        # Some are closed meanwhile.
        with suppress(FileNotFoundError):
            held += link.stat().st_size if "(deleted)" in str(link.readlink()) else 0
    return held


def test_what_many_send_slowly_does_not_fill_the_memory(gateway: Platform) -> None:
    process = psutil.Process(gateway.pid("gateway"))
    before = process.memory_info().rss
    with ExitStack() as stack:
        senders = [stack.enter_context(begun(gateway)) for _ in range(SENDERS)]
        eventually(lambda: bytes_held(process) > SENDERS * (len(BODY) - 300_000), seconds=60)
        grown = process.memory_info().rss - before
        senders[0].sendall(BODY[-1:])
        answer = senders[0].recv(12)

    assert grown < MOST_GROWTH_BYTES < SENDERS * len(BODY) / 3
    # It is read as any other: without an executor it can be checked by nobody.
    assert answer == b"HTTP/1.1 503"
    eventually(lambda: bytes_held(process) == 0, seconds=30)
