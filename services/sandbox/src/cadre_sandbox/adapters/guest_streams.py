"""The bytes between the service and a container: the engine's framing of an attached stream, and ours inside it."""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

from cadre_sandbox.adapters.engines import Started
from cadre_sandbox.domain.executions import File, Program
from cadre_sandbox.worker.frames import BadFrame, Tag

__all__ = ["INTERRUPT", "ReadyContainer", "encoded", "program_bytes", "request_bytes"]

INTERRUPT = b"\xff"
"""Tells the interpreter of a session that nobody waits for its program any more."""

_READ_BYTES = 256 * 1024
# Stream (one byte), three of nothing, length.
_ENGINE_HEADER = struct.Struct("!B3xI")
_READY_FRAME_BYTES = 5
_STDOUT = 1


def request_bytes(op: str, **what: Any) -> bytes:
    """What the waiting interpreter reads."""
    request = json.dumps({"op": op, **what}).encode()
    return struct.pack("!I", len(request)) + request


def program_bytes(program: Program) -> bytes:
    """A request to run a program."""
    return request_bytes(
        "run",
        code=program.code,
        inputs=dict(program.inputs),
        cpu_seconds=program.limits.cpu_seconds,
        timeout_seconds=program.limits.timeout_seconds,
        files=encoded(program.files),
    )


def encoded(files: Sequence[File]) -> dict[str, str]:
    """Files as they are in a request."""
    return {file.name: base64.b64encode(file.content).decode() for file in files}


class ReadyContainer:
    """A container and its stream, in which one program can be run."""

    def __init__(self, started: Started) -> None:
        self.started = started
        self.is_ready = False
        self._buffer = bytearray()

    async def ready(self) -> None:
        """Waits until the interpreter waits. Raises BadFrame when it ends instead."""
        said = b""
        async for data in self.received():
            said += data
            if len(said) >= _READY_FRAME_BYTES:
                break
        if said != Tag.READY.value + bytes(4):
            raise BadFrame("the container is not ready")
        self.is_ready = True

    def gone(self) -> bool:
        """Whether it ended while it waited."""
        try:
            return not self.started.stream.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def send(self, data: bytes) -> None:
        """Writes to the interpreter."""
        try:
            await asyncio.get_running_loop().sock_sendall(self.started.stream, data)
        except OSError as exc:
            raise BadFrame("the container has ended") from exc

    async def received(self) -> AsyncIterator[bytes]:
        """What it writes to stdout, until it ends."""
        loop = asyncio.get_running_loop()
        while True:
            for part in self._parts():
                yield part
            try:
                data = await loop.sock_recv(self.started.stream, _READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self._buffer += data

    def _parts(self) -> list[bytes]:
        parts, buffer, position = [], self._buffer, 0
        while len(buffer) - position >= _ENGINE_HEADER.size:
            kind, size = _ENGINE_HEADER.unpack_from(buffer, position)
            if kind != _STDOUT:
                raise BadFrame(f"stream {kind}")
            end = position + _ENGINE_HEADER.size + size
            if len(buffer) < end:
                break
            parts.append(bytes(buffer[position + _ENGINE_HEADER.size : end]))
            position = end
        del buffer[:position]
        return parts
