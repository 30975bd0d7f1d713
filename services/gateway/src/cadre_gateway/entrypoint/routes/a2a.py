"""A2A 1.0: each applied workflow is an agent, by JSON-RPC and by HTTP+JSON."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ValidationError

from cadre_gateway.domain.api_keys import Scope
from cadre_gateway.entrypoint import a2a_documents as a2a
from cadre_gateway.entrypoint.a2a_documents import A2aError, Fault
from cadre_gateway.entrypoint.a2a_tasks import Tasks
from cadre_gateway.entrypoint.access import READ, RUN, caller_of, require
from cadre_gateway.entrypoint.dependencies import Parts, TheParts
from cadre_gateway.entrypoint.errors import details_of
from cadre_gateway.entrypoint.streams import EventStream, aclosed, sse
from cadre_kit.errors import CadreError
from cadre_kit.logs import logger

__all__ = ["router"]

log = logger()
router = APIRouter(tags=["a2a"])

_BASE = "/a2a/{workflow}"
_CACHED = "private, max-age=60, must-revalidate"
_SURROGATE = re.compile("[\ud800-\udfff]")
_Workflow = Annotated[str, Path(max_length=100)]
Said = Callable[[dict[str, Any]], dict[str, Any]]
Model = TypeVar("Model", bound=BaseModel)


@router.get(f"{_BASE}/.well-known/agent-card.json", dependencies=[READ])
async def get_card(workflow: _Workflow, request: Request, parts: TheParts) -> Response:
    """The workflow's agent card."""
    url = f"{str(request.base_url).rstrip('/')}/a2a/{workflow}"
    body = json.dumps(await _tasks(workflow, request, parts).card(url), ensure_ascii=False).encode()
    headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "Cache-Control": _CACHED}
    known = [
        tag.strip().removeprefix("W/")
        for tag in request.headers.get("if-none-match", "").split(",")
    ]
    if "*" in known or headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.post(_BASE, dependencies=[READ])
async def json_rpc(workflow: _Workflow, request: Request, parts: TheParts) -> Response:
    """Every method, by JSON-RPC."""
    call_id: object = None
    try:
        call = _call(await request.body())
        call_id = _call_id(call)
        _check_version(request)
        method, params = _method(call)
        return await _by_json_rpc(
            method, params, call_id, _tasks(workflow, request, parts), request, parts
        )
    except A2aError as error:
        return _json(_failed(call_id, error))


async def _by_json_rpc(
    method: str,
    params: Mapping[str, Any],
    call_id: object,
    tasks: Tasks,
    request: Request,
    parts: Parts,
) -> Response:
    def said(result: dict[str, Any]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": call_id, "result": result}

    match method:
        case "SendMessage":
            require(request, Scope.RUN)
            run = await tasks.send(_read(a2a.SendMessage, params))
            return _json(said({"task": a2a.task(run)}))
        case "SendStreamingMessage":
            require(request, Scope.RUN)
            run = await tasks.begin(_read(a2a.SendMessage, params))
            return _stream(tasks.updates(run), said, _rpc_failure(call_id), request, parts)
        case "GetTask":
            run = await tasks.get(_read(a2a.GetTask, params).id)
            return _json(said(a2a.task(run)))
        case "ListTasks":
            return _json(said(await tasks.list(_read(a2a.ListTasks, params))))
        case "CancelTask":
            require(request, Scope.RUN)
            run = await tasks.cancel(_read(a2a.GetTask, params).id)
            return _json(said(a2a.task(run)))
        case "SubscribeToTask":
            run = await tasks.subscribed(_read(a2a.GetTask, params).id)
            return _stream(tasks.updates(run), said, _rpc_failure(call_id), request, parts)
    raise _unsupported(method)


@router.post(f"{_BASE}/message:send", dependencies=[RUN])
async def send_message(workflow: _Workflow, request: Request, parts: TheParts) -> Response:
    """SendMessage."""

    async def work() -> dict[str, Any]:
        run = await _tasks(workflow, request, parts).send(
            _read(a2a.SendMessage, _body(await request.body()))
        )
        return {"task": a2a.task(run)}

    return await _answered(request, work)


@router.post(f"{_BASE}/message:stream", dependencies=[RUN])
async def stream_message(workflow: _Workflow, request: Request, parts: TheParts) -> Response:
    """SendStreamingMessage."""
    tasks = _tasks(workflow, request, parts)
    try:
        _check_version(request)
        run = await tasks.begin(_read(a2a.SendMessage, _body(await request.body())))
    except A2aError as error:
        return _refused(error)
    return _stream(tasks.updates(run), dict, _http_failure, request, parts)


@router.get(f"{_BASE}/tasks", dependencies=[READ])
async def list_tasks(workflow: _Workflow, request: Request, parts: TheParts) -> Response:
    """ListTasks."""

    async def work() -> dict[str, Any]:
        return await _tasks(workflow, request, parts).list(
            _read(a2a.ListTasks, request.query_params)
        )

    return await _answered(request, work)


# Before the task itself, whose path would take it for an id.
@router.post(f"{_BASE}/tasks/{{task_id}}:cancel", dependencies=[RUN])
async def cancel_task(
    workflow: _Workflow, task_id: str, request: Request, parts: TheParts
) -> Response:
    """CancelTask."""

    async def work() -> dict[str, Any]:
        return a2a.task(await _tasks(workflow, request, parts).cancel(task_id))

    return await _answered(request, work)


@router.get(f"{_BASE}/tasks/{{task_id}}:subscribe", dependencies=[READ])
@router.post(f"{_BASE}/tasks/{{task_id}}:subscribe", dependencies=[READ])
async def subscribe_to_task(
    workflow: _Workflow, task_id: str, request: Request, parts: TheParts
) -> Response:
    """SubscribeToTask; the specification names both methods."""
    tasks = _tasks(workflow, request, parts)
    try:
        _check_version(request)
        run = await tasks.subscribed(task_id)
    except A2aError as error:
        return _refused(error)
    return _stream(tasks.updates(run), dict, _http_failure, request, parts)


@router.get(f"{_BASE}/tasks/{{task_id}}", dependencies=[READ])
async def get_task(
    workflow: _Workflow, task_id: str, request: Request, parts: TheParts
) -> Response:
    """GetTask."""

    async def work() -> dict[str, Any]:
        return a2a.task(await _tasks(workflow, request, parts).get(task_id))

    return await _answered(request, work)


def _tasks(workflow: str, request: Request, parts: Parts) -> Tasks:
    return Tasks(
        workflow=workflow,
        executor=parts.services.executor,
        waits=parts.waits,
        api_key=caller_of(request).name,
    )


def _check_version(request: Request) -> None:
    """Who names none means 0.3."""
    asked = request.headers.get("a2a-version", "") or request.query_params.get("A2A-Version", "")
    if asked != a2a.VERSION and not asked.startswith(f"{a2a.VERSION}."):
        raise A2aError(
            Fault.VERSION_NOT_SUPPORTED,
            f"A2A {asked or '0.3'} is not spoken here; send the header A2A-Version: {a2a.VERSION}",
        )


def _call(body: bytes) -> dict[str, Any]:
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise A2aError(Fault.PARSE_ERROR, "the body is not JSON") from exc
    if not isinstance(call, dict):
        raise A2aError(Fault.INVALID_REQUEST, "the body is not one JSON-RPC request")
    return call


def _body(body: bytes) -> dict[str, Any]:
    try:
        return _call(body)
    except A2aError as error:
        raise A2aError(Fault.INVALID_REQUEST, error.message) from error


def _call_id(call: Mapping[str, Any]) -> str | int | None:
    """What the answer is to name, if an answer can: half a surrogate pair cannot be written in UTF-8."""
    call_id = call.get("id")
    if isinstance(call_id, bool) or not isinstance(call_id, str | int | None):
        raise A2aError(Fault.INVALID_REQUEST, "the id is neither a text nor an integer")
    if isinstance(call_id, str) and _SURROGATE.search(call_id):
        raise A2aError(Fault.INVALID_REQUEST, "the id is no valid text")
    return call_id


def _method(call: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    method, params = call.get("method"), call.get("params", {})
    if call.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise A2aError(Fault.INVALID_REQUEST, "the body is not a request of JSON-RPC 2.0")
    if not isinstance(params, dict):
        raise A2aError(Fault.INVALID_PARAMS, "params must be an object")
    return method, params


def _unsupported(method: str) -> A2aError:
    if "PushNotificationConfig" in method:
        return A2aError(Fault.PUSH_NOTIFICATION_NOT_SUPPORTED, "push notifications are not sent")
    if method == "GetExtendedAgentCard":
        return A2aError(Fault.UNSUPPORTED_OPERATION, "there is no extended card; the card has all")
    return A2aError(Fault.METHOD_NOT_FOUND, f"there is no method {method[:100]!r}")


def _read(model: type[Model], params: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(dict(params))
    except (ValidationError, RecursionError) as exc:
        # The rejected value is left out: it may be a secret or a prompt.
        first = (
            exc.errors()[0] if isinstance(exc, ValidationError) else {"loc": (), "msg": "too deep"}
        )
        where = ".".join(str(part) for part in first["loc"])
        raise A2aError(Fault.INVALID_PARAMS, f"{where}: {first['msg']}") from exc


async def _answered(request: Request, work: Callable[[], Any]) -> Response:
    try:
        _check_version(request)
        return _json(await work(), media_type="application/a2a+json")
    except A2aError as error:
        return _refused(error)


def _refused(error: A2aError) -> Response:
    return _json(error.http_json, status=error.fault.value[1])


def _failed(call_id: object, error: A2aError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "error": error.json_rpc}


def _rpc_failure(call_id: object) -> Callable[[A2aError], dict[str, Any]]:
    return lambda error: _failed(call_id, error)


def _http_failure(error: A2aError) -> dict[str, Any]:
    return error.http_json


def _json(document: object, *, status: int = 200, media_type: str = "application/json") -> Response:
    body = json.dumps(document, ensure_ascii=False)
    return Response(body, status_code=status, media_type=media_type)


def _stream(
    updates: AsyncIterator[dict[str, Any]],
    said: Said,
    failed: Callable[[A2aError], dict[str, Any]],
    request: Request,
    parts: Parts,
) -> Response:
    return EventStream(
        _chunks(updates, said, failed, str(request.scope["cadre.request_id"])),
        heartbeat_seconds=parts.waits.heartbeat_seconds,
        stopping=parts.stopping,
        metrics=parts.metrics,
    )


async def _chunks(
    updates: AsyncIterator[dict[str, Any]],
    said: Said,
    failed: Callable[[A2aError], dict[str, Any]],
    request_id: str,
) -> AsyncIterator[bytes]:
    try:
        async for update in updates:
            yield sse(json.dumps(said(update), ensure_ascii=False))
    except A2aError as error:
        yield sse(json.dumps(failed(error)), event="error")
    except CadreError as error:
        log.warning("task_stream_failed", code=error.code, reason=error.message)
        details = details_of(error, request_id=request_id)
        lost = A2aError(Fault.UNSUPPORTED_OPERATION, f"{details.code}: {details.detail}")
        yield sse(json.dumps(failed(lost)), event="error")
    finally:
        await aclosed(updates)
