"""Calls to other services: each with a deadline, the trace and an idempotency key; their errors come back as ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TypeVar

import grpc
from opentelemetry import propagate

from cadre_kit.wire import error_from_rpc

__all__ = ["MESSAGE_BYTES", "call", "connect", "stream"]

MESSAGE_BYTES = 16 * 1024 * 1024
"""The largest message that any service takes or sends."""

# A service that restarts is back within seconds. A call that reached a server is never sent again by this: gRPC retries
# only until a response begins, and whatever changes something carries an idempotency key.
_RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

Request = TypeVar("Request")
Response = TypeVar("Response")


def connect(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`; connects at the first call, and again after a loss. The caller closes it."""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.service_config", json.dumps(_RETRIES)),
            ("grpc.enable_retries", 1),
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ],
    )


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    service: str,
    timeout_seconds: float,
    idempotency_key: str = "",
) -> Response:
    """One answer. Raises the CadreError that `service` answered with; DeadlineExceeded after `timeout_seconds`.

    Cancelling the task cancels the call.
    """
    try:
        return await method(request, timeout=timeout_seconds, metadata=_metadata(idempotency_key))
    except grpc.aio.AioRpcError as exc:
        raise error_from_rpc(exc, service=service) from exc


async def stream(
    method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
    request: Request,
    *,
    service: str,
    timeout_seconds: float | None,
    idempotency_key: str = "",
) -> AsyncIterator[Response]:
    """Answers as they come. Raises as `call` does; no deadline when None. Closing the iterator cancels the call."""
    under_way = method(request, timeout=timeout_seconds, metadata=_metadata(idempotency_key))
    try:
        async for response in under_way:
            yield response
    except grpc.aio.AioRpcError as exc:
        raise error_from_rpc(exc, service=service) from exc
    finally:
        under_way.cancel()


def _metadata(idempotency_key: str) -> grpc.aio.Metadata:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    if idempotency_key:
        carrier["idempotency-key"] = idempotency_key
    return grpc.aio.Metadata(*carrier.items())
