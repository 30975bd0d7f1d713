"""Requests to remote agents by A2A 1.0: JSON-RPC and HTTP+JSON, over connections that are checked."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2
from opentelemetry import propagate

from cadre_executor.adapters.agents.answers import sent_task, task_of, tasks_of
from cadre_executor.adapters.agents.cards import card_url_of, parse_card
from cadre_executor.domain.agents import (
    Agent,
    AgentAnswerInvalid,
    AgentCardInvalid,
    AgentRefused,
    AgentSecretMissing,
    AgentUnreachable,
    Binding,
    Card,
    Credential,
    Interface,
    Outgoing,
    RemoteTask,
)
from cadre_kit.addresses import HostUnknown, port_of
from cadre_kit.errors import DeadlineExceeded
from cadre_kit.outgoing import Ask, Fetched, OutgoingFailed, TooManyRedirects, fetch

__all__ = ["A2aAgents"]

_SECONDS = 30.0
_CARD_SECONDS = 10.0
_MOST_BYTES = 8 * 1024 * 1024
_MOST_CARD_BYTES = 512 * 1024
_PAGE_SIZE = 100
_CLOCKS_APART = timedelta(minutes=5)
_MOST_PAGES = 20
_MOST_SAID = 1000
_ENDED, _UNKNOWN_TASK = -32002, -32001
# What a balancer or an agent that restarts says.
_NOT_NOW = frozenset({429, 502, 503, 504})


class A2aAgents:
    """Calls agents. `variables` hold the secrets that registrations name."""

    def __init__(self, client: httpx2.AsyncClient, variables: Mapping[str, str]) -> None:
        self._client = client
        self._variables = variables

    def parse(self, document: object) -> Card:
        """The card of a document."""
        return parse_card(document)

    async def read_card(self, url: str, *, secret: str) -> Card:
        """The card at an address. Its secret goes there only once it is asked for."""
        place = card_url_of(url)
        answer = await self._fetched(url, Ask(url=place, seconds=_CARD_SECONDS))
        if answer.status in (401, 403) and secret:
            headers = self._credentials(Credential(), secret, url)
            answer = await self._fetched(
                url, Ask(url=place, headers=headers, seconds=_CARD_SECONDS)
            )
        if answer.status in _NOT_NOW:
            raise AgentUnreachable(f"{place} answered with HTTP {answer.status}")
        if answer.status != 200:
            raise AgentCardInvalid(
                f"there is no agent card at {place}: HTTP {answer.status}",
                resolution="Give the address of the card, or what it is below; name a secret if it wants one.",
                metadata={"status": str(answer.status)},
            )
        card = parse_card(_json(answer.body, place))
        if secret and _origin(card.interface.url) != _origin(place):
            raise AgentCardInvalid(
                f"the card at {place} sends its callers to another host, which would get the secret",
                resolution="Register the agent by the address at which it takes messages.",
            )
        return card

    async def send(self, agent: Agent, message: Outgoing) -> RemoteTask:
        """Sends a message; does not wait for the task's end."""
        part = {"text": message.text} if message.data is None else {"data": message.data}
        said = {"messageId": message.id, "role": "ROLE_USER", "parts": [part]}
        if message.task_id:
            said["taskId"] = message.task_id
        if message.context_id:
            said["contextId"] = message.context_id
        params = {"message": said, "configuration": {"returnImmediately": True}}
        return sent_task(agent.name, await self._call(agent, "SendMessage", params))

    async def task(self, agent: Agent, task_id: str) -> RemoteTask:
        """A task as it stands, with its last messages."""
        params = {"id": task_id, "historyLength": 20}
        return task_of(agent.name, await self._call(agent, "GetTask", params))

    async def find(self, agent: Agent, message_id: str, *, since: datetime) -> RemoteTask | None:
        """The task that a message began, among those that changed since, which is in UTC."""
        params: dict[str, Any] = {
            "pageSize": _PAGE_SIZE,
            "historyLength": 100,
            "statusTimestampAfter": (since - _CLOCKS_APART).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        for _ in range(_MOST_PAGES):
            page = await self._call(agent, "ListTasks", params)
            tasks, token = tasks_of(agent.name, page)
            for task in tasks:
                if message_id in task.message_ids:
                    return await self.task(agent, task.id)
            if not token:
                break
            params["pageToken"] = token
        return None

    async def cancel(self, agent: Agent, task_id: str) -> None:
        """Asks for a task to be stopped."""
        try:
            await self._call(agent, "CancelTask", {"id": task_id})
        except AgentRefused as error:
            if error.reason not in (_ENDED, _UNKNOWN_TASK, 404):
                raise

    async def _call(self, agent: Agent, method: str, params: Mapping[str, Any]) -> object:
        place = agent.card.interface
        headers = {"A2A-Version": "1.0", "Accept": "application/json"}
        headers["Content-Type"] = "application/json"
        propagate.inject(headers)
        if agent.card.credential is not None:
            headers |= self._credentials(agent.card.credential, agent.secret, agent.name)
        if place.binding is Binding.JSONRPC:
            ask = _json_rpc(place, method, params, headers)
        else:
            ask = _http_json(place, method, params, headers)
        answer = await self._fetched(agent.name, ask)
        if answer.status in _NOT_NOW:
            raise AgentUnreachable(
                f"the agent {agent.name!r} cannot answer now: HTTP {answer.status}",
                metadata={"agent": agent.name, "status": str(answer.status)},
            )
        return _result(agent.name, answer, place.binding)

    def _credentials(self, wanted: Credential, secret: str, agent: str) -> dict[str, str]:
        """Raises AgentSecretMissing."""
        if not secret:
            raise AgentSecretMissing(
                f"the agent {agent!r} wants a token or key, and it was registered without one",
                resolution="Set a variable such as AGENT_TOKEN for the executor, and register the agent anew with"
                " `cadre agents add URL --secret AGENT_TOKEN`.",
                metadata={"agent": agent},
            )
        value = self._variables.get(secret, "")
        if not value:
            raise AgentSecretMissing(
                f"{secret!r}, the secret of the agent {agent!r}, is not set in the executor's environment",
                resolution=f"Set {secret} in the environment or in .env, and start the executor again.",
                metadata={"agent": agent, "name": secret},
            )
        return {wanted.header: f"{wanted.prefix}{value}"}

    async def _fetched(self, agent: str, ask: Ask) -> Fetched:
        try:
            return await fetch(self._client, ask)
        except HostUnknown as error:
            raise AgentUnreachable(
                f"the agent {agent!r} cannot be found: {error.message}", sent=False
            ) from error
        except TooManyRedirects as error:
            raise AgentRefused(agent, 302, "it sends its callers on to another address") from error
        except (OutgoingFailed, DeadlineExceeded) as error:
            is_refused = isinstance(error.__cause__, httpx2.ConnectError)
            raise AgentUnreachable(
                f"the agent {agent!r} does not answer: {error.message}",
                metadata={"agent": agent},
                sent=not is_refused,
            ) from error


def _json_rpc(
    place: Interface, method: str, params: Mapping[str, Any], headers: Mapping[str, str]
) -> Ask:
    told = {**params, "tenant": place.tenant} if place.tenant else params
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": told}
    return _ask(place.url, "POST", headers, json.dumps(body).encode())


def _http_json(
    place: Interface, method: str, params: Mapping[str, Any], headers: Mapping[str, str]
) -> Ask:
    base = f"{place.url}/{quote(place.tenant)}" if place.tenant else place.url
    task = quote(str(params.get("id", "")), safe="")
    rest = urlencode({name: value for name, value in params.items() if name != "id"})
    match method:
        case "SendMessage":
            return _ask(f"{base}/message:send", "POST", headers, json.dumps(params).encode())
        case "CancelTask":
            return _ask(f"{base}/tasks/{task}:cancel", "POST", headers, b"{}")
        case "GetTask":
            return _ask(f"{base}/tasks/{task}?{rest}", "GET", headers)
        case _:
            return _ask(f"{base}/tasks?{rest}", "GET", headers)


def _ask(url: str, method: str, headers: Mapping[str, str], body: bytes = b"") -> Ask:
    return Ask(
        url=url,
        method=method,
        headers=headers,
        body=body,
        seconds=_SECONDS,
        max_bytes=_MOST_BYTES,
        # A message that is sent on to another place would be sent twice, or to whom nobody registered.
        max_redirects=0,
    )


def _result(agent: str, answer: Fetched, binding: Binding) -> object:
    """What the request gave. Raises AgentRefused and AgentAnswerInvalid."""
    if answer.status in (401, 403):
        raise AgentRefused(agent, answer.status, "it does not accept the credentials")
    document = _document(answer, agent)
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        said = str(error.get("message", "no reason given"))[:_MOST_SAID]
        raise AgentRefused(agent, _reason(error, answer.status), said)
    if answer.status >= 300 or not isinstance(document, dict):
        raise AgentRefused(agent, answer.status, f"HTTP {answer.status}")
    return document if binding is Binding.HTTP_JSON else document.get("result")


def _document(answer: Fetched, agent: str) -> Any:
    """What was answered. Raises AgentAnswerInvalid, and AgentUnreachable for what only a broken server says."""
    try:
        return _json(answer.body, agent) if answer.body else {}
    except AgentAnswerInvalid as error:
        if answer.status < 500:
            raise
        raise AgentUnreachable(
            f"the agent {agent!r} is broken: HTTP {answer.status}",
            metadata={"agent": agent, "status": str(answer.status)},
        ) from error


_REASONS = {"TASK_NOT_FOUND": _UNKNOWN_TASK, "TASK_NOT_CANCELABLE": _ENDED}


def _reason(error: Mapping[str, Any], status: int) -> int:
    """The protocol's own code; HTTP+JSON says it in words."""
    code = error.get("code")
    if isinstance(code, int) and code < 0:
        return code
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict) and detail.get("reason") in _REASONS:
            return _REASONS[detail["reason"]]
    return status


def _json(body: bytes, agent: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise AgentAnswerInvalid(
            f"{agent!r} does not answer in JSON",
            resolution="Check that the address is an A2A agent's.",
            metadata={"agent": agent},
        ) from exc


def _origin(url: str) -> tuple[str, int]:
    return urlsplit(url).hostname or "", port_of(url)
