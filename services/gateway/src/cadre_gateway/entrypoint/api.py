"""The application: its routes, and what is the same for all of them."""

from typing import Any

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer
from starlette.routing import Route

from cadre_gateway.domain.api_keys import ApiKey
from cadre_gateway.entrypoint.dependencies import Parts
from cadre_gateway.entrypoint.documents import Event, ProblemDetails
from cadre_gateway.entrypoint.errors import PROBLEM_RESPONSES, add_error_handlers
from cadre_gateway.entrypoint.mcp_door import McpDoor
from cadre_gateway.entrypoint.middleware import Around, Limits
from cadre_gateway.entrypoint.routes import (
    a2a,
    agents,
    batches,
    budgets,
    chat,
    conversations,
    deliveries,
    executions,
    hooks,
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
)
_ABOUT = "The door of Cadre, a platform that runs agent workflows described in YAML."
_PROBLEM = {
    "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    }
}
_PUBLIC = ("/healthz", "/readyz", "/api/v1/schema", "/hooks/{workflow}", "/hooks/{kind}/{name}")
_KEY = HTTPBearer(
    auto_error=False, scheme_name="key", description="The key in the file api-key in CADRE_HOME."
)


def application(parts: Parts, *, key: ApiKey, limits: Limits, mcp: McpDoor) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(
        title="Cadre",
        description=_ABOUT,
        version=parts.version,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # A request has one span, begun by Around; FastAPI would add three.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = parts
    add_error_handlers(app)
    # The key is checked before the body is read, by Around; here it is only described.
    for resource in _KEYED:
        app.include_router(resource.router, responses=_problems(), dependencies=[Security(_KEY)])
    app.include_router(chat.router, dependencies=[Security(_KEY)])
    # Described by its own specification, and by the cards.
    app.include_router(a2a.router, include_in_schema=False)
    app.router.routes.append(Route("/mcp", endpoint=mcp, name="mcp"))
    app.include_router(platform.router)
    app.include_router(hooks.router, responses=_problems())
    app.add_middleware(Around, key=key, limits=limits, metrics=parts.metrics)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # as FastAPI's manual says
    return app


def _problems() -> dict[int | str, dict[str, Any]]:
    return {status: {**about, **_PROBLEM} for status, about in PROBLEM_RESPONSES.items()}


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
    for path, methods in spec["paths"].items():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            if path in _PUBLIC:
                operation.pop("security", None)
