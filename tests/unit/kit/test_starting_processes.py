"""Processes that a service starts while calls come and go."""

import subprocess
import sys

import pytest

STARTS = """
import asyncio
import cadre_kit.serving as kit
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

async def main():
    async with asyncio.TaskGroup() as group:
        async with kit.serving([], host="127.0.0.1", port=0) as address:
            channel = grpc.aio.insecure_channel(address)
            health = health_pb2_grpc.HealthStub(channel)
            async def ask():
                while True:
                    await health.Check(health_pb2.HealthCheckRequest())
            asking = [group.create_task(ask()) for _ in range(4)]
            ends = []
            for _ in range(300):
                process = await asyncio.create_subprocess_exec("true")
                ends.append(await process.wait())
            for task in asking:
                task.cancel()
            await channel.close()
    print(sorted(set(ends)))

kit.run_in_loop(main())
"""


def test_each_process_begins() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STARTS], capture_output=True, text=True, check=False, timeout=100
    )

    assert ran.stdout == "[0]\n", ran.stderr


@pytest.mark.parametrize("service", ["executor", "gateway", "llm_proxy", "memory", "sandbox"])
def test_grpc_is_set_up_before_it_is_imported(service: str) -> None:
    code = f"import sys, cadre_{service}.__main__; print(*sys.modules)"

    names = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert names.index("cadre_kit") < names.index("grpc")
