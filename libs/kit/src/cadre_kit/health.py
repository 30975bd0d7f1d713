"""Asks a service for its health: `python -m cadre_kit.health HOST:PORT` ends with 0 when it serves.

Containers start it every few seconds: what is slow to load is loaded only where TLS needs it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from cadre_kit.credentials import Credentials

__all__ = ["is_serving"]


async def is_serving(
    address: str, credentials: Credentials | None = None, *, timeout_seconds: float = 2.0
) -> bool:
    """Whether the service at `host:port` says, in time, that it serves."""
    async with _channel(address, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _channel(address: str, credentials: Credentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
    from cadre_kit.channels import connect

    return connect(address, credentials, patient=False)


def _own_credentials() -> Credentials | None:
    """Those of the service that is asked, which is told the same; without TLS none are needed."""
    if not os.environ.get("CADRE_SERVICE_TLS_CA_FILE"):
        return None
    from cadre_kit.credentials import load_credentials
    from cadre_kit.settings import ServiceSettings, load_settings

    return load_credentials(load_settings(ServiceSettings))


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(is_serving(sys.argv[1], _own_credentials())) else 1)
