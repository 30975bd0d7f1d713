"""The files of runs behind the gateway, in memory."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from typing import Any

from cadre.executor.v1 import files_pb2, files_pb2_grpc
from cadre_kit.errors import NotFound

__all__ = ["FakeRunFiles"]


class FakeRunFiles(files_pb2_grpc.FileServiceServicer):
    """`contents` are by run and path; `check` raises when there is no such run."""

    def __init__(self, check: Callable[[str], object]) -> None:
        self.contents: dict[str, dict[str, bytes]] = {}
        self._check = check

    async def ListRunFiles(
        self, request: files_pb2.ListRunFilesRequest, context: Any
    ) -> files_pb2.ListRunFilesResponse:
        self._check(request.run_id)
        found = self.contents.get(request.run_id, {})
        files = [_file(path, content) for path, content in sorted(found.items())]
        return files_pb2.ListRunFilesResponse(files=files)

    async def ReadRunFile(
        self, request: files_pb2.ReadRunFileRequest, context: Any
    ) -> files_pb2.ReadRunFileResponse:
        self._check(request.run_id)
        found = self.contents.get(request.run_id, {})
        if request.path not in found:
            raise NotFound(f"no file {request.path!r}", code="FILE_NOT_FOUND")
        content = found[request.path]
        return files_pb2.ReadRunFileResponse(file=_file(request.path, content), content=content)


def _file(path: str, content: bytes) -> files_pb2.RunFile:
    media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return files_pb2.RunFile(path=path, size_bytes=len(content), media_type=media_type)
