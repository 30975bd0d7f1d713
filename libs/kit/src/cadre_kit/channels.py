"""Calls to other services: each with a deadline, the trace and an idempotency key; their errors come back as ours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Self, TypeVar

import grpc
from opentelemetry import propagate

from cadre_kit.credentials import TOKEN_HEADER, Credentials
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


# A proxy that the environment names leads to the internet. It would be shown the service token, and could not reach us.
_DIRECT = [("grpc.enable_http_proxy", 0)]
_PATIENT = [
    *_DIRECT,
    ("grpc.service_config", json.dumps(_RETRIES)),
    ("grpc.enable_retries", 1),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def connect(
    address: str, credentials: Credentials | None = None, *, patient: bool = True
) -> grpc.aio.Channel:
    """A channel to `host:port`; connects at the first call, and again after a loss. The caller closes it.

    With `credentials`, its calls carry the service token, and use TLS if they say so. One that is not `patient` tries
    once, for questions whether somebody is there.
    """
    options = _PATIENT if patient else _DIRECT
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    tls = credentials.tls
    if tls.authorities is None:
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        secured = grpc.ssl_channel_credentials(tls.authorities, tls.key, tls.certificate)
        channel = grpc.aio.secure_channel(address, secured, options=options)
    return _TokenChannel(channel, credentials.bearer)


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


def _metadata(idempotency_key: str) -> tuple[tuple[str, str], ...]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    if idempotency_key:
        carrier["idempotency-key"] = idempotency_key
    return tuple(carrier.items())


class _TokenChannel(grpc.aio.Channel):
    """A channel whose calls carry the service token.

    No interceptor: grpc.aio starts a task for each call that has one, which costs more than all else here. No call
    credentials: gRPC sends none over connections without TLS.
    """

    def __init__(self, channel: grpc.aio.Channel, bearer: str) -> None:
        self._channel = channel
        self._bearer = bearer

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *how: Any) -> None:
        await self._channel.__aexit__(*how)

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    def unary_unary(self, *method: Any, **about: Any) -> Any:
        return _with_token(self._channel.unary_unary(*method, **about), self._bearer)

    def unary_stream(self, *method: Any, **about: Any) -> Any:
        return _with_token(self._channel.unary_stream(*method, **about), self._bearer)

    def stream_unary(self, *method: Any, **about: Any) -> Any:
        return _with_token(self._channel.stream_unary(*method, **about), self._bearer)

    def stream_stream(self, *method: Any, **about: Any) -> Any:
        return _with_token(self._channel.stream_stream(*method, **about), self._bearer)


def _with_token(method: Any, bearer: str) -> Any:
    shown = (TOKEN_HEADER, bearer)

    def called(*request: Any, metadata: Any = (), **how: Any) -> Any:
        return method(*request, metadata=(*(metadata or ()), shown), **how)

    return called
