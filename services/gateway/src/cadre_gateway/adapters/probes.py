"""Asks each piece of the platform how it is, within a second."""

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cadre_kit.channels import connect
from cadre_kit.credentials import Credentials
from cadre_kit.serving import VERSION_METADATA
from cadre_kit.wire import handshake_failure

__all__ = ["Condition", "Probe", "Reading", "grpc_probe", "http_probe"]

_LIMIT_SECONDS = 1.0
_VERSION_BYTES = 200


class Condition(StrEnum):
    """How a service is."""

    READY = "ready"
    STARTING = "starting"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a service was when asked. `version` is None where it does not say; `detail` says why it is not ready."""

    condition: Condition
    version: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One service to ask: its name, where it is, and how to ask."""

    name: str
    address: str
    ask: Callable[[], Awaitable[Reading]]


def grpc_probe(name: str, address: str, credentials: Credentials | None) -> Probe:
    """Asks a service at host:port for its gRPC health."""
    return Probe(name=name, address=address, ask=lambda: _ask_grpc(address, credentials))


def http_probe(name: str, url: str, *, health_path: str, version_path: str) -> Probe:
    """Asks a server for its health, and for its version when it is well."""

    async def ask() -> Reading:
        # http.client blocks; it costs less than a client library for two requests in the whole gateway.
        return await asyncio.to_thread(_ask_http, url, health_path, version_path)

    return Probe(name=name, address=url, ask=ask)


async def _ask_grpc(address: str, credentials: Credentials | None) -> Reading:
    # A channel of its own: that of the calls waits and tries again, which is not what is asked here.
    async with connect(address, credentials, patient=False) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        asked = stub.Check(health_pb2.HealthCheckRequest(), timeout=_LIMIT_SECONDS)
        try:
            answer = await asked
            said = dict(await asked.initial_metadata())
        except grpc.aio.AioRpcError as exc:
            return _failed(exc)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return Reading(condition=Condition.READY, version=_text(said.get(VERSION_METADATA)))
    return Reading(condition=Condition.STARTING, detail="it answers, but does not serve yet")


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None


def _failed(error: grpc.aio.AioRpcError) -> Reading:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        detail = f"no answer within {_LIMIT_SECONDS:g} s"
    elif error.code() is grpc.StatusCode.UNAUTHENTICATED:
        detail = "it does not take the gateway's service token"
    elif error.code() is grpc.StatusCode.UNAVAILABLE:
        reason = handshake_failure(error.details() or "")
        detail = f"no TLS: {reason}" if reason else "nobody listens at its address"
    else:
        detail = f"it answers {error.code().name}: is that its address?"
    return Reading(condition=Condition.UNREACHABLE, detail=detail)


def _ask_http(url: str, health_path: str, version_path: str) -> Reading:
    try:
        status, _ = _get(url, health_path)
        if status != http.client.OK:
            return Reading(condition=Condition.STARTING, detail=f"{health_path} answers {status}")
        status, version = _get(url, version_path)
    except TimeoutError:
        return Reading(
            condition=Condition.UNREACHABLE, detail=f"no answer within {_LIMIT_SECONDS:g} s"
        )
    except ConnectionRefusedError:
        return Reading(condition=Condition.UNREACHABLE, detail="nobody listens at its address")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return Reading(condition=Condition.UNREACHABLE, detail=f"{type(exc).__name__}: {exc}")
    known = status == http.client.OK and version.isprintable()
    return Reading(condition=Condition.READY, version=version or None if known else None)


def _get(url: str, path: str) -> tuple[int, str]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_LIMIT_SECONDS)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        answer = connection.getresponse()
        return answer.status, _bare(answer.read(_VERSION_BYTES).decode(errors="replace").strip())
    finally:
        connection.close()


def _bare(text: str) -> str:
    """Prefect says its version as JSON text, MLflow as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
