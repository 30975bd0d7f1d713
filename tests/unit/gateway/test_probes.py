"""How a service is, as its health says, within a second whatever it does."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from cadre_gateway.adapters.probes import Condition, Reading, grpc_probe, http_probe
from cadre_kit.serving import serving


@contextmanager
def server(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


async def reading(url: str) -> Reading:
    return await http_probe("x", url, health_path="/health", version_path="/version").ask()


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ((200, b"3.16.0"), "3.16.0"),
        ((200, b'"3.8.8"'), "3.8.8"),
        ((404, b"no"), None),
        ((200, b""), None),
        ((200, b"\x00\x01"), None),
    ],
)
async def test_a_server_that_is_well_says_its_version_or_none(
    version: tuple[int, bytes], said: str | None
) -> None:
    with server({"/health": (200, b"OK"), "/version": version}) as url:
        assert await reading(url) == Reading(condition=Condition.READY, version=said)


async def test_a_server_that_is_not_well_yet_is_starting() -> None:
    with server({"/health": (503, b"")}) as url:
        assert await reading(url) == Reading(
            condition=Condition.STARTING, detail="/health answers 503"
        )


async def test_silence_is_told_from_absence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert (await reading(f"http://127.0.0.1:{port}")).detail == "no answer within 1 s"

    assert (await reading(f"http://127.0.0.1:{port}")).detail == "nobody listens at its address"


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://127.0.0.1:99999", "ftp://x"])
async def test_an_address_that_is_none_is_unreachable(url: str) -> None:
    assert (await reading(url)).condition is Condition.UNREACHABLE


async def test_a_service_is_asked_for_its_grpc_health_and_version() -> None:
    async with serving([], host="127.0.0.1", port=0) as address:
        ready = await grpc_probe("x", address, None).ask()

    assert ready == Reading(condition=Condition.READY, version="0.1.0")

    away = await grpc_probe("x", address, None).ask()
    assert (away.condition, away.detail) == (
        Condition.UNREACHABLE,
        "nobody listens at its address",
    )


async def test_a_server_that_speaks_no_grpc_is_unreachable() -> None:
    with server({}) as url:
        asked = await grpc_probe("x", url.removeprefix("http://"), None).ask()

    assert asked.condition is Condition.UNREACHABLE
