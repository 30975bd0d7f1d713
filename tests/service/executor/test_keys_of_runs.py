"""Runs name the API key that started them, and what they use is attributed to it."""

import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor
from tests.service.executor.test_children import INNER, calling
from tests.service.executor.test_scheduled_runs import listed

from cadre.executor.v1 import runs_pb2
from cadre_kit.documents import to_json
from cadre_kit.errors import InvalidInput


async def started(
    executor: Executor, source: str, *, api_key: str, key: str = ""
) -> runs_pb2.StartRunResponse:
    request = runs_pb2.StartRunRequest(
        source=source, inputs=to_json({"message": "hi"}), api_key=api_key
    )
    answer: runs_pb2.StartRunResponse = await executor.ask(executor.runs.StartRun, request, key=key)
    await executor.events(answer.run.id)
    return answer


async def test_a_run_and_its_steps_name_their_key_also_to_the_ledger(
    executor: Executor, near: Neighbours
) -> None:
    await executor.apply(INNER)

    run = (await started(executor, calling(), api_key="ci")).run
    other = (await started(executor, calling(), api_key="")).run

    assert (run.api_key, other.api_key) == ("ci", "")
    child = next(r for r in await listed(executor, workflow="inner") if r.parent_run_id == run.id)
    assert child.api_key == "ci"
    assert [r.attribution.api_key for r in near.llm_proxy.requests.values()] == ["ci", ""]


async def test_a_fork_is_of_the_key_that_forked_it(executor: Executor) -> None:
    await executor.apply(INNER)
    run = (await started(executor, calling(), api_key="ci")).run

    request = runs_pb2.ForkRunRequest(run_id=run.id, api_key="ann")
    fork = (await executor.ask(executor.runs.ForkRun, request)).run

    assert fork.api_key == "ann"


async def test_a_repeated_request_stays_the_first_keys(executor: Executor) -> None:
    await executor.apply(INNER)
    first = await started(executor, calling(), api_key="ci", key="once")

    again = await started(executor, calling(), api_key="ann", key="once")

    assert (again.run.id, again.run.api_key, again.created) == (first.run.id, "ci", False)


async def test_a_keys_name_has_a_limit(executor: Executor) -> None:
    with pytest.raises(InvalidInput):
        await started(executor, calling(), api_key="x" * 101)
