"""The application: its routes, and what is the same for all of them."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import Route

from cadre_gateway.entrypoint.access import Authentication, is_open, scope_of
from cadre_gateway.entrypoint.auditing import Auditing
from cadre_gateway.entrypoint.dependencies import Parts
from cadre_gateway.entrypoint.documents import Event, ProblemDetails
from cadre_gateway.entrypoint.errors import (
    PROBLEM_CONTENT,
    PROBLEM_RESPONSES,
    OpenAiError,
    add_error_handlers,
)
from cadre_gateway.entrypoint.mcp_door import McpDoor
from cadre_gateway.entrypoint.middleware import Around, Limits
from cadre_gateway.entrypoint.plain_deliveries import PlainDeliveries
from cadre_gateway.entrypoint.routes import (
    a2a,
    agents,
    audit,
    batches,
    budgets,
    chat,
    conversations,
    deliveries,
    executions,
    hooks,
    keys,
    memories,
    platform,
    run_files,
    runs,
    schedules,
    triggers,
    usage,
    workflows,
)

__all__ = ["application"]

_KEYED = (
    workflows,
    runs,
    run_files,
    batches,
    schedules,
    agents,
    triggers,
    deliveries,
    usage,
    budgets,
    memories,
    conversations,
    executions,
    keys,
    audit,
)
_ABOUT = "The door of Cadre, a platform that runs agent workflows described in YAML."


def application(
    parts: Parts, *, authentication: Authentication, limits: Limits, mcp: McpDoor
) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(
        title="Cadre",
        description=_ABOUT,
        version=parts.version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # What clients that are generated call the operations.
        generate_unique_id_function=lambda route: route.name,
        # A request has one span, begun by Around; FastAPI would add three.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = parts
    add_error_handlers(app)
    # First, as routes are tried in turn, and there are near a hundred.
    app.include_router(_declaring(hooks.router), responses=_problems())
    app.include_router(_declaring(chat.router), responses=_openai_errors())
    for resource in _KEYED:
        app.include_router(_declaring(resource.router), responses=_problems())
    # Described by its own specification, and by the cards.
    app.include_router(_declaring(a2a.router), include_in_schema=False)
    app.router.routes.append(Route(mcp.path, endpoint=mcp, name="mcp"))
    app.include_router(_declaring(platform.router), responses=_problems())
    app.add_middleware(PlainDeliveries, parts=parts)
    app.add_middleware(
        Around,
        authentication=authentication,
        limits=limits,
        metrics=parts.metrics,
        auditing=Auditing(parts.audit),
    )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # as FastAPI's manual says
    return app


def _declaring(router: APIRouter) -> APIRouter:
    """The router, if each of its routes declares the scope that it needs, or is open to anybody."""
    for route in router.routes:
        assert isinstance(route, APIRoute), f"{route} is no route of the API"
        if (scope_of(route.dependencies) is None) != is_open(route.path):
            raise AssertionError(f"{route.path} must declare what it needs of a key")
    return router


def _problems() -> dict[int | str, dict[str, Any]]:
    return {status: {**about, **PROBLEM_CONTENT} for status, about in PROBLEM_RESPONSES.items()}


def _openai_errors() -> dict[int | str, dict[str, Any]]:
    return {status: {**about, "model": OpenAiError} for status, about in PROBLEM_RESPONSES.items()}


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        spec = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        _correct(spec)
        app.openapi_schema = spec
    return app.openapi_schema


def _correct(spec: dict[str, Any]) -> None:
    """Takes out FastAPI's own 422, which is never answered, and puts in what no route names as its model."""
    schemas = spec["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ProblemDetails, Event):
        described = model.model_json_schema(
            mode="serialization", ref_template="#/components/schemas/{model}"
        )
        for name, schema in described.pop("$defs", {}).items():
            schemas.setdefault(name, schema)
        schemas[model.__name__] = described
    for methods in spec["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
