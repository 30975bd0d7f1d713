"""Remote agents: registered, kept alive, listed, removed."""

from typing import Annotated

from fastapi import APIRouter, Path, Response, status

from cadre.executor.v1 import agents_pb2
from cadre_gateway.entrypoint import conversions, documents
from cadre_gateway.entrypoint.access import READ, WRITE
from cadre_gateway.entrypoint.dependencies import TheExecutor
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_gateway.entrypoint.once import ONCE, OnceRoute
from cadre_kit.documents import to_json

__all__ = ["router"]

router = APIRouter(tags=["agents"], route_class=OnceRoute)

_Name = Annotated[str, Path(max_length=200, description="The agent's name.")]
# Its card is read before the answer comes.
_REGISTER_SECONDS = 25.0


@router.post(
    "/api/v1/agents", responses={201: {"model": documents.Agent}}, dependencies=[WRITE, ONCE]
)
async def register_agent(
    asked: documents.NewAgent, executor: TheExecutor, response: Response
) -> documents.Agent:
    """Registers a remote agent (201), or changes it (200). Agents register themselves with `ttl_seconds`, and then send
    signs of life; an operator registers one by its address, whose card is read again from time to time."""
    if bool(asked.url) == (asked.card is not None):
        raise InvalidRequest(
            "either url or card must be given, and not both",
            resolution="Name the address of the agent's card; send the card only where it has none.",
        )
    request = agents_pb2.RegisterAgentRequest(
        name=asked.name, ttl_seconds=asked.ttl_seconds, secret=asked.secret
    )
    if asked.url:
        request.card_url = asked.url
    else:
        request.card.CopyFrom(to_json(asked.card))
    answer = await executor.call(
        executor.agents.RegisterAgent, request, timeout_seconds=_REGISTER_SECONDS
    )
    response.status_code = status.HTTP_201_CREATED if answer.created else status.HTTP_200_OK
    response.headers["Location"] = f"/api/v1/agents/{answer.agent.name}"
    return conversions.agent(answer.agent)


@router.get("/api/v1/agents", dependencies=[READ])
async def list_agents(executor: TheExecutor) -> documents.Agents:
    """Lists remote agents by name, those too whose time was over within the last day."""
    answer = await executor.call(executor.agents.ListAgents, agents_pb2.ListAgentsRequest())
    return documents.Agents(agents=[conversions.agent(one) for one in answer.agents])


@router.get("/api/v1/agents/{name}", dependencies=[READ])
async def get_agent(name: _Name, executor: TheExecutor) -> documents.Agent:
    """Returns one agent."""
    answer = await executor.call(executor.agents.GetAgent, agents_pb2.GetAgentRequest(name=name))
    return conversions.agent(answer.agent)


@router.post("/api/v1/agents/{name}/heartbeat", dependencies=[WRITE])
async def renew_agent(name: _Name, executor: TheExecutor) -> documents.Agent:
    """A sign of life of an agent that registered for a time. 404: it has to register again."""
    answer = await executor.call(
        executor.agents.RenewAgent, agents_pb2.RenewAgentRequest(name=name)
    )
    return conversions.agent(answer.agent)


@router.delete(
    "/api/v1/agents/{name}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[WRITE]
)
async def delete_agent(name: _Name, executor: TheExecutor) -> None:
    """Removes an agent; tasks that it works on go on."""
    await executor.call(executor.agents.DeleteAgent, agents_pb2.DeleteAgentRequest(name=name))
