"""Workflow files: what the language makes of them, and how they are kept."""

import asyncio
import difflib
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from cadre_executor.domain.agents import NamedAgent
from cadre_executor.domain.cases import Case
from cadre_executor.domain.routes import Plan, plan_routes
from cadre_executor.domain.triggers import Trigger
from cadre_executor.domain.workflows import State, Workflow
from cadre_kit.errors import InvalidInput, NotFound, Problem, Severity

__all__ = [
    "Definition",
    "Document",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "InputField",
    "Language",
    "Library",
    "Parsed",
    "WorkflowInvalid",
    "WorkflowNotFound",
]

_KEPT_DOCUMENTS = 256


class WorkflowNotFound(NotFound):
    """No applied workflow has the name, or the version."""

    code = "WORKFLOW_NOT_FOUND"

    def __init__(self, name: str, version: int = 0, *, known: Iterable[str] = ()) -> None:
        what = f"no workflow {name!r}" if not version else f"no version {version} of {name!r}"
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"Did you mean {near[0]!r}? " if near and not version else ""
        super().__init__(
            what,
            resolution=f"{hint}List the workflows with `cadre workflows list`; store one with `cadre apply`.",
            metadata={"workflow": name, "version": str(version)},
        )


class WorkflowInvalid(InvalidInput):
    """A workflow file has problems."""

    code = "WORKFLOW_INVALID"

    def __init__(self, problems: Sequence[Problem]) -> None:
        errors = [p for p in problems if p.severity is Severity.ERROR]
        first = errors[0].message if errors else "it describes no workflow"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(
            f"the workflow file is not valid: {first}{more}",
            resolution="Mend the problems listed; `cadre validate FILE` shows them all.",
            problems=problems,
        )


@dataclass(frozen=True, kw_only=True)
class InputField:
    """A value that a run starts with. `allowed` is None when any value of the type is."""

    name: str
    type: str
    required: bool
    has_default: bool = False
    default: Any = None
    description: str = ""
    allowed: Sequence[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """A step, for drawing. `outputs` are the state fields that it writes; `structured`: its result has a schema."""

    id: str
    kind: str
    label: str
    outputs: tuple[str, ...] = ()
    structured: bool = False


@dataclass(frozen=True, kw_only=True)
class GraphEdge:
    """A way between two steps, for drawing. `condition` is as the file writes it, "default" for the rest."""

    source: str
    target: str
    condition: str = ""
    loop: bool = False


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The shape of a workflow, in the file's order, for drawing; START and END are not among the nodes."""

    nodes: Sequence[GraphNode] = ()
    edges: Sequence[GraphEdge] = ()


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a text says: a workflow, unless a problem is an error."""

    workflow: Workflow | None
    problems: tuple[Problem, ...] = ()
    inputs: tuple[InputField, ...] = ()
    graph: Graph = Graph()
    triggers: tuple[Trigger, ...] = ()
    cases: tuple[Case, ...] = ()
    agents: tuple[NamedAgent, ...] = ()


class Language(Protocol):
    """Reads workflow files."""

    def parse(self, source: str) -> Parsed:
        """The workflow with all problems; never raises, whatever the text."""

    def check_inputs(self, workflow: Workflow, inputs: Mapping[str, Any]) -> State:
        """The whole state that a run begins with. Raises InvalidInput with a problem for each input."""

    def with_test_added(self, source: str, test: Mapping[str, Any]) -> str:
        """The text of a valid file with a test behind its own, and else as it was. Raises what forbids that."""

    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of workflow files."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A version of a workflow as stored; version 0 is not stored."""

    name: str
    source: str
    version: int = 0
    description: str = ""
    tags: tuple[str, ...] = ()
    applied_time: datetime | None = None

    def as_version(self, version: int) -> "Definition":
        """The same file as another version, applied now."""
        return replace(self, version=version, applied_time=datetime.now(UTC))


@dataclass(frozen=True, kw_only=True)
class Document:
    """A valid file, with all that can be worked out from it before a run."""

    digest: str
    workflow: Workflow
    parsed: Parsed
    plan: Plan

    def definition(self, source: str) -> Definition:
        """The definition to store."""
        return Definition(
            name=self.workflow.name,
            source=source,
            description=self.workflow.description,
            tags=self.workflow.tags,
        )


class Library:
    """Reads files, and keeps the 256 read last: a version never changes, so its text is its key."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._kept: OrderedDict[str, Document] = OrderedDict()

    async def parse(self, source: str) -> Parsed:
        """What the text says, with all its problems."""
        kept = self._kept.get(source)
        # In a thread: the worst files that the limits let through take seconds.
        return await asyncio.to_thread(self.language.parse, source) if kept is None else kept.parsed

    async def document(self, source: str) -> Document:
        """The valid file. Raises WorkflowInvalid."""
        if source in self._kept:
            self._kept.move_to_end(source)
            return self._kept[source]
        document = await asyncio.to_thread(self._read, source)
        self._kept[source] = document
        if len(self._kept) > _KEPT_DOCUMENTS:
            self._kept.popitem(last=False)
        return document

    def _read(self, source: str) -> Document:
        parsed = self.language.parse(source)
        if parsed.workflow is None or any(p.severity is Severity.ERROR for p in parsed.problems):
            raise WorkflowInvalid(parsed.problems)
        return Document(
            digest=_digest(source),
            workflow=parsed.workflow,
            parsed=parsed,
            plan=plan_routes(parsed.workflow),
        )


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
