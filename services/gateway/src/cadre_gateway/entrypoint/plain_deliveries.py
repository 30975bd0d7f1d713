"""A way for deliveries past the app's own routing, which takes longer for each than accepting it does."""

import re
from collections.abc import Mapping

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cadre_gateway.entrypoint.dependencies import Parts
from cadre_gateway.entrypoint.routes import hooks

__all__ = ["PlainDeliveries"]

# Both within what the routes take.
_ADDRESS = re.compile(r"/hooks/(?:([^/]{1,20})/)?([^/]{1,100})")
_ROUTES: Mapping[str, APIRoute] = {
    route.path: route
    for route in hooks.router.routes
    if isinstance(route, APIRoute) and "POST" in (route.methods or ())
}
_WEBHOOK, _OTHER = _ROUTES["/hooks/{workflow}"], _ROUTES["/hooks/{kind}/{name}"]


class PlainDeliveries:
    """Serves what is posted to /hooks and asks for nothing beside. Everything else, such as `?wait=`, is for the app,
    whose routes describe both and answer the same."""

    def __init__(self, app: ASGIApp, *, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request. Raises what the delivery is refused by."""
        plain = scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
        address = _ADDRESS.fullmatch(scope["path"]) if plain else None
        if address is None:
            await self._app(scope, receive, send)
            return
        response = await self._answer(scope, Request(scope, receive), *address.groups())
        await response(scope, receive, send)

    async def _answer(
        self, scope: Scope, request: Request, kind: str | None, name: str
    ) -> Response:
        """Tells who writes the request down what it was for, as the app's routing does."""
        if kind is None:
            scope["route"], scope["path_params"] = _WEBHOOK, {"workflow": name}
            return await hooks.plainly_delivered(name, request, self._parts)
        scope["route"], scope["path_params"] = _OTHER, {"kind": kind, "name": name}
        return await hooks.answered(kind, name, request, self._parts)
