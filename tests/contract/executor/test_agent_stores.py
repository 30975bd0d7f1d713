"""What the executor asks of its stores of agents and delegations, held to by SQLite and by PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cadre_executor.adapters.agent_store import SqlAgentStore
from cadre_executor.adapters.agents.cards import parse_card
from cadre_executor.adapters.delegation_store import SqlDelegationStore
from cadre_executor.adapters.run_store import SqlRunStore
from cadre_executor.domain.agents import Agent, AgentNameTaken, AgentNotFound, TooManyAgents
from cadre_executor.domain.delegations import Delegation
from cadre_executor.domain.drivers import ending_of
from cadre_executor.domain.runs import Event, EventType, Run, RunStatus
from cadre_kit.ids import new_id
from cadre_kit.transactions import Transactions

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(database: Transactions) -> SqlAgentStore:
    return SqlAgentStore(database)


def an_agent(name: str = "echo", url: str = "https://a.example", **more: Any) -> Agent:
    interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    card = {"name": "Ünicode ☃", "supportedInterfaces": [interface], "skills": [{"id": "s"}]}
    agent = Agent(
        name=name,
        card=parse_card(card),
        card_url=f"{url}/card.json",
        registered_time=NOW,
        last_seen_time=NOW,
    )
    return replace(agent, **more)


def for_a_minute(name: str = "echo", url: str = "https://a.example") -> Agent:
    return an_agent(name, url, ttl_seconds=60.0, expires_time=NOW + timedelta(seconds=60))


async def put(store: SqlAgentStore, agent: Agent, *, now: datetime = NOW) -> tuple[Agent, bool]:
    return await store.put(agent, now=now, most=3)


async def test_an_agent_is_kept_as_it_was_and_changed_in_place(store: SqlAgentStore) -> None:
    first = await put(store, an_agent(secret="AGENT_X"))
    later = NOW + timedelta(hours=1)
    again = an_agent(registered_time=later, last_seen_time=later)
    second = await put(store, again)

    assert first == (an_agent(secret="AGENT_X"), True)
    assert second == (replace(again, registered_time=NOW), False)
    assert list(await store.list()) == [second[0]]


async def test_a_name_is_its_agent_s_until_that_one_is_over(store: SqlAgentStore) -> None:
    await put(store, for_a_minute())
    other = for_a_minute(url="https://b.example")

    with pytest.raises(AgentNameTaken):
        await put(store, other)
    taken, created = await put(store, other, now=NOW + timedelta(seconds=61))

    assert (taken.card_url, created) == ("https://b.example/card.json", False)


async def test_an_agent_cannot_take_over_what_an_operator_registered(store: SqlAgentStore) -> None:
    await put(store, an_agent(secret="AGENT_X"))

    with pytest.raises(AgentNameTaken):
        await put(store, for_a_minute())


async def test_no_more_are_registered_than_may_be(store: SqlAgentStore) -> None:
    for name in ("a", "b", "c"):
        await put(store, an_agent(name))

    with pytest.raises(TooManyAgents):
        await put(store, an_agent("d"))


async def test_a_sign_of_life_counts_in_time_only(store: SqlAgentStore) -> None:
    await put(store, for_a_minute())
    await put(store, an_agent("kept"))
    soon, late = NOW + timedelta(seconds=59), NOW + timedelta(seconds=200)
    renewed = await store.renew("echo", now=soon)

    assert renewed is not None
    assert renewed.expires_time == soon + timedelta(seconds=60)
    assert await store.renew("echo", now=late) is None
    assert await store.renew("kept", now=soon) is None
    assert await store.renew("nobody", now=soon) is None


async def test_a_card_is_due_for_one_reader_at_a_time(store: SqlAgentStore) -> None:
    await put(store, an_agent())
    later = NOW + timedelta(minutes=2)
    first = await store.due(now=later, checked_before=later - timedelta(minutes=1))
    second = await store.due(now=later, checked_before=later - timedelta(minutes=1))
    await store.checked(replace(first[0], trouble="it is gone"))

    assert [agent.name for agent in first] == ["echo"]
    assert second == []
    assert (await store.get("echo")).trouble == "it is gone"


async def test_who_is_long_gone_is_forgotten(store: SqlAgentStore) -> None:
    await put(store, for_a_minute())
    await put(store, an_agent("kept"))
    await store.forget(expired_before=NOW + timedelta(seconds=59))
    before = [agent.name for agent in await store.list()]
    await store.forget(expired_before=NOW + timedelta(seconds=61))

    assert before == ["echo", "kept"]
    assert [agent.name for agent in await store.list()] == ["kept"]


async def test_an_agent_that_is_not_there_is_said_with_a_near_one(store: SqlAgentStore) -> None:
    await put(store, an_agent("translator"))

    with pytest.raises(AgentNotFound) as caught:
        await store.get("translater")
    with pytest.raises(AgentNotFound):
        await store.delete("translater")

    assert "'translator'" in caught.value.resolution


async def a_run(database: Transactions) -> tuple[SqlRunStore, str]:
    runs = SqlRunStore(database)
    run = Run(
        id=new_id(),
        workflow="w",
        version=1,
        status=RunStatus.QUEUED,
        source="flow: w",
        inputs={},
        trigger="api",
        created_time=NOW,
    )
    queued = Event(type=EventType.RUN_QUEUED, time=NOW)
    await runs.add(run, queued, key="", fingerprint="", owner="", expires=0.0)
    return runs, run.id


async def test_a_delegation_is_begun_once_and_known_until_it_is_dropped(
    database: Transactions,
) -> None:
    _, run_id = await a_run(database)
    store = SqlDelegationStore(database)
    new = Delegation(key=f"{run_id}/n/1/1/1", run_id=run_id, agent="echo", begun_time=NOW)
    begun = await store.begin(new)
    await store.keep(replace(new, task_id="t", context_id="c", answered="a"))
    again = await store.begin(new)
    of_visit = await store.of_run(run_id, begun_with=[f"{run_id}/n/1/", f"{run_id}/n/1."])
    of_another = await store.of_run(run_id, begun_with=[f"{run_id}/m/1/"])
    await store.drop(new.key)

    assert begun is None
    assert again == replace(new, task_id="t", context_id="c", answered="a")
    assert (list(of_visit), list(of_another)) == ([again], [])
    assert list(await store.of_run(run_id, begun_with=[""])) == []


async def test_what_was_delegated_by_runs_that_ended_is_found(database: Transactions) -> None:
    runs, run_id = await a_run(database)
    store = SqlDelegationStore(database)
    new = Delegation(key=f"{run_id}/n/1/1/1", run_id=run_id, agent="echo", begun_time=NOW)
    await store.begin(new)
    before = await store.orphans(limit=10)
    await runs.finish(run_id, ending_of(RunStatus.CANCELLED, since=NOW), None, owner=None)

    assert list(before) == []
    assert [found for found, _ in await store.orphans(limit=10)] == [new]
