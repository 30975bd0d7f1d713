"""Workflows that call the real tools, through the API of the executor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import Neighbours, calls
from tests.service.executor.conftest import Executor, outputs, reached

from cadre.executor.v1 import runs_pb2
from cadre_executor.app import build
from cadre_executor.settings import Settings
from cadre_kit.channels import connect
from cadre_kit.serving import serving

FILES = """
flow: {name: files}
state: {fields: {text: {type: str, required: true}, found: {type: str, default: ""}, files: {type: any, default: null}}}
nodes:
  - {id: save, type: tool, tool: file_write, arguments: {path: notes/a.md, content: "{state.text}"}}
  - {id: load, type: tool, tool: file_read, arguments: {path: notes/a.md}, outputs: [found]}
  - {id: list, type: tool, tool: file_glob, arguments: {pattern: "**/*.md"}, outputs: [files]}
edges:
  - {from: START, to: save}
  - {from: save, to: load}
  - {from: load, to: list}
  - {from: list, to: END}
"""
ESCAPE = """
flow: {name: escape}
state: {fields: {path: {type: str, required: true}, found: {type: str, default: ""}}}
nodes:
  - {id: load, type: tool, tool: file_read, arguments: {path: "{state.path}"}, outputs: [found]}
edges:
  - {from: START, to: load}
  - {from: load, to: END}
"""
MODEL = """
flow: {name: looking}
state: {fields: {answer: {type: str, default: ""}}}
nodes:
  - id: answer
    prompt: Write it down.
    tools: [file_write, {name: http_get, on_error: continue}]
    outputs: [answer]
edges:
  - {from: START, to: answer}
  - {from: answer, to: END}
"""


@asynccontextmanager
async def executor_of(home: Path, near: Neighbours, **more: Any) -> AsyncIterator[Executor]:
    given: dict[str, Any] = {
        "home": home,
        "llm_proxy_address": near.address,
        "sandbox_address": near.address,
        "memory_address": near.address,
        "traces_endpoint": "",
        **more,
    }
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(build(Settings(_env_file=None, **given)))
        address = await stack.enter_async_context(serving(services, host="127.0.0.1", port=0))
        channel = await stack.enter_async_context(connect(address))
        yield Executor(address=address, channel=channel)


@pytest.fixture
async def executor(tmp_path: Path, near: Neighbours) -> AsyncIterator[Executor]:
    async with executor_of(tmp_path, near) as found:
        yield found


async def test_nodes_share_the_files_of_their_run(executor: Executor) -> None:
    first, _ = await executor.finish(FILES, text="hello")
    second, _ = await executor.finish(FILES, text="other")

    assert outputs(first)["found"] == "hello"
    assert outputs(second)["found"] == "other"
    assert outputs(second)["files"] == {
        "files": [{"path": "notes/a.md", "size": 5}],
        "more": False,
    }


async def test_a_run_cannot_read_what_is_not_its_own(executor: Executor, tmp_path: Path) -> None:
    first, _ = await executor.finish(FILES, text="hello")

    for path in (f"../{first.id}/notes/a.md", "/etc/passwd", "../../executor.db"):
        run, _ = await executor.finish(ESCAPE, path=path)
        assert run.status == runs_pb2.RUN_STATUS_FAILED
        assert run.error.code == "PATH_OUTSIDE_WORKSPACE"


async def test_a_model_writes_a_file_and_is_told_that_this_machine_is_out_of_reach(
    executor: Executor, near: Neighbours, tmp_path: Path
) -> None:
    replies = iter(
        [
            calls(
                ("file_write", {"path": "a.txt", "content": "seen"}),
                ("http_get", {"url": "http://127.0.0.1:1/"}),
            ),
            "done",
        ]
    )
    asked: list[Any] = []

    def answer(request: Any) -> Any:
        asked.append(request)
        return next(replies)

    near.llm_proxy.answer = answer

    run, _ = await executor.finish(MODEL)

    assert outputs(run)["answer"] == "done"
    assert "ADDRESS_REFUSED" in asked[1].messages[-1].content
    written = tmp_path / "workspaces" / run.id / "a.txt"
    assert await asyncio.to_thread(written.read_text) == "seen"


async def test_files_are_kept_after_a_run_s_end_and_then_freed(
    near: Neighbours, tmp_path: Path
) -> None:
    async with executor_of(tmp_path, near) as executor:
        run, _ = await executor.finish(FILES, text="hello")
    folder = tmp_path / "workspaces" / run.id
    stranger = tmp_path / "workspaces" / "01STRANGER"
    await asyncio.to_thread(stranger.mkdir)

    async with executor_of(tmp_path, near):
        await reached(lambda: not stranger.exists())
        assert await asyncio.to_thread(folder.is_dir)
    async with executor_of(tmp_path, near, workspace_keep_days=0):
        await reached(lambda: not folder.exists())
