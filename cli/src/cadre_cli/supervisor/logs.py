"""A program's log file, rotated by size, and what its last lines say about its end."""

import json
import re
from collections import deque
from pathlib import Path

__all__ = ["ProgramLog"]

_FILE_BYTES = 10_000_000
_OLD_FILES = 3
_TAIL_LINES = 60
_REASON_CHARACTERS = 300
_EXCEPTION_LINE = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Warning|Interrupt|Exit)\b")


class ProgramLog:
    """Appends a program's output to `<name>.log`; the files before it are `<name>.log.1` to `.3`."""

    def __init__(self, path: Path, *, file_bytes: int = _FILE_BYTES) -> None:
        self.path = path
        self._file_bytes = file_bytes
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._line = b""

    def begin(self) -> None:
        """Forgets the lines of the process before."""
        self._tail.clear()
        self._line = b""

    def write(self, data: bytes) -> None:
        """Appends output. On a disk that is full it is lost: a program must not stop because its log cannot grow."""
        *lines, self._line = (self._line + data).split(b"\n")
        self._tail.extend(line.decode(errors="replace") for line in lines)
        try:
            self._append(data)
        except OSError:
            return

    def reason(self) -> str:
        """Why the process ended, as far as its last lines tell; empty when they do not."""
        lines = [
            line.strip()
            for line in [*self._tail, self._line.decode(errors="replace")]
            if line.strip()
        ]
        for line in reversed(lines):
            if failure := _service_failure(line):
                return _shortened(failure)
        lines = [line for line in lines if not _is_routine(line)]
        told = [line for line in lines if _EXCEPTION_LINE.match(line)] or lines
        return _shortened(told[-1]) if told else ""

    def _append(self, data: bytes) -> None:
        if self.path.exists() and self.path.stat().st_size + len(data) > self._file_bytes:
            self._rotate()
        with self.path.open("ab") as file:
            file.write(data)

    def _rotate(self) -> None:
        for number in range(_OLD_FILES, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path


def _service_failure(line: str) -> str:
    """What a service logs as its last words: `service_failed` with reason and resolution."""
    if '"service_failed"' not in line:
        return ""
    try:
        event = json.loads(line)
    except ValueError:
        return ""
    words = [str(event.get(field) or "").rstrip(".") for field in ("reason", "resolution")]
    return ". ".join(word for word in words if word)


def _is_routine(line: str) -> bool:
    """Whether it is an event of a service that was well."""
    return line.startswith("{") and ('"level": "info"' in line or '"level": "debug"' in line)


def _shortened(text: str) -> str:
    return text if len(text) <= _REASON_CHARACTERS else text[: _REASON_CHARACTERS - 1] + "…"
