"""How programs are checked, queued, answered once, and judged."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.sandbox import WALLS, FakeContainers, FakeRunner, ending

from cadre_sandbox.domain.answers import Answers, KeyReused
from cadre_sandbox.domain.capacity import Capacity
from cadre_sandbox.domain.endings import execution_of
from cadre_sandbox.domain.executions import (
    CodeTooLong,
    Execution,
    File,
    FileRefused,
    HostNotAllowed,
    LimitOutOfRange,
    Limits,
    Mode,
    ModeNotOffered,
    Outcome,
    PackageNotAllowed,
    SandboxBusy,
    SandboxTooWeak,
    UsedUp,
    Wall,
)
from cadre_sandbox.domain.outputs import Kept
from cadre_sandbox.domain.presets import Preset, granted
from cadre_sandbox.domain.sandbox import Asked, Sandbox
from cadre_sandbox.domain.sessions import Lifetime, Sessions

CEILING = Limits(
    timeout_seconds=300, cpu_seconds=300, memory_mb=2048, output_bytes=4 * 2**20, cpus=4
)
DEFAULT = Limits(timeout_seconds=0, cpu_seconds=0, memory_mb=0, output_bytes=0, cpus=0)
LIMITS = Limits(timeout_seconds=2, cpu_seconds=1, memory_mb=64, output_bytes=100)


def sandbox(runner: FakeRunner, *, running: int = 2, waiting: int = 1, **options: Any) -> Sandbox:
    answers = Answers(
        seconds=600, count=10, characters=1000, clock=options.pop("clock", lambda: 0.0)
    )
    return Sandbox(
        runner=runner,
        containers=options.pop("containers", FakeContainers(OK)),
        capacity=Capacity(running=running, waiting=waiting),
        answers=answers,
        ceiling=CEILING,
        modules=("math",),
        allow_weaker=options.pop("allow_weaker", False),
        sessions=Sessions(most=2),
        longest=Lifetime(idle_seconds=60, total_seconds=100),
    )


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


async def execute(box: Sandbox, code: str = "ok", *, key: str = "", **limits: Any) -> Execution:
    asked = asked_for(code, limits=Limits(**{**vars(DEFAULT), **limits}))
    return await box.execute(asked, key=key, request=code.encode())


def asked_for(code: str = "ok", **more: Any) -> Asked:
    return Asked(**{"code": code, "inputs": {}, "limits": DEFAULT, **more})


OK = {"ok": ending(stdout=b"1\n", result=b"1")}


async def test_a_program_runs_and_its_result_comes_back() -> None:
    done = await execute(sandbox(FakeRunner(OK)))

    assert (done.outcome, done.stdout, done.result) == (Outcome.SUCCEEDED, "1\n", "1")


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout_seconds": 301},
        {"timeout_seconds": -1},
        {"timeout_seconds": float("nan")},
        {"cpu_seconds": 1e9},
        {"memory_mb": 31},
        {"memory_mb": 4096},
        {"output_bytes": 2**30},
    ],
)
async def test_a_limit_out_of_range_is_refused_by_name(limits: Mapping[str, Any]) -> None:
    with pytest.raises(LimitOutOfRange, match=next(iter(limits))):
        await execute(sandbox(FakeRunner(OK)), **limits)


async def test_a_program_over_a_megabyte_is_refused() -> None:
    with pytest.raises(CodeTooLong):
        await execute(sandbox(FakeRunner(OK)), "#" * (1024 * 1024 + 1))


@pytest.mark.parametrize("lost", ["language", "process", "limits", "syscalls"])
async def test_code_does_not_run_behind_too_few_walls(lost: str) -> None:
    walls = [Wall(name=w.name, holds=w.name != lost, detail="") for w in WALLS]
    runner = FakeRunner(OK, walls)

    with pytest.raises(SandboxTooWeak, match=lost):
        await execute(sandbox(runner))
    assert not sandbox(runner).capabilities().modes[:-1]
    assert (await execute(sandbox(runner, allow_weaker=True))).outcome is Outcome.SUCCEEDED


async def test_a_full_queue_says_so_and_empties_again() -> None:
    runner = FakeRunner(OK)
    box = sandbox(runner, running=1, waiting=1)
    tasks = [asyncio.create_task(execute(box, "sleeps")) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(SandboxBusy):
        await execute(box)

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert runner.running == 0
    assert (await execute(box)).outcome is Outcome.SUCCEEDED


async def test_groups_that_wait_take_turns() -> None:
    capacity = Capacity(running=1, waiting=10)
    order: list[str] = []

    async def one(group: str) -> None:
        async with capacity.place(group):
            order.append(group)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for group in ["a", "a", "a", "a", "b", "c"]:
            tasks.create_task(one(group))

    assert order == ["a", "a", "b", "c", "a", "a"]


async def test_a_repeated_key_gets_the_first_answer() -> None:
    runner = FakeRunner(OK)
    box = sandbox(runner)

    first, second = [await execute(box, key="run/1") for _ in range(2)]

    assert first is second
    assert runner.ran == ["ok"]


async def test_a_key_with_another_request_is_refused() -> None:
    box = sandbox(FakeRunner({**OK, "other": ending()}))
    await execute(box, key="run/1")

    with pytest.raises(KeyReused):
        await execute(box, "other", key="run/1")


async def test_two_calls_with_one_key_share_one_run_until_nobody_waits() -> None:
    runner = FakeRunner(OK)
    box = sandbox(runner)
    first, second = [asyncio.create_task(execute(box, "sleeps", key="k")) for _ in range(2)]
    await until(lambda: runner.running == 1)

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert runner.running == 1
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await until(lambda: runner.running == 0)

    assert runner.ran == ["sleeps"]
    assert (await execute(box, key="k")).outcome is Outcome.SUCCEEDED


async def test_answers_are_forgotten_in_time() -> None:
    now = [0.0]
    runner = FakeRunner(OK)
    box = sandbox(runner, clock=lambda: now[0])
    await execute(box, key="k")

    now[0] = 601
    await execute(box, key="k")

    assert runner.ran == ["ok", "ok"]


async def test_answers_that_are_too_many_push_out_the_oldest() -> None:
    runner = FakeRunner(OK)
    box = sandbox(runner)
    for number in range(12):
        await execute(box, key=f"k{number}")

    await execute(box, key="k11")
    await execute(box, key="k0")

    assert len(runner.ran) == 13


JUDGED = [
    (ending(killed="time", status=-9), Outcome.LIMIT, "LIMIT_TIME", [UsedUp.TIME]),
    (ending(killed="cpu", status=-9), Outcome.LIMIT, "LIMIT_CPU", [UsedUp.CPU]),
    (ending(killed="output", status=-9), Outcome.LIMIT, "LIMIT_OUTPUT", [UsedUp.OUTPUT]),
    (ending(status=-9, cpu_ms=1500), Outcome.LIMIT, "LIMIT_CPU", [UsedUp.CPU]),
    (ending(status=-31), Outcome.BLOCKED, "CODE_BLOCKED", []),
    (ending(status=-11), Outcome.FAILED, "PROGRAM_CRASHED", []),
    (ending(result=b"x", result_cut=True), Outcome.LIMIT, "LIMIT_OUTPUT", [UsedUp.OUTPUT]),
    (ending(result=b"{not json"), Outcome.FAILED, "RESULT_NOT_JSON", []),
    (ending(result=b"\xff"), Outcome.FAILED, "RESULT_NOT_JSON", []),
    (ending(said={"outcome": "made up"}), Outcome.BLOCKED, "CODE_BLOCKED", []),
    (ending(said={"outcome": "blocked"}), Outcome.BLOCKED, "CODE_BLOCKED", []),
    (
        ending(said={"outcome": "limit", "code": "LIMIT_MEMORY"}),
        Outcome.LIMIT,
        "LIMIT_MEMORY",
        [UsedUp.MEMORY],
    ),
]


@pytest.mark.parametrize(("ended", "outcome", "code", "reached"), JUDGED)
def test_each_end_has_its_meaning(
    ended: Any, outcome: Outcome, code: str, reached: list[UsedUp]
) -> None:
    execution = execution_of(ended, LIMITS)

    assert execution.failure is not None
    assert (execution.outcome, execution.failure.code) == (outcome, code)
    assert execution.limits_reached == reached
    assert execution.failure.resolution
    assert execution.result is None


def test_text_of_a_failure_is_safe_to_show_and_to_send() -> None:
    said = {"outcome": "failed", "message": "a\x1b[2J\ud800" + "x" * 5000}

    failure = execution_of(ending(said=said), LIMITS).failure

    assert failure is not None
    assert failure.message.startswith("a\\x1b[2J\\ud800xxx")
    assert len(failure.message) < 2100


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_output_keeps_its_head_and_its_tail_within_the_limit(
    parts: list[bytes], limit: int
) -> None:
    kept, whole = Kept(limit), b"".join(parts)
    for part in parts:
        kept.add(part)

    content = kept.content()

    assert kept.cut == (len(whole) > limit)
    if not kept.cut:
        assert content == whole
        return
    head, tail = limit - limit // 2, limit // 2
    assert content[:head] == whole[:head]
    assert content[len(content) - tail :] == whole[len(whole) - tail :]
    assert f" {len(whole) - limit} bytes left out".encode() in content


@pytest.mark.parametrize(
    ("preset", "cpus", "memory_mb", "timeout_seconds"),
    [
        (Preset.NONE, 1, 256, 10),
        (Preset.LOW, 0.5, 256, 30),
        (Preset.MEDIUM, 1, 512, 60),
        (Preset.HIGH, 2, 1024, 120),
        (Preset.MAX, 4, 2048, 300),
    ],
)
def test_a_preset_says_what_a_program_may_use(
    preset: Preset, cpus: float, memory_mb: int, timeout_seconds: float
) -> None:
    limits = granted(DEFAULT, preset, CEILING)

    assert (limits.cpus, limits.memory_mb, limits.timeout_seconds) == (
        cpus,
        memory_mb,
        timeout_seconds,
    )
    assert limits.cpu_seconds == min(cpus * timeout_seconds, 300)


def test_a_preset_is_lowered_to_the_ceiling_and_a_limit_of_ones_own_comes_first() -> None:
    ceiling = replace(CEILING, memory_mb=300, cpus=1)

    limits = granted(replace(DEFAULT, timeout_seconds=5), Preset.MAX, ceiling)

    assert (limits.memory_mb, limits.cpus, limits.timeout_seconds) == (300, 1, 5)


async def test_a_program_for_a_container_runs_in_one() -> None:
    runner, containers = FakeRunner(), FakeContainers(OK)
    box = sandbox(runner, containers=containers)

    done = await box.execute(asked_for(mode=Mode.DOCKER), key="", request=b"")

    assert done.outcome is Outcome.SUCCEEDED
    assert (runner.ran, containers.ran) == ([], ["ok"])
    assert "network" in done.walls


async def test_without_an_engine_the_mode_says_so() -> None:
    box = sandbox(FakeRunner(OK), containers=FakeContainers(missing="no engine answers"))

    with pytest.raises(ModeNotOffered, match="no engine answers"):
        await box.execute(asked_for(mode=Mode.DOCKER), key="", request=b"")
    assert box.capabilities().modes == [Mode.PYTHON]


@pytest.mark.parametrize("lost", ["network", "user", "privileges", "files", "limits", "syscalls"])
async def test_a_container_that_lacks_a_wall_runs_nothing(lost: str) -> None:
    walls = [replace(w, holds=w.name != lost) for w in FakeContainers().walls()]
    box = sandbox(FakeRunner(OK), containers=FakeContainers(OK, walls))

    with pytest.raises(SandboxTooWeak, match=lost):
        await box.execute(asked_for(mode=Mode.DOCKER), key="", request=b"")


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a\0b", "x" * 201])
async def test_a_file_outside_the_programs_folder_is_refused(name: str) -> None:
    asked = asked_for(mode=Mode.DOCKER, files=[File(name=name, content=b"")])

    with pytest.raises(FileRefused):
        await sandbox(FakeRunner(OK)).execute(asked, key="", request=b"")


async def test_packages_and_hosts_are_for_containers_and_packages_of_the_list() -> None:
    box = sandbox(FakeRunner(OK))

    with pytest.raises(PackageNotAllowed, match="mode python"):
        await box.execute(asked_for(packages=frozenset(["numpy"])), key="", request=b"")
    with pytest.raises(HostNotAllowed, match="mode python"):
        await box.execute(asked_for(hosts=frozenset(["example.com"])), key="", request=b"")
    asked = asked_for(mode=Mode.DOCKER, packages=frozenset(["evil"]))
    with pytest.raises(PackageNotAllowed, match="evil"):
        await box.execute(asked, key="", request=b"")


async def test_output_is_passed_on_as_it_is_written() -> None:
    heard: list[tuple[bool, bytes]] = []

    done = await sandbox(FakeRunner(OK)).stream(
        asked_for(), key="", on_output=lambda is_stderr, data: heard.append((is_stderr, data))
    )

    assert heard == [(False, b"1\n")]
    assert done.stdout == "1\n"
