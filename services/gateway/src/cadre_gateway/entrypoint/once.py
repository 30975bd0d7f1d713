"""Requests that are done once, however often they come: a repeated idempotency key gets the first answer.

For routes whose service does not keep the key itself. The answer is stored before it is given.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Depends, Request, Response, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from cadre_gateway.adapters.answers import Answer, Answers, Hold
from cadre_gateway.entrypoint.dependencies import checked_key, idempotency_key
from cadre_kit.errors import CadreError, Conflict

__all__ = ["ONCE", "OnceRoute"]

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_LOOK_SECONDS = 0.05


class UnderWay(Conflict):
    """The first request with the idempotency key is not answered yet."""

    code = "REQUEST_UNDER_WAY"


ONCE: params.Depends = Depends(idempotency_key)
"""What a route names among its dependencies to be done once for each idempotency key; the `route_class` of its router
must be OnceRoute."""


class OnceRoute(APIRoute):
    """A route that may name ONCE."""

    def get_route_handler(self) -> Handler:
        """The route's handler; with ONCE, one that looks first whether it has answered before."""
        handler = super().get_route_handler()
        if ONCE not in self.dependencies:
            return handler

        async def once(request: Request) -> Response:
            key = checked_key(request.headers.get("idempotency-key", ""))
            if not key:
                return await handler(request)
            parts = request.app.state.parts
            return await _once(
                handler, request, parts.answers, key, seconds=parts.waits.answer_seconds
            )

        return once


async def _once(
    handler: Handler, request: Request, answers: Answers, key: str, *, seconds: float
) -> Response:
    begun = await _begun(answers, request, key, seconds=seconds)
    if isinstance(begun, Answer):
        headers = {"Location": begun.location} if begun.location else None
        return Response(begun.body, begun.status, headers, begun.media_type)
    try:
        response = await handler(request)
    except (CadreError, HTTPException, RequestValidationError):
        await answers.release(begun)
        raise
    if response.status_code >= 400:
        await answers.release(begun)
    else:
        await answers.keep(begun, _answer_of(response))
    return response


async def _begun(answers: Answers, request: Request, key: str, *, seconds: float) -> Hold | Answer:
    """The answer, or the right to give it, waited for while a twin of the request is under way."""
    caller, fingerprint = request.scope["cadre.caller"].name, await _fingerprint(request)
    deadline = time.monotonic() + seconds
    while True:
        begun = await answers.begin(caller, key, fingerprint)
        if begun is not None:
            return begun
        if time.monotonic() >= deadline:
            raise UnderWay(
                "the first request with this idempotency key is still being answered",
                resolution="Send it again a little later.",
            )
        await asyncio.sleep(_LOOK_SECONDS)


async def _fingerprint(request: Request) -> str:
    target = f"{request.method} {request.url.path}?{request.url.query}\n"
    return hashlib.sha256(target.encode() + await request.body()).hexdigest()


def _answer_of(response: Response) -> Answer:
    return Answer(
        status=response.status_code,
        media_type=response.headers.get("content-type", ""),
        location=response.headers.get("location", ""),
        body=bytes(response.body),
    )
