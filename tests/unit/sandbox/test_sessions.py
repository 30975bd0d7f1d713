"""How sessions are opened, used, bounded and given back, and which hosts a program may ask for."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.sandbox import FakeContainers, FakeRunner, ending
from tests.unit.sandbox.test_domain import DEFAULT, sandbox, until

from cadre_kit.errors import CadreError
from cadre_sandbox.domain.answers import KeyReused
from cadre_sandbox.domain.executions import (
    File,
    FileNotFound,
    HostNotAllowed,
    LimitOutOfRange,
    Limits,
    Mode,
)
from cadre_sandbox.domain.hosts import HostList
from cadre_sandbox.domain.presets import Preset
from cadre_sandbox.domain.sandbox import Asked, Sandbox
from cadre_sandbox.domain.sessions import Session, SessionFixed, SessionNotFound, TooManySessions

OK = {"1": ending(stdout=b"one\n")}


def asked(code: str = "1", **more: Any) -> Asked:
    return Asked(code=code, inputs={}, limits=more.pop("limits", DEFAULT), **more)


async def opened(service: Sandbox, key: str = "", **more: Any) -> Session:
    idle, total = more.pop("idle", 0.0), more.pop("total", 0.0)
    return await service.open_session(
        asked("", **more), idle_seconds=idle, total_seconds=total, key=key, request=key.encode()
    )


async def may_open(service: Sandbox) -> bool:
    try:
        await opened(service)
    except TooManySessions:
        return False
    return True


async def run(service: Sandbox, session: Session, code: str = "1", **more: Any) -> str:
    answer = await service.execute(asked(code, session_id=session.id, **more), key="", request=b"")
    return answer.stdout


async def until_later(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a clock, which sets no event
            await asyncio.sleep(0.01)


async def test_ids_cannot_be_guessed_and_one_says_nothing_of_another() -> None:
    service = sandbox(FakeRunner(OK))

    first, second = await opened(service), await opened(service)

    assert first.id != second.id
    assert min(len(first.id), len(second.id)) >= 32
    assert first.id not in repr(first)


async def test_a_closed_session_is_gone_and_closing_it_again_says_so() -> None:
    service = sandbox(runner := FakeRunner(OK))
    session = await opened(service)
    assert await run(service, session) == "one\n"

    assert await service.close_session(session.id)

    assert not await service.close_session(session.id)
    assert runner.kernels[0].ended.is_set()
    with pytest.raises(SessionNotFound):
        await run(service, session)


async def test_an_idle_session_ends_and_one_in_use_does_not() -> None:
    service = sandbox(runner := FakeRunner(OK))
    session = await opened(service, idle=1.0)
    busy = asyncio.create_task(run(service, session, "sleeps", limits=limits(timeout_seconds=1.5)))

    await busy
    assert not runner.kernels[0].ended.is_set()

    await until_later(runner.kernels[0].ended.is_set)
    with pytest.raises(SessionNotFound):
        await run(service, session)


async def test_a_session_ends_with_its_total_time_also_while_it_is_used() -> None:
    service = sandbox(runner := FakeRunner(OK))
    session = await opened(service, total=1.0)
    busy = asyncio.create_task(run(service, session, "sleeps"))

    await until_later(runner.kernels[0].ended.is_set)

    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)


async def test_a_session_whose_process_died_frees_its_place() -> None:
    service = sandbox(runner := FakeRunner(OK))
    first, _ = await opened(service), await opened(service)
    with pytest.raises(TooManySessions):
        await opened(service)

    runner.kernels[0].ended.set()

    with pytest.raises(SessionNotFound):
        await run(service, first)
    async with asyncio.timeout(10):
        while not await may_open(service):  # noqa: ASYNC110 - a task of the service's own
            await asyncio.sleep(0)


async def test_a_repeated_key_gets_the_same_session_as_long_as_it_is_open() -> None:
    service = sandbox(FakeRunner(OK))
    first, again = await asyncio.gather(opened(service, "run/1"), opened(service, "run/1"))
    with pytest.raises(KeyReused):
        await service.open_session(
            asked(""), idle_seconds=0, total_seconds=0, key="run/1", request=b"another"
        )

    await service.close_session(first.id)

    assert again is first
    assert (await opened(service, "run/1")).id != first.id


@pytest.mark.parametrize("key", ["", "run/1"])
async def test_a_session_that_nobody_waits_for_any_more_is_not_opened(key: str) -> None:
    service = sandbox(runner := FakeRunner(OK))
    runner.may_open.clear()
    opening = [asyncio.create_task(opened(service, key)) for _ in range(2)]
    await asyncio.sleep(0.01)

    for one in opening:
        one.cancel()
    await asyncio.gather(*opening, return_exceptions=True)
    runner.may_open.set()
    first, second = await opened(service, key), await opened(service, "run/2")

    assert len(runner.kernels) == 2
    assert first is not second


@pytest.mark.parametrize("key", ["", "run/1"])
async def test_a_session_that_opens_as_its_only_caller_leaves_is_closed(key: str) -> None:
    service = sandbox(runner := FakeRunner(OK))
    runner.may_open.clear()
    opening = asyncio.create_task(opened(service, key))
    await asyncio.sleep(0.01)

    runner.may_open.set()
    await until(lambda: len(runner.kernels) == 1)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)

    await until(runner.kernels[0].ended.is_set)
    assert await may_open(service)


async def test_a_session_that_one_of_two_callers_has_got_stays_open() -> None:
    service = sandbox(runner := FakeRunner(OK))
    runner.may_open.clear()
    first, second = (asyncio.create_task(opened(service, "run/1")) for _ in range(2))
    await asyncio.sleep(0.01)

    second.cancel()
    runner.may_open.set()
    session = await first

    assert await run(service, session) == "one\n"


async def test_one_call_at_a_time_runs_in_a_session() -> None:
    service = sandbox(runner := FakeRunner(OK), running=4)
    session = await opened(service)
    calls = [asyncio.create_task(run(service, session, "sleeps")) for _ in range(2)]

    await until(lambda: runner.running == 1)
    await asyncio.sleep(0)

    assert runner.running == 1
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def limits(**values: float) -> Limits:
    return Limits(**{**dict.fromkeys(DEFAULT.__dataclass_fields__, 0), **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {"preset": Preset.HIGH},
        {"packages": frozenset({"numpy"})},
        {"hosts": frozenset({"data.example.org"})},
        {"limits": limits(memory_mb=64)},
        {"limits": limits(cpus=1)},
    ],
    ids=["preset", "packages", "hosts", "memory", "cpus"],
)
async def test_what_was_settled_at_opening_is_not_asked_for_again(more: Any) -> None:
    service = sandbox(FakeRunner(OK))
    session = await opened(service)

    with pytest.raises(SessionFixed):
        await run(service, session, **more)


async def test_a_call_gets_at_most_the_time_of_its_session() -> None:
    service = sandbox(FakeRunner(OK))
    session = await opened(service, limits=limits(timeout_seconds=5))

    with pytest.raises(LimitOutOfRange, match="timeout_seconds is 6"):
        await run(service, session, limits=limits(timeout_seconds=6))
    with pytest.raises(LimitOutOfRange, match="idle_seconds is 61"):
        await opened(service, idle=61)


async def test_files_of_a_session_are_written_listed_and_read() -> None:
    service = sandbox(FakeRunner(OK))
    session = await opened(service, mode=Mode.DOCKER)

    await service.write_file(session.id, File(name="a/b.csv", content=b"1"))

    assert [entry.name for entry in await service.list_files(session.id)] == ["a/b.csv"]
    assert (await service.read_file(session.id, "a/b.csv")).content == b"1"
    with pytest.raises(FileNotFound):
        await service.read_file(session.id, "nothing")
    with pytest.raises(CadreError, match="is not allowed"):
        await service.write_file(session.id, File(name="../x", content=b""))


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("data.example.org", True),
        ("Data.Example.org.", True),
        ("a.example.com", True),
        ("*.sub.example.com", True),
        ("wiki:8080", True),
        ("data.example.org:443", True),
        ("wiki", False),
        ("example.com", False),
        ("evilexample.com", False),
        ("data.example.org:22", False),
        ("data.example.org.evil.com", False),
        ("169.254.169.254", False),
    ],
)
async def test_a_program_may_ask_for_hosts_that_the_operator_lists(
    host: str, allowed: bool
) -> None:
    containers = FakeContainers(OK)
    service = sandbox(FakeRunner(OK), containers=containers)
    wanted = asked(mode=Mode.DOCKER, hosts=frozenset({host}))

    if allowed:
        done = await service.execute(wanted, key="", request=b"")
        assert "proxy" in done.walls
        assert "network" not in done.walls
        return
    with pytest.raises(HostNotAllowed):
        await service.execute(wanted, key="", request=b"")


@pytest.mark.parametrize("host", ["data.example.org", "*"])
async def test_where_no_host_can_be_reached_asking_for_one_says_why(host: str) -> None:
    containers = FakeContainers(OK)
    containers.hosts, containers.hosts_missing = (), "the wire is cut"
    service = sandbox(FakeRunner(OK), containers=containers)

    with pytest.raises(HostNotAllowed, match="the wire is cut"):
        await service.execute(asked(mode=Mode.DOCKER, hosts=frozenset({host})), key="", request=b"")
    assert containers.ran == []


def test_a_host_without_a_port_means_the_two_of_the_web() -> None:
    hosts = HostList(["data.example.org", "*.example.com", "wiki:8080", "[2001:db8::1]:443"])

    assert hosts.allows("data.example.org", 443)
    assert hosts.allows("a.b.example.com", 80)
    assert hosts.allows("wiki", 8080)
    assert hosts.allows("2001:db8::1", 443)
    assert not hosts.allows("data.example.org", 8443)
    assert not hosts.allows("wiki", 80)
    assert HostList(["*"]).allows("anything.at.all", 443)
