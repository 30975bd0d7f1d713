"""How the gateway listens, serves and stops."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cadre_gateway.entrypoint.streams import Stopping
from cadre_kit.errors import Unavailable

__all__ = ["serving", "until_told_to_stop"]

_HEAD_BYTES = 64 * 1024
# Longer than clients keep a connection, so that they close it and not we, just as they use it again.
_KEEP_ALIVE_SECONDS = 30
_LONGEST_DRAIN_SECONDS = 4


class AddressInUse(Unavailable):
    """Something else listens on the gateway's address, or it is not one of this machine's."""

    code = "ADDRESS_IN_USE"


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, *, host: str, port: int, drain_seconds: float, stopping: Stopping
) -> AsyncIterator[str]:
    """Serves, and yields the address `host:port`, port 0 chosen. Raises AddressInUse.

    On leaving, `stopping` is set, nothing new is accepted, and what is under way gets `drain_seconds`, at most 4.
    """
    listening = _listen(host, port)
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, min(round(drain_seconds), _LONGEST_DRAIN_SECONDS)),
    )
    server = _Server(config, stopping)
    served = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"{shown}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await served


class _Server(uvicorn.Server):
    """Leaves signals to its caller, and tells the streams to end before it waits for them."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, then all else."""
        self._stopping.set()
        await super().shutdown(sockets)


class BoundedHttp(HttpToolsProtocol):
    """Refuses a request whose first line and headers do not end; httptools would take them for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = False

    def data_received(self, data: bytes) -> None:
        """Reads what came."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._in_head = False
        super().on_headers_complete()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP: asyncio sends without delay on such sockets only, and the delay is 40 ms an answer.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError as exc:
        listening.close()
        raise AddressInUse(
            f"the gateway cannot listen on {host}:{port}: {exc.strerror}",
            resolution="Stop the program that holds the port, or set CADRE_GATEWAY_PORT or CADRE_HOST.",
            metadata={"address": f"{host}:{port}"},
        ) from exc
    return listening


async def until_told_to_stop() -> None:
    """Returns at the first SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
