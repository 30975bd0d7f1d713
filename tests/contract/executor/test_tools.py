"""What the engine asks of tools, held to by the real ones and by the tests' own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import neighbours
from tests.fakes.tools import FakeTools
from tests.fakes.website import website
from tests.unit.executor_tools.conftest import bench_in, context

from cadre_executor.domain.catalogue import CATALOGUE
from cadre_executor.domain.tools import Tools, UnknownTool
from cadre_executor.domain.workflows import ToolUse
from cadre_kit.errors import InvalidInput

PARSE = ToolUse(name="json_parse")


@pytest.fixture(params=["real", "fake"])
async def tools(request: Any, tmp_path: Path) -> AsyncIterator[Tools]:
    if request.param == "fake":
        yield FakeTools()
        return
    async with neighbours() as near, bench_in(tmp_path, memory_address=near.address) as bench:
        yield bench.tools


async def test_specs_are_the_catalogue_s_in_order(tools: Tools) -> None:
    uses = [ToolUse(name=name) for name in ("web_search", "http_get", "python")]

    specs = await tools.specs(uses, context=context())

    assert list(specs) == [CATALOGUE[use.name].spec for use in uses]


async def test_a_call_gives_a_value(tools: Tools) -> None:
    result = await tools.invoke(PARSE, {"text": "[1]"}, context=context(), seconds=5.0)

    assert result.value is not None


@pytest.mark.parametrize("arguments", [{}, {"text": 1}, {"text": "1", "more": 2}])
async def test_arguments_that_do_not_fit_are_refused(
    tools: Tools, arguments: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await tools.invoke(PARSE, arguments, context=context(), seconds=5.0)


async def test_an_unknown_tool_is_refused(tools: Tools) -> None:
    use = ToolUse(name="no_such_tool")

    with pytest.raises(UnknownTool):
        await tools.specs([use], context=context())
    with pytest.raises(UnknownTool):
        await tools.invoke(use, {}, context=context(), seconds=5.0)


@pytest.mark.parametrize("kind", ["real", "fake"])
async def test_cancelling_stops_a_call(kind: str, tmp_path: Path) -> None:
    async with website() as site, bench_in(tmp_path, allowed_addresses="127.0.0.1") as bench:
        site.hang = True
        fake = FakeTools()
        fake.gate.clear()
        tools: Tools = fake if kind == "fake" else bench.tools
        asked = tools.invoke(
            ToolUse(name="http_get"), {"url": site.url}, context=context(), seconds=30.0
        )
        call = asyncio.create_task(asked)
        while not fake.keys and not site.was_asked.is_set():
            await asyncio.wait([call], timeout=0.01)

        call.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 2)


async def test_what_is_kept_for_a_run_can_be_freed_twice(tools: Tools) -> None:
    await tools.release("01RUN")
    await tools.release("01RUN")

    assert "01RUN" not in await tools.held_by()
