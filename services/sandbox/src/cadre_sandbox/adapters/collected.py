"""What one program wrote, out of the frames that come from its process or container; none of it is to be trusted."""

import json
import struct
from collections.abc import Mapping
from typing import Any

from cadre_sandbox.domain.executions import Ending, File, OnOutput, Usage
from cadre_sandbox.domain.outputs import Kept
from cadre_sandbox.worker.frames import BadFrame, FrameReader, Tag

__all__ = ["Collected"]

# A program that writes on and on is cut first, and killed beyond this.
_FLOOD_TIMES = 16
_END_BYTES = 64 * 1024
_FILES_BYTES = 40 * 1024 * 1024
_FILE_HEADER = struct.Struct("!HI")


class Collected:
    """Takes what comes, within `limit` bytes of each kind of output, and passes output on as it comes."""

    def __init__(self, limit: int, on_output: OnOutput | None = None) -> None:
        self.stdout, self.stderr = Kept(limit), Kept(limit)
        self.result: bytearray | None = None
        self.result_cut = False
        self._result_bytes = 0
        self.flood = False
        self.ready = False
        self.ended = False
        self.files_left_out = False
        # Whether nobody listens any more.
        self.deaf = False
        self._files = bytearray()
        self._end = bytearray()
        self._limit = limit
        self._on_output = on_output
        self._reader = FrameReader()

    def feed(self, data: bytes) -> None:
        """Takes bytes of the pipe. Raises BadFrame."""
        for tag, part in self._reader.feed(data):
            match tag:
                case Tag.STDOUT | Tag.STDERR:
                    self._add_output(tag, part)
                case Tag.RESULT:
                    self._add_result(part)
                case Tag.END:
                    self._end += part
                case Tag.FILE:
                    self._files += part
                case Tag.FILE_LEFT_OUT:
                    self.files_left_out = True
                case Tag.READY:
                    raise BadFrame("a running program is not ready")
        if len(self._end) > _END_BYTES or len(self._files) > _FILES_BYTES:
            raise BadFrame("the end is too long")
        self.flood = self.stdout.total + self.stderr.total > self._limit * _FLOOD_TIMES

    def _add_output(self, tag: Tag, part: bytes) -> None:
        kept = self.stdout if tag is Tag.STDOUT else self.stderr
        room = self._limit - kept.total
        kept.add(part)
        if self._on_output is not None and room > 0 and not self.deaf:
            self._on_output(tag is Tag.STDERR, part[:room])

    def _add_result(self, part: bytes) -> None:
        self._result_bytes += len(part)
        self.result = self.result if self.result is not None else bytearray()
        self.result_cut = self.result_cut or len(self.result) + len(part) > self._limit
        if not self.result_cut:
            self.result += part

    @property
    def has_ended(self) -> bool:
        """Whether the last word has come."""
        return self.said() is not None

    def said(self) -> Mapping[str, Any] | None:
        """The program's own last word; None when there is none that makes sense."""
        try:
            said = json.loads(self._end)
        except (ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else None

    def files(self) -> list[File]:
        """The files that it left. Raises BadFrame."""
        files, position = [], 0
        while position < len(self._files):
            if len(self._files) - position < _FILE_HEADER.size:
                raise BadFrame("half a file")
            name_size, size = _FILE_HEADER.unpack_from(self._files, position)
            start = position + _FILE_HEADER.size
            position = start + name_size + size
            name = bytes(self._files[start : start + name_size]).decode("utf-8", "backslashreplace")
            files.append(File(name=name, content=bytes(self._files[start + name_size : position])))
        return files

    def ending(
        self, *, said: Mapping[str, Any] | None, killed: str, status: int, usage: Usage
    ) -> Ending:
        """The end, with everything that was collected. `said` counts for nothing where the files make no sense."""
        try:
            files, left_out = self.files(), self.files_left_out
        except BadFrame:
            said, files, left_out = {}, [], True
        return Ending(
            stdout=self.stdout.content(),
            stdout_cut=self.stdout.cut,
            stderr=self.stderr.content(),
            stderr_cut=self.stderr.cut,
            result=None if self.result is None else bytes(self.result),
            result_cut=self.result_cut,
            said=said,
            killed=killed,
            status=status,
            usage=usage,
            output_bytes=self.stdout.total + self.stderr.total + self._result_bytes,
            files=files,
            files_left_out=left_out,
        )
