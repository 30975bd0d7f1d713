"""What happens around every call: its trace continues, its errors become statuses, its failures are logged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.trace import SpanKind, StatusCode

from cadre_kit.errors import CadreError, Internal, InvalidInput
from cadre_kit.logs import logger
from cadre_kit.tracing import context_from, tracer
from cadre_kit.wire import status_of

__all__ = ["CallInterceptor", "idempotency_key"]

log = logger()

IDEMPOTENCY_KEY = "idempotency-key"
_KEY_CHARACTERS = 255
# Asked every few seconds by every supervisor and balancer; a span each would drown the rest.
_UNTRACED = ("/grpc.health.", "/grpc.reflection.")

# In quotes: only the stubs know that it is generic.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def idempotency_key(context: grpc.ServicerContext | Context) -> str:
    """The call's idempotency key, or "" when it has none. Raises InvalidInput for one over 255 characters."""
    key = _metadata(context).get(IDEMPOTENCY_KEY, "")
    if len(key) > _KEY_CHARACTERS:
        raise InvalidInput(
            f"the idempotency key has {len(key)} characters; at most {_KEY_CHARACTERS} are allowed",
            code="IDEMPOTENCY_KEY_TOO_LONG",
        )
    return key


class RequestUnreadable(InvalidInput):
    """The bytes of a request are not the message that its method takes."""

    code = "REQUEST_UNREADABLE"


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps unary and streaming calls alike, each method once."""

    def __init__(self) -> None:
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler with our behaviour around it; as it is for health, reflection and unknown methods."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        # gRPC answers UNIMPLEMENTED by itself where there is no handler.
        if handler is None or method.startswith(_UNTRACED):
            return handler
        return self._wrapped.setdefault(method, _wrapped(method, handler))


def _wrapped(
    method: str, handler: grpc.RpcMethodHandler[Any, Any]
) -> grpc.RpcMethodHandler[Any, Any]:
    if handler.unary_unary is not None:
        return grpc.unary_unary_rpc_method_handler(
            _around_unary(method, handler.unary_unary),
            _reading(handler.request_deserializer),
            handler.response_serializer,
        )
    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(
            _around_stream(method, handler.unary_stream),
            _reading(handler.request_deserializer),
            handler.response_serializer,
        )
    return handler


def _reading(deserialize: Any) -> Any:
    """Answers what is wrong with a request in place of it: raised here, gRPC would say it in words of its own."""

    def read(content: bytes) -> Any:
        try:
            return deserialize(content)
        except DecodeError as exc:
            return RequestUnreadable(
                f"the request cannot be read: {exc}",
                resolution="Send the message that the method takes, and texts in UTF-8.",
            )

    return read


def _around_unary(method: str, behaviour: Any) -> Any:
    async def call(request: Any, context: Context) -> Any:
        span = _entered_span(method, context)
        try:
            return await behaviour(_readable(request), context)
        except grpc.aio.AbortError:
            raise
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a call
            await _abort(exc, method, span, context)
        finally:
            span.end()

    return call


def _readable(request: Any) -> Any:
    if isinstance(request, RequestUnreadable):
        raise request
    return request


def _around_stream(method: str, behaviour: Any) -> Any:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        span = _entered_span(method, context)
        try:
            async for response in behaviour(_readable(request), context):
                yield response
        except grpc.aio.AbortError:
            raise
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a call
            await _abort(exc, method, span, context)
        finally:
            span.end()

    return call


async def _abort(exc: Exception, method: str, span: trace.Span, context: Context) -> NoReturn:
    if isinstance(exc, CadreError):
        error = exc
        log.info("call_refused", method=method, code=error.code, reason=error.message)
    else:
        log.error("call_failed", method=method, exc_info=exc)
        error = Internal(
            "the service made a mistake; its log has the details",
            resolution="Look for call_failed in the service's log under CADRE_HOME/logs.",
        )
    span.set_status(StatusCode.ERROR, error.code)
    await context.abort_with_status(status_of(error))
    raise AssertionError("abort_with_status raises")


def _entered_span(method: str, context: Context) -> trace.Span:
    """The span of a call, made the current one for the rest of the call's own task."""
    # By hand and not by the instrumentation package: it adds a span per message to streams, and its streams
    # detach their context in another task than they attached it in.
    span = tracer().start_span(
        method.lstrip("/"), context=context_from(_metadata(context)), kind=SpanKind.SERVER
    )
    # Never detached: it ends with that task. Of a client that left, a stream's generator is closed from another one,
    # which could not detach it.
    attach(trace.set_span_in_context(span))
    return span


def _metadata(context: grpc.ServicerContext | Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
