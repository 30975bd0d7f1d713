"""What happens around every request: its id, the key, the limits, what is written down about it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cadre_gateway.domain.api_keys import Allowance, Caller
from cadre_gateway.entrypoint.access import Authentication, is_by_signature, is_open
from cadre_gateway.entrypoint.auditing import Auditing
from cadre_gateway.entrypoint.bodies import Body
from cadre_gateway.entrypoint.errors import (
    BodyTooLarge,
    TooManyRequests,
    TooSlow,
    code_of,
    response_to,
)
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_kit.errors import CadreError, Internal
from cadre_kit.ids import new_id
from cadre_kit.logs import logger
from cadre_kit.tracing import context_from, tracer

__all__ = ["Around", "Limits"]

log = logger()

# Asked every few seconds by supervisors, balancers and scrapers.
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# No page of another origin may show, embed or read what is answered here; CORS stays off. Answers are data and not
# pages, but for the reference, which has its style within.
_SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest body in bytes, with the key and by webhook, where large ones are while they come, how many requests
    may be under way at once, and how long a body may take that comes slowly."""

    body_bytes: int
    webhook_body_bytes: int
    body_folder: Path
    concurrent_requests: int
    read_seconds: float


@dataclass(kw_only=True)
class _Exchange:
    """One request, and what was answered so far. Status 0 stands for a caller who left before the answer."""

    scope: Scope
    headers: Headers
    request_id: str
    started: float
    status: int = 0
    caller: Caller | None = None
    more_headers: dict[str, str] = field(default_factory=dict)

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

    def __init__(
        self,
        app: ASGIApp,
        *,
        authentication: Authentication,
        limits: Limits,
        metrics: Metrics,
        auditing: Auditing,
    ) -> None:
        self._app = app
        self._authentication = authentication
        self._auditing = auditing
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
                _add_headers(MutableHeaders(scope=message), exchange)
                await self._write_down(exchange, message)
            await send(message)

        try:
            self._check(exchange)
            if not is_open(exchange.path):
                await self._identify(exchange)
            with closing(self._body(exchange, receive)) as body:
                await self._app(exchange.scope, body, send_with_id)
        except (CadreError, BodyTooLarge, TooSlow) as error:
            await _refuse(error, exchange, receive, send_with_id)
        except ClientDisconnect:
            # Before the body's end: nobody is there to answer, and nothing has failed.
            log.info("caller_left", route=exchange.route)
        except Exception as exc:
            log.error("request_failed", route=exchange.route, exc_info=exc)
            await _refuse(_mistake(), exchange, receive, send_with_id)

    def _check(self, exchange: _Exchange) -> None:
        if self._under_way > self._limits.concurrent_requests:
            raise TooManyRequests(
                f"{self._limits.concurrent_requests} requests are under way already",
                resolution="Try again shortly, or raise CADRE_GATEWAY_CONCURRENT_REQUESTS.",
            )
        # The server has made sure that it is a number.
        limit = self._body_limit(exchange)
        if int(exchange.headers.get("content-length", 0)) > limit:
            raise BodyTooLarge(limit)

    def _body(self, exchange: _Exchange, receive: Receive) -> Body:
        return Body(
            receive,
            limit=self._body_limit(exchange),
            read_seconds=self._limits.read_seconds,
            folder=self._limits.body_folder,
        )

    def _body_limit(self, exchange: _Exchange) -> int:
        # What anybody can send must not fill the memory.
        by_webhook = is_by_signature(exchange.path)
        return self._limits.webhook_body_bytes if by_webhook else self._limits.body_bytes

    async def _identify(self, exchange: _Exchange) -> None:
        """Before the body is read: whoever may not send it shall not make us read it."""
        found = await self._authentication.identify(exchange.headers.get("authorization", ""))
        exchange.caller = exchange.scope["cadre.caller"] = found.caller
        if found.allowance is not None:
            exchange.more_headers.update(_rate_headers(found.allowance))
        if found.refusal is not None:
            raise found.refusal

    async def _write_down(self, exchange: _Exchange, start: Message) -> None:
        """Before the answer is sent: what was answered has its entry."""
        scope = exchange.scope
        await self._auditing.write_down(
            caller=exchange.caller,
            scope=scope,
            route=exchange.route,
            status=exchange.status,
            created=Headers(raw=start["headers"]).get("location", ""),
            request_id=exchange.request_id,
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
    error: CadreError | BodyTooLarge | TooSlow, exchange: _Exchange, receive: Receive, send: Send
) -> None:
    # An answer that has begun can only be broken off, which the server does when it lacks its end.
    if exchange.status == 0:
        exchange.scope["cadre.code"] = code_of(error)
        response = response_to(error, path=exchange.path, request_id=exchange.request_id)
        await response(exchange.scope, receive, send)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_id()


def _add_headers(headers: MutableHeaders, exchange: _Exchange) -> None:
    headers["X-Request-Id"] = exchange.request_id
    headers.update(exchange.more_headers)
    for name, value in _SECURITY_HEADERS.items():
        headers.setdefault(name, value)


def _rate_headers(allowance: Allowance) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(allowance.rate.requests),
        "RateLimit-Remaining": str(allowance.remaining),
        "RateLimit-Reset": str(ceil(allowance.reset_seconds)),
    }


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
