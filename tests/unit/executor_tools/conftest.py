"""The real tools as the engine calls them, over a folder of the test's own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import neighbours
from tests.fakes.website import Website, website

from cadre_executor.adapters.tools.toolbox import Toolbox
from cadre_executor.app import open_tools
from cadre_executor.domain.tools import ToolContext
from cadre_executor.domain.workflows import McpServer, ToolUse, Workflow
from cadre_executor.settings import Settings
from cadre_kit.ids import new_id

RUN = "01RUN"


def context(
    run_id: str = RUN, *, secrets: tuple[str, ...] = (), servers: tuple[McpServer, ...] = ()
) -> ToolContext:
    workflow = Workflow(
        name="triage",
        fields={},
        nodes={},
        exits={},
        secrets=secrets,
        mcp_servers={server.name: server for server in servers},
    )
    return ToolContext(
        workflow=workflow,
        version=1,
        run_id=run_id,
        root_run_id=run_id,
        node="n",
        key="k",
        namespace=("workflow", "triage"),
    )


class Bench:
    """Calls tools with little to say."""

    def __init__(self, tools: Toolbox) -> None:
        self.tools = tools

    async def __call__(
        self,
        name: str,
        /,
        *,
        config: Mapping[str, Any] | None = None,
        context: ToolContext = context(),  # noqa: B008 - frozen
        seconds: float = 20.0,
        **arguments: Any,
    ) -> Any:
        use = ToolUse(name=name, config=config or {})
        own = replace(context, key=new_id())
        result = await self.tools.invoke(use, arguments, context=own, seconds=seconds)
        return result.value


@asynccontextmanager
async def bench_in(home: Path, /, **given: Any) -> AsyncIterator[Bench]:
    """The tools with settings, and `variables` as the executor's environment."""
    variables = given.pop("variables", {})
    settings = Settings(_env_file=None, home=home, traces_endpoint="", **given)
    async with open_tools(settings, variables) as tools:
        assert isinstance(tools, Toolbox)
        yield Bench(tools)


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    async with website() as found:
        yield found


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The tools with nothing set up, beside a sandbox and a memory of the tests' own."""
    async with neighbours() as near:
        async with bench_in(
            tmp_path, sandbox_address=near.address, memory_address=near.address
        ) as found:
            yield found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The folder of the run's files, as somebody on this machine would see it."""
    folder = tmp_path / "workspaces" / RUN
    folder.mkdir(parents=True)
    return folder
