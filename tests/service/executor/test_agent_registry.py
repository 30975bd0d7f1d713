"""The registry of remote agents, through the gRPC API."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.a2a_agents import card_document, remote_agent
from tests.fakes.executor import Neighbours
from tests.fakes.website import website
from tests.service.executor.conftest import Executor, executor_in
from tests.service.executor.test_agents import agents_of, register

from cadre.executor.v1 import agents_pb2
from cadre_kit.errors import CadreError


@pytest.fixture
async def executor(tmp_path: Path, near: Neighbours) -> AsyncIterator[Executor]:
    async with executor_in(
        tmp_path, near, allowed_addresses="127.0.0.1", executor_agent_refresh_seconds=0.1
    ) as found:
        yield found


async def get(executor: Executor, name: str) -> agents_pb2.Agent:
    request = agents_pb2.GetAgentRequest(name=name)
    found: agents_pb2.Agent = (await executor.ask(agents_of(executor).GetAgent, request)).agent
    return found


async def until_health(executor: Executor, name: str, health: int) -> agents_pb2.Agent:
    async with asyncio.timeout(30):
        while True:
            agent = await get(executor, name)
            if agent.health == health:
                return agent
            await asyncio.sleep(0.05)


async def refused(executor: Executor, **fields: Any) -> str:
    with pytest.raises(CadreError) as caught:
        await register(executor, **fields)
    return caught.value.code


async def test_an_agent_is_registered_by_its_address_and_shows_what_its_card_says(
    executor: Executor,
) -> None:
    async with remote_agent() as remote:
        agent = await register(executor, card_url=remote.url)

    assert (agent.name, agent.title, agent.version) == ("Echo-agent", "Echo agent", "2.1")
    assert (agent.url, agent.protocol_binding) == (remote.url, "JSONRPC")
    assert [skill.name for skill in agent.skills] == ["Echo"]
    assert agent.health == agents_pb2.AGENT_HEALTH_HEALTHY


async def test_an_agent_that_went_away_is_unreachable_and_healthy_when_it_is_back(
    executor: Executor,
) -> None:
    async with remote_agent() as remote:
        await register(executor, card_url=remote.url)
        port = int(remote.url.rpartition(":")[2])
    gone = await until_health(executor, "Echo-agent", agents_pb2.AGENT_HEALTH_UNREACHABLE)
    async with remote_agent(port=port):
        back = await until_health(executor, "Echo-agent", agents_pb2.AGENT_HEALTH_HEALTHY)

    assert "does not answer" in gone.health_detail
    assert back.health_detail == ""


async def test_an_agent_that_registered_for_a_time_lives_by_its_signs_and_expires(
    executor: Executor,
) -> None:
    card = card_document("http://127.0.0.1:9")
    await register(executor, card=card, ttl_seconds=5)
    request = agents_pb2.RenewAgentRequest(name="Echo-agent")
    renewed = (await executor.ask(agents_of(executor).RenewAgent, request)).agent
    expired = await until_health(executor, "Echo-agent", agents_pb2.AGENT_HEALTH_EXPIRED)
    with pytest.raises(CadreError) as caught:
        await executor.ask(agents_of(executor).RenewAgent, request)
    again = await register(executor, card=card, ttl_seconds=60)

    assert renewed.health == again.health == agents_pb2.AGENT_HEALTH_HEALTHY
    assert expired.expires_time.ToDatetime() > renewed.last_seen_time.ToDatetime()
    assert caught.value.code == "AGENT_NOT_FOUND"


async def test_what_cannot_be_registered_is_refused_with_its_reason(executor: Executor) -> None:
    card = card_document("http://127.0.0.1:9")
    codes = [
        await refused(executor, card=card),
        await refused(executor, card=card, ttl_seconds=1),
        await refused(executor, card=card, ttl_seconds=60, secret="AGENT_X"),
        await refused(executor, card_url="http://127.0.0.1:9", secret="OPENAI_API_KEY"),
        await refused(executor, card=card, ttl_seconds=60, name="a b"),
        await refused(executor),
        await refused(executor, card={"name": "x"}, ttl_seconds=60),
        await refused(executor, card=card_document("http://x", version="0.3"), ttl_seconds=60),
        await refused(executor, card={"name": 1}, ttl_seconds=60),
        await refused(executor, card_url="http://127.0.0.1:9"),
        await refused(executor, card_url="ftp://x"),
    ]

    assert codes[:6] == ["AGENT_REGISTRATION_INVALID"] * 6
    assert codes[6:9] == ["AGENT_VERSION_UNSUPPORTED"] * 2 + ["AGENT_CARD_INVALID"]
    assert codes[9:] == ["AGENT_UNREACHABLE", "INVALID_INPUT"]


async def test_a_secret_goes_to_the_host_of_the_card_only(tmp_path: Path, near: Neighbours) -> None:
    variables = {"AGENT_X": "s3cret"}
    card = card_document("http://elsewhere.example/a2a")
    async with (
        website() as site,
        executor_in(tmp_path, near, allowed_addresses="127.0.0.1", variables=variables) as executor,
    ):
        site.json("/.well-known/agent-card.json", card)
        code = await refused(executor, card_url=site.url, secret="AGENT_X")

    assert code == "AGENT_CARD_INVALID"
    assert all("authorization" not in asked.headers for asked in site.asked)


async def test_agents_are_listed_and_removed(executor: Executor) -> None:
    for name in ("b", "a"):
        await register(
            executor, name=name, card=card_document("http://127.0.0.1:9"), ttl_seconds=60
        )
    service = agents_of(executor)
    await executor.ask(service.DeleteAgent, agents_pb2.DeleteAgentRequest(name="b"))
    listed = await executor.ask(service.ListAgents, agents_pb2.ListAgentsRequest())
    with pytest.raises(CadreError) as caught:
        await get(executor, "b")

    assert [agent.name for agent in listed.agents] == ["a"]
    assert caught.value.code == "AGENT_NOT_FOUND"
