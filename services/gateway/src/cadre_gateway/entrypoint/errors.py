"""Refusals and failures as HTTP answers: problem+json everywhere, OpenAI's shape under /v1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint.documents import ProblemDetails
from cadre_kit.errors import CadreError, InvalidInput, Kind, LimitExceeded
from cadre_kit.errors import Problem as KitProblem

__all__ = [
    "PROBLEM_CONTENT",
    "PROBLEM_RESPONSES",
    "BodyTooLarge",
    "InvalidRequest",
    "OpenAiError",
    "TooManyRequests",
    "TooSlow",
    "add_error_handlers",
    "code_of",
    "details_of",
    "openai_error",
    "response_to",
]

_OPENAI_PATHS = "/v1/"

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is wrong; `problems` says where."},
    401: {"description": "The key is missing or wrong."},
    403: {"description": "The key may not do this; `detail` names the scope that it needs."},
    404: {"description": "What the request names is not there."},
    409: {"description": "It contradicts an earlier request."},
    408: {"description": "The request came too slowly."},
    413: {"description": "The body is too large."},
    429: {"description": "A limit or a budget is used up."},
    500: {"description": "A mistake of ours; the log has the details."},
    501: {"description": "This platform cannot do it; `resolution` says what it lacks."},
    503: {"description": "A service that is needed cannot be reached; `detail` names it."},
    504: {"description": "A service did not answer in time; `detail` names it."},
}
"""What any route may answer, for OpenAPI."""
PROBLEM_CONTENT: Mapping[str, Any] = {
    "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    }
}
"""How it says so, beside under /v1."""


class InvalidRequest(InvalidInput):
    """The request does not have the form that OpenAPI describes."""

    code = "INVALID_REQUEST"


class TooManyRequests(LimitExceeded):
    """As many requests are under way as may be."""

    code = "TOO_MANY_REQUESTS"


class OpenAiErrorDetails(BaseModel):
    """All four are always there: some clients read them without asking."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAiError(BaseModel):
    """A refusal as OpenAI says it."""

    error: OpenAiErrorDetails


class TooSlow(HTTPException):
    """The body comes more slowly than it may. An HTTPException for the same reason as BodyTooLarge."""

    def __init__(self) -> None:
        super().__init__(408, headers={"Connection": "close"})


class BodyTooLarge(HTTPException):
    """The body has more bytes than it may. An HTTPException, because FastAPI turns any other into a 400 of its own."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, detail=f"the request's body has more than {limit} bytes")


# What Starlette and FastAPI refuse by themselves: the code, what happened (None: as they say it), what to do.
_HTTP_ERRORS: Mapping[int, tuple[str, str | None, str]] = {
    400: (
        "INVALID_REQUEST",
        "the request's body cannot be read",
        "Send JSON as /openapi.json describes it.",
    ),
    404: ("ROUTE_NOT_FOUND", "there is nothing at this path", "See /docs for what there is."),
    405: (
        "METHOD_NOT_ALLOWED",
        "this path does not take this method",
        "See /docs for what there is.",
    ),
    408: (
        "REQUEST_TOO_SLOW",
        "the request's body came too slowly",
        "Send it over a faster connection, or raise CADRE_GATEWAY_READ_SECONDS.",
    ),
    413: ("BODY_TOO_LARGE", None, "Send less, or raise CADRE_GATEWAY_BODY_BYTES."),
}

# OpenAI's `type` and `code` by kind; a code of None is replaced by ours.
_OPENAI_ERRORS: Mapping[Kind, tuple[str, str | None]] = {
    Kind.INVALID_INPUT: ("invalid_request_error", None),
    Kind.FAILED_PRECONDITION: ("invalid_request_error", None),
    Kind.UNSUPPORTED: ("invalid_request_error", None),
    Kind.ALREADY_EXISTS: ("invalid_request_error", None),
    Kind.CONFLICT: ("invalid_request_error", None),
    Kind.NOT_FOUND: ("invalid_request_error", "model_not_found"),
    Kind.UNAUTHENTICATED: ("authentication_error", None),
    Kind.PERMISSION_DENIED: ("permission_error", None),
    Kind.LIMIT_EXCEEDED: ("rate_limit_error", "rate_limit_exceeded"),
    Kind.CANCELLED: ("server_error", None),
    Kind.DEADLINE_EXCEEDED: ("server_error", None),
    Kind.UNAVAILABLE: ("server_error", None),
    Kind.DATA_LOST: ("server_error", None),
    Kind.INTERNAL: ("server_error", None),
}
_BUDGET = "BUDGET"
# Not any refused key: a provider's may be, too, and OpenAI's clients mean ours by this.
_OUR_KEY = "API_KEY_"


def add_error_handlers(app: FastAPI) -> None:
    """Makes every refusal of the app one of ours. What nobody expected is answered by the middleware."""
    app.add_exception_handler(CadreError, _on_refusal)
    app.add_exception_handler(HTTPException, _on_refusal)
    app.add_exception_handler(405, _on_other_method)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)


def code_of(error: CadreError | HTTPException) -> str:
    """The fact that an error states."""
    return _said(error).code


def response_to(error: CadreError | HTTPException, *, path: str, request_id: str) -> Response:
    """The answer to a request for `path` that ended with an error."""
    details = details_of(error, request_id=request_id)
    if path.startswith(_OPENAI_PATHS):
        body: BaseModel = openai_error(error)
        media_type = "application/json"
    else:
        body, media_type = details, "application/problem+json"
    return Response(
        body.model_dump_json(),
        status_code=details.status,
        media_type=media_type,
        headers=_headers(error),
    )


def details_of(error: CadreError | HTTPException, *, request_id: str) -> ProblemDetails:
    """An error as problem+json says it."""
    said = _said(error)
    return ProblemDetails(
        type=f"urn:cadre:error:{said.code}",
        title=_title(said.status),
        status=said.status,
        code=said.code,
        detail=said.message,
        resolution=said.resolution,
        request_id=request_id,
        problems=[conversions.problem(one) for one in said.problems] or None,
    )


def openai_error(error: CadreError | HTTPException) -> OpenAiError:
    """An error as OpenAI's clients read it."""
    said = _said(error)
    kind, code = _OPENAI_ERRORS[said.kind]
    if said.kind is Kind.LIMIT_EXCEEDED and _BUDGET in said.code:
        kind = code = "insufficient_quota"
    if said.code.startswith(_OUR_KEY):
        code = "invalid_api_key"
    return OpenAiError(
        error=OpenAiErrorDetails(
            message=". ".join(part for part in (said.message, said.resolution) if part),
            type=kind,
            param=said.problems[0].path if said.problems else None,
            code=code or said.code,
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What an error of either sort says."""

    kind: Kind
    status: int
    code: str
    message: str
    resolution: str
    problems: Sequence[KitProblem] = ()


def _said(error: CadreError | HTTPException) -> _Said:
    if isinstance(error, CadreError):
        return _Said(
            kind=error.kind,
            status=error.kind.value.http,
            code=error.code,
            message=error.message,
            resolution=error.resolution,
            problems=error.problems,
        )
    code, message, resolution = _HTTP_ERRORS.get(error.status_code, ("HTTP_ERROR", None, ""))
    return _Said(
        kind=Kind.INVALID_INPUT,
        status=error.status_code,
        code=code,
        message=message or error.detail,
        resolution=resolution,
    )


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, CadreError | HTTPException)
    request_id = str(request.scope.get("cadre.request_id", ""))
    request.scope["cadre.code"] = code_of(error)
    return response_to(error, path=request.url.path, request_id=request_id)


async def _on_other_method(request: Request, error: Exception) -> Response:
    """Names all methods of the path: the router knows of those of the first route only."""
    assert isinstance(error, HTTPException)
    routes: Sequence[BaseRoute] = request.app.routes
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in matching for method in getattr(route, "methods", None) or ()}
    return await _on_refusal(
        request, HTTPException(405, headers={"Allow": ", ".join(sorted(methods))})
    )


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_problem_of(one) for one in error.errors()]
    where = f"{problems[0].path}: " if problems[0].path else ""
    refusal = InvalidRequest(
        f"the request is not valid: {where}{problems[0].message}",
        resolution="Correct it as `problems` says; /openapi.json describes what is taken.",
        problems=problems,
    )
    return await _on_refusal(request, refusal)


def _problem_of(error: Mapping[str, Any]) -> KitProblem:
    # The rejected value is left out: it may be a secret or a prompt.
    return KitProblem(
        code=str(error["type"]).upper(), message=str(error["msg"]), path=_path(error["loc"])
    )


def _path(location: Sequence[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[1:]]
    return "".join(parts).removeprefix(".")


def _title(status: int) -> str:
    # 499 is nginx's, for a caller who left.
    return "Client Closed Request" if status == 499 else HTTPStatus(status).phrase


def _headers(error: CadreError | HTTPException) -> dict[str, str]:
    if isinstance(error, HTTPException):
        return dict(error.headers or {})
    if error.kind is Kind.UNAUTHENTICATED:
        return {"WWW-Authenticate": 'Bearer realm="cadre"'}
    if error.kind in (Kind.UNAVAILABLE, Kind.LIMIT_EXCEEDED):
        # In whole seconds, and never too early.
        return {"Retry-After": str(ceil(float(error.metadata.get("retry_after_seconds", 1))))}
    return {}
