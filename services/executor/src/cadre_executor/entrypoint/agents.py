"""AgentService: gRPC to domain and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

import grpc

from cadre.executor.v1 import agents_pb2, agents_pb2_grpc
from cadre_executor.domain.agents import Agent, Health
from cadre_executor.domain.registries import Registration, Registry
from cadre_executor.entrypoint.messages import time_message
from cadre_kit.documents import object_from_json

__all__ = ["AgentServicer"]

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_HEALTHS = {
    Health.HEALTHY: agents_pb2.AGENT_HEALTH_HEALTHY,
    Health.UNREACHABLE: agents_pb2.AGENT_HEALTH_UNREACHABLE,
    Health.EXPIRED: agents_pb2.AGENT_HEALTH_EXPIRED,
}


class AgentServicer(agents_pb2_grpc.AgentServiceServicer):
    """Answers AgentService."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def RegisterAgent(
        self, request: agents_pb2.RegisterAgentRequest, context: Context
    ) -> agents_pb2.RegisterAgentResponse:
        """Registers or changes an agent."""
        registration = Registration(
            name=request.name,
            card_url=request.card_url,
            card=object_from_json(request.card, field="card") if request.HasField("card") else None,
            ttl_seconds=request.ttl_seconds,
            secret=request.secret,
        )
        agent, created = await self._registry.register(registration)
        return agents_pb2.RegisterAgentResponse(agent=_message(agent), created=created)

    async def RenewAgent(
        self, request: agents_pb2.RenewAgentRequest, context: Context
    ) -> agents_pb2.RenewAgentResponse:
        """Takes a sign of life."""
        agent = await self._registry.renew(request.name)
        return agents_pb2.RenewAgentResponse(agent=_message(agent))

    async def ListAgents(
        self, request: agents_pb2.ListAgentsRequest, context: Context
    ) -> agents_pb2.ListAgentsResponse:
        """Lists agents by name."""
        agents = await self._registry.list()
        return agents_pb2.ListAgentsResponse(agents=[_message(agent) for agent in agents])

    async def GetAgent(
        self, request: agents_pb2.GetAgentRequest, context: Context
    ) -> agents_pb2.GetAgentResponse:
        """Returns one agent."""
        agent = await self._registry.get(request.name)
        return agents_pb2.GetAgentResponse(agent=_message(agent))

    async def DeleteAgent(
        self, request: agents_pb2.DeleteAgentRequest, context: Context
    ) -> agents_pb2.DeleteAgentResponse:
        """Removes an agent."""
        await self._registry.delete(request.name)
        return agents_pb2.DeleteAgentResponse()


def _message(agent: Agent) -> agents_pb2.Agent:
    card = agent.card
    health = agent.health(datetime.now(UTC))
    detail = agent.trouble
    if health is Health.EXPIRED:
        detail = "it gave no sign of life in time"
    message = agents_pb2.Agent(
        name=agent.name,
        title=card.title,
        description=card.description,
        version=card.version,
        card_url=agent.card_url,
        url=card.interface.url,
        protocol_binding=card.interface.binding.value,
        skills=[
            agents_pb2.AgentSkill(
                id=skill.id,
                name=skill.name,
                description=skill.description,
                tags=skill.tags,
                examples=skill.examples,
            )
            for skill in card.skills
        ],
        health=_HEALTHS[health],
        health_detail=detail,
        secret=agent.secret,
        ttl_seconds=agent.ttl_seconds,
        registered_time=time_message(agent.registered_time),
        last_seen_time=time_message(agent.last_seen_time),
    )
    if agent.expires_time is not None:
        message.expires_time.CopyFrom(time_message(agent.expires_time))
    return message
