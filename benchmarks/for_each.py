"""A for_each over 1,000 items, durable, against an asyncio.gather of the same calls; the llm-proxy answers at once.

The real llm-proxy takes longer for each call, which both sides pay: the ratio with it is smaller. Aim: under 3x.
"""

import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import runs_pb2, runs_pb2_grpc
from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
from cadre_executor.app import build
from cadre_executor.settings import Settings
from cadre_kit.channels import call, connect, stream
from cadre_kit.documents import to_json
from cadre_kit.logs import configure_logs
from cadre_kit.serving import GrpcService, run_in_loop, serving

ITEMS = 1000
ROUNDS = 5
AT_ONCE = 16
WORDS = [f"word {number}" for number in range(ITEMS)]
SOURCE = f"""
flow: {{name: many}}
state: {{fields: {{words: {{type: "list[str]", required: true}}, said: {{type: list, default: []}}}}}}
nodes:
  - id: say
    prompt: "Say {{item}}"
    for_each: {{items: "{{state.words}}", max_concurrency: {AT_ONCE}}}
    outputs: [said]
edges:
  - {{from: START, to: say}}
  - {{from: say, to: END}}
"""


class AtOnce(llm_pb2_grpc.LlmServiceServicer):
    """An llm-proxy that answers every call at once."""

    async def Complete(
        self, request: llm_pb2.CompleteRequest, context: Any
    ) -> llm_pb2.CompleteResponse:
        """A word."""
        usage = common_pb2.Usage(input_tokens=10, output_tokens=1, cost_usd="0.001", calls=1)
        reply = llm_pb2.Reply(
            content="hello", finish_reason=llm_pb2.FINISH_REASON_STOP, usage=usage
        )
        return llm_pb2.CompleteResponse(reply=reply)


async def gathered(channel: grpc.aio.Channel) -> None:
    """The calls alone, as many at once as the for_each makes."""
    stub = llm_pb2_grpc.LlmServiceStub(channel)
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int) -> None:
        message = llm_pb2.Message(role=llm_pb2.ROLE_USER, content=f"Say {WORDS[number]}")
        async with gate:
            await call(
                stub.Complete,
                llm_pb2.CompleteRequest(messages=[message], timeout_seconds=60),
                service="llm-proxy",
                timeout_seconds=60.0,
                idempotency_key=f"bench/{number}",
            )

    await asyncio.gather(*(ask(number) for number in range(ITEMS)))


async def run_through(channel: grpc.aio.Channel) -> None:
    """The run, from StartRun to its last event."""
    stub = runs_pb2_grpc.RunServiceStub(channel)
    request = runs_pb2.StartRunRequest(source=SOURCE, inputs=to_json({"words": WORDS}))
    started = await call(stub.StartRun, request, service="executor", timeout_seconds=60.0)
    watched = runs_pb2.WatchRunRequest(run_id=started.run.id)
    last = None
    async for answer in stream(stub.WatchRun, watched, service="executor", timeout_seconds=60.0):
        last = answer.event
    assert last is not None
    assert last.type == runs_pb2.EVENT_TYPE_RUN_SUCCEEDED


async def measure() -> None:
    """Measures both in turn and prints the ratio."""
    async with AsyncExitStack() as stack:
        at_once: Any = AtOnce()  # type: ignore[abstract]  # only what the run calls
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        proxy = GrpcService(
            name="cadre.llm_proxy.v1.LlmService",
            add=lambda s: llm_pb2_grpc.add_LlmServiceServicer_to_server(at_once, s),
        )
        near = await stack.enter_async_context(serving([proxy], host="127.0.0.1", port=0))
        settings = Settings(_env_file=None, home=home, llm_proxy_address=near, traces_endpoint="")
        services = await stack.enter_async_context(build(settings))
        address = await stack.enter_async_context(serving(services, host="127.0.0.1", port=0))
        models = await stack.enter_async_context(connect(near))
        runs = await stack.enter_async_context(connect(address))
        alone: list[float] = []
        durable: list[float] = []
        for round_ in range(ROUNDS + 1):
            for times, work in ((alone, gathered(models)), (durable, run_through(runs))):
                began = time.perf_counter()
                await work
                if round_:
                    times.append(time.perf_counter() - began)
    baseline = statistics.median(alone)
    print(f"{f'{ITEMS} model calls, {AT_ONCE} at once, seconds':<52}{'median':>9}{'ratio':>9}")
    for name, times in (
        ("asyncio.gather", alone),
        ("for_each, each item stored (aim 3x)", durable),
    ):
        print(
            f"{name:<52}{statistics.median(times):>9.2f}{statistics.median(times) / baseline:>8.2f}x"
        )


def main() -> None:
    """Runs the benchmark."""
    configure_logs(service="bench", level="warning", log_format="json")
    run_in_loop(measure())
