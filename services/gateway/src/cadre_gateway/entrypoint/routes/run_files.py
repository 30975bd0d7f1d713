"""The files of runs: what tools wrote, and what programs left."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from cadre.executor.v1 import files_pb2
from cadre_gateway.entrypoint.access import READ
from cadre_gateway.entrypoint.dependencies import TheExecutor
from cadre_gateway.entrypoint.documents import Answer

__all__ = ["router"]

router = APIRouter(tags=["runs"])

_RunId = Annotated[str, Path(max_length=200, description="The run's id.")]
_FilePath = Annotated[str, Path(max_length=1024, description="A path in the run's folder.")]
_BYTES = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("application/octet-stream", "*/*")
}
# Whatever a program put into it, a browser that opens it must not take it for a page of ours.
_HARMLESS = {
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


class RunFile(Answer):
    """A file of a run."""

    path: str
    size_bytes: int
    media_type: str = Field(description="By its name; what is in it may be something else.")


class RunFiles(Answer):
    """The files of a run, the first thousand."""

    files: list[RunFile]


@router.get("/api/v1/runs/{run_id}/files", dependencies=[READ])
async def list_run_files(run_id: _RunId, executor: TheExecutor) -> RunFiles:
    """Lists the files that tools and programs of a run left."""
    request = files_pb2.ListRunFilesRequest(run_id=run_id)
    answer = await executor.call(executor.files.ListRunFiles, request)
    return RunFiles(
        files=[
            RunFile(path=file.path, size_bytes=file.size_bytes, media_type=file.media_type)
            for file in answer.files
        ]
    )


@router.get(
    "/api/v1/runs/{run_id}/files/{path:path}",
    response_class=Response,
    responses={
        200: {"content": _BYTES, "description": "Its bytes, as their name says what they are."}
    },
    dependencies=[READ],
)
async def read_run_file(run_id: _RunId, path: _FilePath, executor: TheExecutor) -> Response:
    """Reads a file of a run."""
    request = files_pb2.ReadRunFileRequest(run_id=run_id, path=path)
    answer = await executor.call(executor.files.ReadRunFile, request)
    return Response(answer.content, media_type=answer.file.media_type, headers=_HARMLESS)
