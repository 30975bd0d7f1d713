"""How a program's output leaves it: tagged frames on a pipe, each sent as it is written, so that a kill loses nothing.

A frame is one byte of tag, four of length, and the payload. The reader trusts none of it.
"""

import struct
from enum import Enum

__all__ = ["FRAME_BYTES", "BadFrame", "FrameReader", "Tag", "frame"]

FRAME_BYTES = 64 * 1024 * 1024
"""The longest payload that a reader takes."""

_HEADER = struct.Struct("!cI")


class Tag(Enum):
    """What a frame carries."""

    STDOUT = b"O"
    STDERR = b"E"
    RESULT = b"R"
    END = b"X"
    READY = b"Y"
    FILE = b"F"
    FILE_LEFT_OUT = b"C"


class BadFrame(Exception):
    """The bytes are not frames: the program writes past its own output."""


def frame(tag: Tag, payload: bytes) -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(tag.value, len(payload)) + payload


class FrameReader:
    """Takes bytes as they come, and gives the payloads as they come: a long one in several parts."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._tag = Tag.STDOUT
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[Tag, bytes]]:
        """The parts of payloads in `data`. Raises BadFrame."""
        self._buffer += data
        buffer = self._buffer
        parts: list[tuple[Tag, bytes]] = []
        position = 0
        while True:
            if self._left:
                part = bytes(buffer[position : position + self._left])
                if not part:
                    break
                parts.append((self._tag, part))
                self._left -= len(part)
                position += len(part)
            elif len(buffer) - position >= _HEADER.size:
                self._tag, self._left = _parsed(buffer, position)
                position += _HEADER.size
            else:
                break
        del buffer[:position]
        return parts


def _parsed(buffer: bytearray, position: int) -> tuple[Tag, int]:
    letter, length = _HEADER.unpack_from(buffer, position)
    try:
        tag = Tag(letter)
    except ValueError as exc:
        raise BadFrame(f"tag {letter!r}") from exc
    if length > FRAME_BYTES:
        raise BadFrame(f"{length} bytes")
    return tag, length
