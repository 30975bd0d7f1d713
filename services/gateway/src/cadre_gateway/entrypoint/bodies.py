"""The body of a request: bounded, in time too, and on disk as long as it comes when it is large."""

import asyncio
import time
from pathlib import Path
from tempfile import SpooledTemporaryFile

from starlette.types import Message, Receive

from cadre_gateway.entrypoint.errors import BodyTooLarge, TooSlow

__all__ = ["LEAST_BYTES_PER_SECOND", "Body"]

# A body may take longer than `read_seconds`, if no less than this comes of it in a second.
LEAST_BYTES_PER_SECOND = 1000
# Many slow senders at once must not fill the memory with what is of no use before its end.
_IN_MEMORY_BYTES = 128 * 1024
_CHUNK_BYTES = 256 * 1024


class Body:
    """What `receive` gives, as an ASGI receiver. What comes in more than one piece is given once it is whole, and held
    in an unnamed file in `folder` until then, beyond 128 KiB."""

    def __init__(self, receive: Receive, *, limit: int, read_seconds: float, folder: Path) -> None:
        self._receive = receive
        self._limit = limit
        self._deadline = time.monotonic() + read_seconds
        self._folder = folder
        self._received = 0
        self._ended = False
        self._held: SpooledTemporaryFile[bytes] | None = None

    async def __call__(self) -> Message:
        """Raises BodyTooLarge once more than `limit` bytes came, whatever Content-Length said, and TooSlow when the
        body comes in drops."""
        if self._held is None and self._ended:
            # What comes now is that the caller leaves, whenever that is.
            return await self._receive()
        if self._held is None:
            message = await self._next()
            if self._ended:
                return message
            left = await self._hold(message)
            if left is not None:
                return left
        return self._piece()

    def close(self) -> None:
        """Forgets what is held."""
        if self._held is not None:
            self._held.close()

    async def _next(self) -> Message:
        allowed = self._deadline + self._received / LEAST_BYTES_PER_SECOND - time.monotonic()
        try:
            async with asyncio.timeout(allowed):
                message = await self._receive()
        except TimeoutError as exc:
            raise TooSlow from exc
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            raise BodyTooLarge(self._limit)
        self._ended = not message.get("more_body", False)
        return message

    async def _hold(self, message: Message) -> Message | None:
        """Takes the body to its end; that the caller left, if that comes first."""
        self._held = SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(self._folder))  # noqa: SIM115 - see close
        while message["type"] == "http.request":
            self._held.write(message.get("body", b""))
            if self._ended:
                self._held.seek(0)
                return None
            message = await self._next()
        self._forget()
        return message

    def _piece(self) -> Message:
        assert self._held is not None
        piece = self._held.read(_CHUNK_BYTES)
        more = self._held.tell() < self._received
        if not more:
            self._forget()
        return {"type": "http.request", "body": piece, "more_body": more}

    def _forget(self) -> None:
        self.close()
        self._held = None
