"""Remote agents for tests: the A2A SDK's own server on loopback, which does what the message says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import (
    create_agent_card_routes,
    create_jsonrpc_routes,
    create_rest_routes,
)
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Part,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Value
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as ASGIMessage

JSONRPC, HTTP_JSON = "JSONRPC", "HTTP+JSON"


@dataclass(kw_only=True)
class RemoteAgent(AgentExecutor):
    """An agent that answers "echo: ..." to text, and to data with the same data; other words make it behave:

    ASK asks for a colour, twice for ASK TWICE; FAIL fails; REJECT rejects; LOGIN wants a login; WAIT works until it is
    cancelled; MESSAGE answers without a task. `messages` are the ids of all that it got, in order. `cut_off` breaks
    the connection in place of the next so many answers to messages; the next message is refused for what `refuses`
    says; without `lists` it tells nobody of its tasks.
    """

    url: str = ""
    token: str = ""
    cut_off: int = 0
    refuses: str = ""
    lists: bool = True
    messages: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    working: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        self.messages.append(context.message.message_id)
        text = context.get_user_input()
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        if text.startswith("MESSAGE"):
            await event_queue.enqueue_event(updater.new_agent_message([Part(text="at once")]))
            return
        if context.current_task is None:
            await event_queue.enqueue_event(_new_task(context))
        await updater.start_work()
        await self._do(text, context, updater)

    async def _do(self, text: str, context: RequestContext, updater: TaskUpdater) -> None:
        def said(words: str) -> Any:
            return updater.new_agent_message([Part(text=words)])

        first = context.current_task.history[0].parts[0].text if context.current_task else ""
        if "TWICE" in first and text == "red":
            await updater.requires_input(said("Which other colour?"))
        elif text.startswith("ASK"):
            await updater.requires_input(said("Which colour?"))
        elif text.startswith("FAIL"):
            await updater.failed(said("the printer is out of paper"))
        elif text.startswith("REJECT"):
            await updater.reject(said("not my work"))
        elif text.startswith("LOGIN"):
            await updater.requires_auth(said("sign in first"))
        elif text.startswith("WAIT"):
            self.working.set()
            await self.let_go.wait()
            await self._give(text, context, updater)
        else:
            await self._give(text, context, updater)

    async def _give(self, text: str, context: RequestContext, updater: TaskUpdater) -> None:
        assert context.message is not None
        data = [part.data for part in context.message.parts if part.HasField("data")]
        parts = [Part(data=data[0])] if data else [Part(text=f"echo: {text}")]
        await updater.add_artifact(parts)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.cancelled.append(context.task_id or "")
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def _new_task(context: RequestContext) -> Task:
    return Task(
        id=context.task_id,
        context_id=context.context_id,
        status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
        history=[context.message] if context.message else [],
    )


def agent_card(url: str, binding: str = JSONRPC, version: str = "1.0") -> AgentCard:
    """The card of an agent at an address."""
    return AgentCard(
        name="Echo agent",
        description="Says it again.",
        version="2.1",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
        ],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[AgentSkill(id="echo", name="Echo", description="Repeats.", tags=["test"])],
    )


def card_document(url: str, binding: str = JSONRPC, version: str = "1.0") -> dict[str, Any]:
    """The same as JSON."""
    document: dict[str, Any] = MessageToDict(agent_card(url, binding, version))
    return document


def value(**members: Any) -> Value:
    """Data as a part carries it."""
    found = Value()
    found.struct_value.update(members)
    return found


@asynccontextmanager
async def remote_agent(
    binding: str = JSONRPC, *, token: str = "", port: int = 0
) -> AsyncIterator[RemoteAgent]:
    """An agent on a free port. With a token it takes no request without."""
    agent = RemoteAgent(token=token)
    app = Starlette()
    guarded = _Guard(app, agent)
    server = uvicorn.Server(
        uvicorn.Config(guarded, host="127.0.0.1", port=port, log_level="critical", lifespan="off")
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    agent.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    _mount(app, agent, binding)
    serving = asyncio.create_task(server.main_loop())
    try:
        yield agent
    finally:
        agent.let_go.set()
        server.should_exit = True
        server.force_exit = True
        await serving
        await server.shutdown()


def _mount(app: Starlette, agent: RemoteAgent, binding: str) -> None:
    card = agent_card(agent.url, binding)
    if agent.token:
        card.security_schemes["key"].http_auth_security_scheme.scheme = "bearer"
        card.security_requirements.add().schemes["key"].list.extend([])
    handler = DefaultRequestHandler(agent, InMemoryTaskStore(), card)
    app.router.routes.extend(create_agent_card_routes(card))
    app.router.routes.extend(create_jsonrpc_routes(handler, "/"))
    app.router.routes.extend(create_rest_routes(handler))


class _Guard:
    """Notes the headers of requests, and lets in those with the agent's token."""

    def __init__(self, app: ASGIApp, agent: RemoteAgent) -> None:
        self._app = app
        self._agent = agent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, token = dict(Headers(scope=scope)), self._agent.token
        self._agent.headers.append(headers)
        if token and headers.get("authorization") != f"Bearer {token}":
            await JSONResponse({"error": "who are you?"}, status_code=401)(scope, receive, send)
        elif scope["path"] == "/tasks" and not self._agent.lists:
            await JSONResponse({"error": {"code": 501}}, status_code=501)(scope, receive, send)
        elif scope["path"] == "/message:send" and self._agent.refuses:
            error = {"code": 400, "message": self._agent.refuses}
            self._agent.refuses = ""
            await JSONResponse({"error": error}, status_code=400)(scope, receive, send)
        elif scope["path"] == "/message:send" and self._agent.cut_off:
            self._agent.cut_off -= 1
            # It comes, and is worked on; uvicorn closes the connection in the middle of the answer.
            await self._app(scope, receive, _nowhere)
            length = [(b"content-length", b"1000")]
            await send({"type": "http.response.start", "status": 200, "headers": length})
        else:
            await self._app(scope, receive, send)


async def _nowhere(message: ASGIMessage) -> None:
    pass
