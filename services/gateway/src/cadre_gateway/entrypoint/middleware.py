"""What happens around every request: its id, the key, the limits, its trace, its metrics and its line in the log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cadre_gateway.domain.api_keys import ApiKey
from cadre_gateway.entrypoint.errors import BodyTooLarge, TooManyRequests, response_to
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_kit.errors import CadreError, Internal, Unauthenticated
from cadre_kit.ids import new_id
from cadre_kit.logs import logger
from cadre_kit.tracing import context_from, tracer

__all__ = ["Around", "Limits"]

log = logger()

# Asked every few seconds by supervisors, balancers and scrapers.
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/api/v1/schema"})
_OPEN_PREFIXES = ("/hooks/",)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class MissingKey(Unauthenticated):
    """The request carries no key."""

    code = "API_KEY_MISSING"


class WrongKey(Unauthenticated):
    """The request carries a key that is not ours."""

    code = "API_KEY_WRONG"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest body in bytes, with the key and by webhook, and how many requests may be under way at once."""

    body_bytes: int
    webhook_body_bytes: int
    concurrent_requests: int


@dataclass(kw_only=True)
class _Exchange:
    """One request, and what was answered so far. Status 0 stands for a caller who left before the answer."""

    scope: Scope
    headers: Headers
    request_id: str
    started: float
    status: int = 0

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def route(self) -> str:
        """The route's template: the path itself would make endless metrics."""
        route = self.scope.get("route")
        return str(getattr(route, "path", "unmatched"))


class Around:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, *, key: ApiKey, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._key = key
        self._limits = limits
        self._metrics = metrics
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request; anything but HTTP goes straight through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = _Exchange(
            scope=scope,
            headers=headers,
            request_id=_request_id(headers),
            started=time.perf_counter(),
        )
        scope["cadre.request_id"] = exchange.request_id
        self._under_way += 1
        with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
            try:
                with _span(exchange):
                    await self._answer(exchange, receive, send)
                    self._record(exchange)
            finally:
                self._under_way -= 1

    async def _answer(self, exchange: _Exchange, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = exchange.request_id
            await send(message)

        try:
            self._check(exchange)
            limited = _limited(receive, self._body_limit(exchange))
            await self._app(exchange.scope, limited, send_with_id)
        except (CadreError, BodyTooLarge) as error:
            await _refuse(error, exchange, receive, send_with_id)
        except Exception as exc:
            log.error("request_failed", route=exchange.route, exc_info=exc)
            await _refuse(_mistake(), exchange, receive, send_with_id)

    def _check(self, exchange: _Exchange) -> None:
        if self._under_way > self._limits.concurrent_requests:
            raise TooManyRequests(
                f"{self._limits.concurrent_requests} requests are under way already",
                resolution="Try again shortly, or raise CADRE_GATEWAY_CONCURRENT_REQUESTS.",
            )
        if exchange.path not in _OPEN_PATHS and not exchange.path.startswith(_OPEN_PREFIXES):
            self._check_key(exchange.headers.get("authorization", ""))
        # The server has made sure that it is a number.
        limit = self._body_limit(exchange)
        if int(exchange.headers.get("content-length", 0)) > limit:
            raise BodyTooLarge(limit)

    def _body_limit(self, exchange: _Exchange) -> int:
        # What anybody can send must not fill the memory.
        by_webhook = exchange.path.startswith(_OPEN_PREFIXES)
        return self._limits.webhook_body_bytes if by_webhook else self._limits.body_bytes

    def _check_key(self, authorization: str) -> None:
        scheme, _, presented = authorization.partition(" ")
        if scheme.lower() != "bearer" or not presented.strip():
            raise MissingKey(
                "the request carries no API key",
                resolution="Send the header `Authorization: Bearer KEY`; the key is in the file api-key in CADRE_HOME.",
            )
        if not self._key.opens_with(presented.strip()):
            raise WrongKey(
                "the API key is not the gateway's",
                resolution="Send the key that is in the file api-key in the CADRE_HOME of this gateway.",
            )

    def _record(self, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        method = str(exchange.scope["method"])
        self._metrics.count(
            route=exchange.route, method=method, status=exchange.status, seconds=seconds
        )
        if exchange.path not in _QUIET_PATHS:
            log.info(
                "request_answered",
                method=method,
                path=exchange.path,
                status=exchange.status,
                duration_ms=round(seconds * 1000, 1),
            )


async def _refuse(
    error: CadreError | BodyTooLarge, exchange: _Exchange, receive: Receive, send: Send
) -> None:
    # An answer that has begun can only be broken off, which the server does when it lacks its end.
    if exchange.status == 0:
        response = response_to(error, path=exchange.path, request_id=exchange.request_id)
        await response(exchange.scope, receive, send)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_id()


def _limited(receive: Receive, limit: int) -> Receive:
    """Raises BodyTooLarge once more than `limit` bytes came, whatever Content-Length said."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(limit)
        return message

    return limited


@contextmanager
def _span(exchange: _Exchange) -> Iterator[None]:
    if exchange.path in _QUIET_PATHS or exchange.path.endswith("/events"):
        yield
        return
    method = str(exchange.scope["method"])
    span = tracer().start_span(
        method, context=context_from(dict(exchange.headers.items())), kind=SpanKind.SERVER
    )
    try:
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    finally:
        _describe(span, exchange, method)
        span.end()


def _describe(span: Span, exchange: _Exchange, method: str) -> None:
    span.update_name(f"{method} {exchange.route}")
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.route", exchange.route)
    span.set_attribute("http.response.status_code", exchange.status)
    span.set_attribute("cadre.request_id", exchange.request_id)
    if exchange.status >= 500:
        span.set_status(StatusCode.ERROR)


def _mistake() -> Internal:
    return Internal(
        "the gateway made a mistake; its log has the details",
        resolution="Look for request_failed with this request_id in the gateway's log.",
    )
