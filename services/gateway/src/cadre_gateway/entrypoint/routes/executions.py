"""Programs for the sandbox: run at once, outside of any workflow."""

from fastapi import APIRouter

from cadre_gateway.entrypoint import execution_documents
from cadre_gateway.entrypoint.dependencies import IdempotencyKey, TheSandbox

__all__ = ["router"]

router = APIRouter(tags=["executions"])

# The longest that a program may run, its place in the queue, and the making of a package set's image.
_SECONDS = 900.0


@router.post("/api/v1/executions")
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
