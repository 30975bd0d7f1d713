"""What a run of a workflow needs to be there, found without running anything."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol
from urllib.parse import urlsplit

from cadre_executor.domain.registries import Registry
from cadre_executor.domain.stores import DefinitionStore
from cadre_executor.domain.tools import Tools
from cadre_executor.domain.workflows import (
    AgentAction,
    ApprovalAction,
    CodeAction,
    LlmAction,
    Node,
    SandboxMode,
    Scope,
    State,
    ToolAction,
    ToolUse,
    Workflow,
    WorkflowAction,
)
from cadre_kit.errors import CadreError, NotFound

__all__ = ["Need", "NeedKind", "Needs", "SandboxModes", "merged"]

_WHOLE_HOST = re.compile(r"https?://[^/?#]+[/?#]")
_ANY_HOST = "*"
# Tools that reach whatever address they are given.
_REACHES_OUT = frozenset({"http_client", "web_scrape"})
_RUNS_IN = {
    "python": SandboxMode.PYTHON,
    "shell": SandboxMode.DOCKER,
    "process": SandboxMode.DOCKER,
}


class NeedKind(Enum):
    """What kind of thing is needed."""

    MODEL = "model"
    TOOL = "tool"
    HOST = "host"
    SECRET = "secret"
    WORKFLOW = "workflow"
    SERVICE = "service"
    PERSON = "person"
    AGENT = "agent"


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing, the nodes that need it, and why it is missing; empty when it is not."""

    kind: NeedKind
    name: str
    nodes: tuple[str, ...] = ()
    reason: str = ""


class SandboxModes(Protocol):
    """Which modes of the sandbox work."""

    async def lacks(self, mode: SandboxMode) -> str:
        """Why programs cannot run in a mode; empty when they can."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Finds needs; of models they are found by who counts their tokens."""

    tools: Tools
    sandbox: SandboxModes
    definitions: DefinitionStore
    agents: Registry

    async def of(self, workflow: Workflow, known: State) -> list[Need]:
        """All needs but models."""
        found = [
            Need(kind=NeedKind.SECRET, name=name, reason=self.tools.lacks_secret(name))
            for name in workflow.secrets
        ]
        for node in workflow.nodes.values():
            found += _hosts(node, workflow, known)
            found += self._tools(node, workflow)
            match node.action:
                case WorkflowAction() as action:
                    found.append(await self._workflow(node, action))
                case AgentAction() as action:
                    found += await self._agent(node, action)
                case ApprovalAction() as action:
                    choices = ", ".join(action.choices)
                    name = f"who answers {node.id} ({choices})"
                    found.append(Need(kind=NeedKind.PERSON, name=name, nodes=(node.id,)))
        return [*found, *await self._modes(workflow)]

    def _tools(self, node: Node, workflow: Workflow) -> Iterator[Need]:
        for use in _uses(node):
            reason = self.tools.lacks(use, workflow)
            yield Need(kind=NeedKind.TOOL, name=use.name, nodes=(node.id,), reason=reason)

    async def _workflow(self, node: Node, action: WorkflowAction) -> Need:
        reason = ""
        try:
            await self.definitions.get(action.workflow, action.version)
        except NotFound as missing:
            reason = f"{missing.message}. {missing.resolution}"
        version = f"@{action.version}" if action.version else ""
        name = f"{action.workflow}{version}"
        return Need(kind=NeedKind.WORKFLOW, name=name, nodes=(node.id,), reason=reason)

    async def _agent(self, node: Node, action: AgentAction) -> list[Need]:
        """The agent, and its host as far as it is registered."""
        need = Need(kind=NeedKind.AGENT, name=action.agent, nodes=(node.id,))
        try:
            agent = await self.agents.usable(action.agent)
        except CadreError as error:
            return [replace(need, reason=f"{error.message}. {error.resolution}")]
        return [need, *_host(node, agent.card.interface.url)]

    async def _modes(self, workflow: Workflow) -> list[Need]:
        nodes: dict[SandboxMode, list[str]] = {}
        for node in workflow.nodes.values():
            modes = {_RUNS_IN[use.name] for use in _uses(node) if use.name in _RUNS_IN}
            if isinstance(node.action, CodeAction):
                modes.add(node.action.limits.mode)
            for mode in modes:
                nodes.setdefault(mode, []).append(node.id)
        return [
            Need(
                kind=NeedKind.SERVICE,
                name=f"sandbox in mode {mode.value}",
                nodes=tuple(needing),
                reason=await self.sandbox.lacks(mode),
            )
            for mode, needing in nodes.items()
        ]


def merged(needs: list[Need]) -> list[Need]:
    """Each need once, with all its nodes."""
    found: dict[tuple[NeedKind, str], Need] = {}
    for need in needs:
        known = found.get((need.kind, need.name))
        nodes = need.nodes if known is None else tuple(dict.fromkeys((*known.nodes, *need.nodes)))
        reason = need.reason or (known.reason if known else "")
        found[need.kind, need.name] = Need(
            kind=need.kind, name=need.name, nodes=nodes, reason=reason
        )
    return list(found.values())


def _uses(node: Node) -> tuple[ToolUse, ...]:
    match node.action:
        case LlmAction(tools=tools):
            return tools
        case ToolAction(tool=tool):
            return (tool,)
    return ()


def _hosts(node: Node, workflow: Workflow, known: State) -> Iterator[Need]:
    """The hosts that a node reaches, as far as the file names them."""
    for use in _uses(node):
        server = use.name.removeprefix("mcp:").partition("/")[0]
        if use.name.startswith("mcp:") and server in workflow.mcp_servers:
            yield from _host(node, workflow.mcp_servers[server].url)
        elif use.name in _REACHES_OUT:
            yield from _host(node, _address(node, known) or f"http://{_ANY_HOST}/")
    if isinstance(node.action, LlmAction):
        for choice in (node.action.model, *node.action.model.fallbacks):
            yield from _host(node, choice.api_base)


def _host(node: Node, url: str) -> Iterator[Need]:
    if url:
        host = urlsplit(url).netloc.rpartition("@")[2]
        yield Need(kind=NeedKind.HOST, name=host, nodes=(node.id,))


def _address(node: Node, known: State) -> str:
    """The address that a tool node asks, if its host is known before the run."""
    if not isinstance(node.action, ToolAction) or "url" not in node.action.arguments:
        return ""
    sketch = node.action.arguments["url"].sketch(Scope(state=known))
    whole = sketch.text if not sketch.missing else ""
    return whole or ("" if not (begins := _WHOLE_HOST.match(sketch.text)) else begins[0])
