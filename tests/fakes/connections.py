"""What the tests of connectors share: a trigger of a connection, and the run that a message starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_kit.documents import from_json, to_json


def add_trigger(gateway: Any, kind: str, connection: str, *, workflow: str = "triage") -> None:
    """Has messages to a connection start a workflow, whose field `answer` is sent back."""
    gateway.executor.workflows[workflow] = [workflows_pb2.Workflow(name=workflow)]
    gateway.executor.triggers.append(
        workflows_pb2.Trigger(
            workflow=workflow,
            version=1,
            index=0,
            kind=kind,
            connection=connection,
            reply="answer",
            enabled=True,
        )
    )


@asynccontextmanager
async def api_of(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the gateway with its key."""
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=headers, timeout=20, verify=False
    ) as client:
        yield client


async def run_of(gateway: Any, *, number: int = 1) -> runs_pb2.Run:
    """The first run that was started, or a later one, once it is there."""
    async with asyncio.timeout(30):
        while len(gateway.executor.runs) < number:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    run: runs_pb2.Run = list(gateway.executor.runs.values())[number - 1]
    return run


async def end(gateway: Any, run: runs_pb2.Run, answer: str) -> None:
    """Ends a run with that answer."""
    run.outputs.CopyFrom(to_json({"answer": answer}))
    await gateway.executor.happen(run.id, runs_pb2.EVENT_TYPE_RUN_SUCCEEDED)


def arrived(gateway: Any, run: runs_pb2.Run) -> dict[str, Any]:
    """What a run was started on."""
    content = from_json(gateway.executor.arrivals[run.id].content, field="content")
    assert isinstance(content, dict)
    return content


async def until_parked(api: httpx.AsyncClient) -> Any:
    """The one delivery that waits for a person, once it does."""
    async with asyncio.timeout(30):
        while True:
            page = (await api.get("/api/v1/deliveries?status=parked")).json()
            if page["deliveries"]:
                (found,) = page["deliveries"]
                return found
            await asyncio.sleep(0.05)
