"""Cancelling a run ends what it has under way, of every kind, within two seconds."""

import time

import pytest
from tests.fakes.executor import Neighbours
from tests.fakes.tools import FakeTools
from tests.service.executor.conftest import Executor, reached

from cadre.executor.v1 import runs_pb2

KINDS = {
    "model": "prompt: x",
    "stream": "prompt: x\n    stream: true",
    "program": 'code: "# SLEEP"',
    "tool": "type: tool\n    tool: json_parse\n    arguments: {text: x}",
    "models": 'prompt: "{item}"\n    for_each: {items: [1, 2, 3, 4], max_concurrency: 3}',
    "programs": 'code: "# SLEEP"\n    for_each: {items: [1, 2, 3, 4], max_concurrency: 3}',
    "child": "workflow: inner",
    "children": "workflow: inner\n    for_each: {items: [1, 2, 3], max_concurrency: 2}",
    "backoff": 'code: "result = 1 / 0"\n    retry: {max_attempts: 5, backoff_seconds: 60, on: [CODE_FAILED]}',
}


def flow(name: str, action: str) -> str:
    return f"""
flow: {{name: {name}}}
state: {{fields: {{out: {{type: any, default: null}}}}}}
nodes:
  - id: work
    {action}
    outputs: {{out: .}}
edges:
  - {{from: START, to: work}}
  - {{from: work, to: END}}
"""


@pytest.mark.parametrize("kind", KINDS)
async def test_cancelling_ends_what_is_under_way(
    executor: Executor, near: Neighbours, tools: FakeTools, kind: str
) -> None:
    def under_way() -> int:
        asked = len(near.llm_proxy.asked) - len(near.llm_proxy.cancelled)
        return asked + near.sandbox.under_way + tools.at_once

    near.llm_proxy.gate.clear()
    tools.gate.clear()
    await executor.apply(flow("inner", 'code: "# SLEEP"'))
    run = await executor.start(flow("outer", KINDS[kind]))
    await reached(lambda: under_way() > 0 or (kind == "backoff" and bool(near.sandbox.requests)))

    began = time.monotonic()
    cancelled = await executor.cancel(run.id)
    await reached(lambda: under_way() == 0)

    assert cancelled.status == runs_pb2.RUN_STATUS_CANCELLED
    assert time.monotonic() - began < 2.0
