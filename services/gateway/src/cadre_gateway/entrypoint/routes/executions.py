"""Programs for the sandbox: run at once, outside of any workflow, alone or in sessions."""

import base64
from typing import Annotated

from fastapi import APIRouter, Path, status

from cadre.sandbox.v1 import sandbox_pb2
from cadre_gateway.entrypoint import execution_documents
from cadre_gateway.entrypoint.access import READ, RUN
from cadre_gateway.entrypoint.dependencies import IdempotencyKey, TheSandbox

__all__ = ["router"]

router = APIRouter(tags=["executions"])

# The longest that a program may run, its place in the queue, and the making of a package set's image.
_SECONDS = 900.0


# Making a package set's image may take this long.
_OPENING_SECONDS = 900.0
_FILE_SECONDS = 30.0
_SESSIONS = "/api/v1/sandbox-sessions"
_SessionId = Annotated[str, Path(max_length=200, description="The session's id.")]
_FileName = Annotated[str, Path(max_length=200, description="A path within the session's folder.")]


@router.post("/api/v1/executions", dependencies=[RUN])
async def execute(
    asked: execution_documents.NewExecution, sandbox: TheSandbox, key: IdempotencyKey
) -> execution_documents.Execution:
    """Runs a program to its end. One that fails is an answer, not an error."""
    answer = await sandbox.call(
        sandbox.programs.Execute,
        execution_documents.request(asked),
        idempotency_key=key,
        timeout_seconds=_SECONDS,
    )
    return execution_documents.execution(answer)


@router.post(_SESSIONS, status_code=status.HTTP_201_CREATED, dependencies=[RUN])
async def open_session(
    asked: execution_documents.NewSession, sandbox: TheSandbox, key: IdempotencyKey
) -> execution_documents.Session:
    """Opens a session: programs run in it find the variables and files of earlier ones."""
    answer = await sandbox.call(
        sandbox.programs.OpenSession,
        execution_documents.session_request(asked),
        # No key of another of the platform's services is like it, nor then its session.
        idempotency_key=f"http/{key}" if key else "",
        timeout_seconds=_OPENING_SECONDS,
    )
    return execution_documents.session(answer.session)


@router.delete(
    _SESSIONS + "/{session_id}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[RUN]
)
async def close_session(session_id: _SessionId, sandbox: TheSandbox) -> None:
    """Ends a session with everything in it; nothing when it has ended."""
    request = sandbox_pb2.CloseSessionRequest(session_id=session_id)
    await sandbox.call(sandbox.programs.CloseSession, request, timeout_seconds=_FILE_SECONDS)


@router.get(_SESSIONS + "/{session_id}/files", dependencies=[READ])
async def list_session_files(
    session_id: _SessionId, sandbox: TheSandbox
) -> execution_documents.Files:
    """Lists the files of a session's folder, the first thousand."""
    request = sandbox_pb2.ListFilesRequest(session_id=session_id)
    answer = await sandbox.call(sandbox.programs.ListFiles, request, timeout_seconds=_FILE_SECONDS)
    return execution_documents.listed(answer)


@router.get(_SESSIONS + "/{session_id}/files/{name:path}", dependencies=[READ])
async def read_session_file(
    session_id: _SessionId, name: _FileName, sandbox: TheSandbox
) -> execution_documents.File:
    """Reads a file of a session's folder."""
    request = sandbox_pb2.ReadFileRequest(session_id=session_id, name=name)
    answer = await sandbox.call(sandbox.programs.ReadFile, request, timeout_seconds=_FILE_SECONDS)
    return execution_documents.file(answer.file)


@router.put(
    _SESSIONS + "/{session_id}/files/{name:path}",
    status_code=status.HTTP_204_NO_CONTENT,
    dependencies=[RUN],
)
async def write_session_file(
    session_id: _SessionId,
    name: _FileName,
    asked: execution_documents.FileContent,
    sandbox: TheSandbox,
) -> None:
    """Writes a file into a session's folder; one of that name is replaced."""
    file = sandbox_pb2.File(name=name, content=base64.b64decode(asked.content))
    request = sandbox_pb2.WriteFileRequest(session_id=session_id, file=file)
    await sandbox.call(sandbox.programs.WriteFile, request, timeout_seconds=_FILE_SECONDS)
