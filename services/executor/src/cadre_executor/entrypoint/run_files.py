"""FileService: gRPC to domain and back."""

from __future__ import annotations

import mimetypes
from typing import Any, TypeAlias

import grpc

from cadre.executor.v1 import files_pb2, files_pb2_grpc
from cadre_executor.domain.desks import Desk
from cadre_executor.domain.run_files import RunFiles
from cadre_executor.domain.tools import ToolFailed
from cadre_kit.errors import NotFound

__all__ = ["FileServicer"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class FileNotFound(NotFound):
    """The run has no such file that can be read."""

    code = "FILE_NOT_FOUND"


class FileServicer(files_pb2_grpc.FileServiceServicer):
    """Answers FileService."""

    def __init__(self, desk: Desk, files: RunFiles) -> None:
        self._desk = desk
        self._files = files

    async def ListRunFiles(
        self, request: files_pb2.ListRunFilesRequest, context: Context
    ) -> files_pb2.ListRunFilesResponse:
        """Lists a run's files."""
        run = await self._desk.get(request.run_id)
        found = await self._files.files_of(run.id)
        return files_pb2.ListRunFilesResponse(files=[_message(f.path, f.size) for f in found])

    async def ReadRunFile(
        self, request: files_pb2.ReadRunFileRequest, context: Context
    ) -> files_pb2.ReadRunFileResponse:
        """Reads a run's file."""
        run = await self._desk.get(request.run_id)
        try:
            content = await self._files.read(run.id, request.path)
        except ToolFailed as error:
            raise FileNotFound(error.message, resolution="List the run's files.") from error
        file = _message(request.path, len(content))
        return files_pb2.ReadRunFileResponse(file=file, content=content)


def _message(path: str, size: int) -> files_pb2.RunFile:
    media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return files_pb2.RunFile(path=path, size_bytes=size, media_type=media_type)
