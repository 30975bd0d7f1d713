"""How the gateway listens, serves and stops."""

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cadre_gateway.entrypoint.bodies import LEAST_BYTES_PER_SECOND
from cadre_gateway.entrypoint.errors import InvalidRequest, details_of
from cadre_gateway.entrypoint.streams import Stopping
from cadre_kit.errors import Unavailable
from cadre_kit.ids import new_id

__all__ = ["serving", "until_told_to_stop"]

_HEAD_BYTES = 64 * 1024
# Longer than clients keep a connection, so that they close it and not we, just as they use it again.
_KEEP_ALIVE_SECONDS = 30
_LONGEST_DRAIN_SECONDS = 4
# More than this waits with us for a caller to take it, not with the system, so that we see whether they do.
_SYSTEM_BYTES = 16 * 1024
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_UNREADABLE = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nX-Request-Id: %s\r\n\r\n"
)


class AddressInUse(Unavailable):
    """Something else listens on the gateway's address, or it is not one of this machine's."""

    code = "ADDRESS_IN_USE"


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    drain_seconds: float,
    stopping: Stopping,
    read_seconds: float = 20.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serves, by TLS where it is given, and yields the address `host:port`, port 0 chosen. Raises AddressInUse.

    A connection on which a request's headers have not come whole after `read_seconds` is closed, and one whose answer
    is taken more slowly than 1 kB a second for as long.
    On leaving, `stopping` is set, nothing new is accepted, and what is under way gets `drain_seconds`, at most 4.
    """
    listening = _listen(host, port)
    config = uvicorn.Config(
        app,
        http=partial(BoundedHttp, read_seconds=read_seconds),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_context_factory=None if tls is None else lambda *_: tls,
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
    """Refuses a request whose first line and headers do not end, or not in time; httptools would take them for ever.
    Lets go of callers who do not take their answer: it would be kept for them for ever."""

    def __init__(self, *args: Any, read_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_seconds = read_seconds
        self._head_bytes = 0
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody connected, and has to ask something."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """More is to be sent than the caller takes now."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """They took it."""
        super().resume_writing()
        self._stop_watching()

    def data_received(self, data: bytes) -> None:
        """Reads what came."""
        if _is_idle(self.cycle):
            # Whatever it is: from now on uvicorn does not count the time between two requests any more.
            self._wait_for_head()
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, or too long for it, as everything else is refused."""
        refusal = InvalidRequest(
            f"the request cannot be read: {msg}",
            resolution=f"Send HTTP/1.1, with an address and headers of {_HEAD_BYTES} bytes at most.",
        )
        request_id = new_id()
        body = details_of(refusal, request_id=request_id).model_dump_json().encode()
        self.transport.write(_UNREADABLE % (len(body), request_id.encode()) + body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins. Between two of them uvicorn has a time limit of its own."""
        self._in_head = True
        self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            loop = asyncio.get_running_loop()
            self._head_timer = loop.call_later(self._read_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _watch_sending(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._send_timer = loop.call_later(self._read_seconds, self._judge_sending)

    def _judge_sending(self) -> None:
        taken = self._unsent - self.transport.get_write_buffer_size()
        if taken < self._read_seconds * LEAST_BYTES_PER_SECOND:
            self._send_timer = None
            self.transport.abort()
        else:
            self._watch_sending()

    def _stop_watching(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if _is_idle(self.cycle):
            self.transport.write(_TOO_SLOW)
        # Else within the answer to the request before, which is broken off.
        self.transport.close()


def _is_idle(cycle: RequestResponseCycle | None) -> bool:
    """Whether no request is being answered; there is none before the first."""
    return cycle is None or cycle.response_complete


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP: asyncio sends without delay on such sockets only, and the delay is 40 ms an answer.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _SYSTEM_BYTES)
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
