"""Asks a service for its health: `python -m cadre_kit.health HOST:PORT` ends with 0 when it serves."""

import asyncio
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["is_serving"]


async def is_serving(address: str, *, timeout_seconds: float = 2.0) -> bool:
    """Whether the service at `host:port` says, in time, that it serves."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(is_serving(sys.argv[1])) else 1)
