"""Output within a limit: its beginning and its end, and between them a line that says how much is missing."""

from collections import deque

__all__ = ["Kept"]


class Kept:
    """Takes bytes without end, and keeps at most `limit` of them and one line."""

    def __init__(self, limit: int) -> None:
        self._head = bytearray()
        self._head_limit = limit - limit // 2
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._tail_limit = limit // 2
        self.total = 0

    @property
    def cut(self) -> bool:
        """Whether something was left out."""
        return self.total > self._head_limit + self._tail_limit

    def add(self, data: bytes) -> None:
        """Takes what comes next."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        rest = data[room:] if room > 0 else data
        if not rest:
            return
        self._tail.append(rest)
        self._tail_size += len(rest)
        while self._tail and self._tail_size - len(self._tail[0]) >= self._tail_limit:
            self._tail_size -= len(self._tail.popleft())

    def content(self) -> bytes:
        """What was kept."""
        tail = b"".join(self._tail)
        if not self.cut:
            return bytes(self._head) + tail
        tail = tail[len(tail) - self._tail_limit :]
        left_out = self.total - self._head_limit - self._tail_limit
        return bytes(self._head) + f"\n... {left_out} bytes left out ...\n".encode() + tail
