"""Where workflow files are checked, stored and found again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cadre_executor.domain.agents import AgentNotFound, NamedAgent
from cadre_executor.domain.definitions import Definition, Library, Parsed
from cadre_executor.domain.registries import Registry
from cadre_executor.domain.stores import DefinitionStore
from cadre_executor.domain.triggers import Trigger
from cadre_kit.errors import Problem, Severity

__all__ = ["Applied", "Shelf", "Shown", "Triggered"]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A version, and what its file says."""

    definition: Definition
    parsed: Parsed


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The version that now is the newest, whether it is new, and notes on parts of the file without effect."""

    shown: Shown
    created: bool
    notes: Sequence[Problem]


@dataclass(frozen=True, kw_only=True)
class Triggered:
    """A workflow at its newest version, and what starts it by itself."""

    name: str
    version: int
    triggers: tuple[Trigger, ...]


class Shelf:
    """Applied workflow files."""

    def __init__(
        self, *, definitions: DefinitionStore, library: Library, registry: Registry
    ) -> None:
        self._definitions = definitions
        self._library = library
        self._known: dict[tuple[str, int], tuple[Trigger, ...]] = {}
        self._registry = registry

    async def validate(self, source: str) -> Parsed:
        """What the file says, with all its problems."""
        parsed = await self._library.parse(source)
        return replace(parsed, problems=(*parsed.problems, *await self._unknown_agents(parsed)))

    async def apply(self, source: str) -> Applied:
        """Stores the file as the next version, unless it equals the newest. Raises WorkflowInvalid."""
        document = await self._library.document(source)
        stored, created = await self._definitions.apply(document.definition(source))
        notes = [p for p in document.parsed.problems if p.severity is Severity.NOTE]
        notes += await self._unknown_agents(document.parsed)
        shown = Shown(definition=stored, parsed=document.parsed)
        return Applied(shown=shown, created=created, notes=notes)

    async def get(self, name: str, version: int) -> Shown:
        """One version; 0 is the newest. Raises WorkflowNotFound."""
        definition = await self._definitions.get(name, version)
        parsed = await self._library.parse(definition.source)
        return Shown(definition=definition, parsed=parsed)

    async def list(self, *, limit: int, after: str) -> Sequence[Definition]:
        """The newest versions by name, after a name."""
        return await self._definitions.list(limit=limit, after=after)

    async def versions(self, name: str) -> Sequence[Definition]:
        """All versions, newest first. Raises WorkflowNotFound."""
        return await self._definitions.versions(name)

    async def delete(self, name: str) -> None:
        """Hides a workflow and its versions. Raises WorkflowNotFound."""
        await self._definitions.delete(name)

    async def triggers(self) -> Sequence[Triggered]:
        """All workflows by name, each with the triggers of its newest version."""
        newest = await self._definitions.newest()
        known = {
            (each.name, each.version): self._known.get((each.name, each.version)) for each in newest
        }
        for definition in newest:
            key = (definition.name, definition.version)
            if known[key] is None:
                known[key] = await self._triggers_of(definition)
        # Versions never change, and only the newest are asked for.
        self._known = {key: found for key, found in known.items() if found is not None}
        return [
            Triggered(name=name, version=version, triggers=triggers)
            for (name, version), triggers in self._known.items()
        ]

    async def _triggers_of(self, definition: Definition) -> tuple[Trigger, ...]:
        if not definition.source:
            return ()
        parsed = await self._library.parse(definition.source)
        return parsed.triggers if parsed.workflow is not None else ()

    async def _unknown_agents(self, parsed: Parsed) -> tuple[Problem, ...]:
        """Notes on agents that nobody has registered yet; they may by the time that a run needs them."""
        if parsed.workflow is None or not parsed.agents:
            return ()
        known = [agent.name for agent in await self._registry.list()]
        return tuple(_unknown(named, known) for named in parsed.agents if named.name not in known)

    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of workflow files."""
        return self._library.language.schema()


def _unknown(named: NamedAgent, known: Sequence[str]) -> Problem:
    error = AgentNotFound(named.name, known=known)
    return Problem(
        code=error.code,
        message=error.message,
        path=named.path,
        line=named.line,
        column=named.column,
        resolution=error.resolution,
        severity=Severity.NOTE,
    )
