"""What templates and conditions can name: fields of the state, a node's own inputs, and parts of both."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cadre_executor.domain.workflows import Scope
from cadre_executor.language.types import (
    Anything,
    DictOf,
    Integer,
    ListOf,
    ObjectOf,
    Type,
    bare,
)
from cadre_kit.errors import FailedPrecondition

LOOP_COUNTER = "_loop_iteration_"
"""With a node's id behind it: how often the node was visited in a loop, readable like a state field."""

Steps: TypeAlias = tuple[str | int, ...]


class ReferenceFailed(FailedPrecondition):
    """What a template or condition names is not in the state now: an index out of range, a missing key, null."""

    code = "REFERENCE_FAILED"


class UnknownName(Exception):
    """A name that no value will ever have; `known` holds the names that exist in its place."""

    def __init__(self, code: str, message: str, *, name: str, known: Collection[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.name = name
        self.known = known


@dataclass(frozen=True, kw_only=True)
class Names:
    """Everything that can be named at one place of a file."""

    state: Mapping[str, Type]
    nodes: Collection[str] = ()
    inputs: Mapping[str, Type] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A place in the state, or in a node's inputs."""

    name: str
    steps: Steps = ()
    of_inputs: bool = False

    @property
    def text(self) -> str:
        """As a template writes it between its braces."""
        shown = self.name if self.of_inputs else f"state.{self.name}"
        for step in self.steps:
            shown += f".{step}" if isinstance(step, str) else f"[{step}]"
        return shown

    def is_in(self, scope: Scope) -> bool:
        """Whether the scope has what it is a part of."""
        return self.name in (scope.inputs if self.of_inputs else scope.state)

    def read(self, scope: Scope) -> Any:
        """Its value now; null for a field that nothing has written. Raises ReferenceFailed."""
        if self.of_inputs:
            value = scope.inputs.get(self.name)
        else:
            value = scope.state.get(self.name, 0 if self.name.startswith(LOOP_COUNTER) else None)
        for step in self.steps:
            value = self._part(value, step)
        return value

    def _part(self, value: Any, step: str | int) -> Any:
        if isinstance(value, Mapping) and str(step) in value:
            return value[str(step)]
        if isinstance(value, (list, tuple)) and isinstance(step, int):
            if -len(value) <= step < len(value):
                return value[step]
            reason = f"the list has {len(value)} items"
        elif value is None:
            reason = "its parent is null"
        else:
            reason = f"there is no {step!r}"
        raise ReferenceFailed(
            f"{self.text} has no value: {reason}",
            resolution="write the value before it is read, or give it a default",
            metadata={"reference": self.text},
        )


def find(names: Names, parts: Steps) -> tuple[Reference, Type]:
    """The reference that dotted parts write, and the type of its values.

    `state.x...` is the state; a bare name is a node's input, else a state field. Raises UnknownName.
    """
    first = str(parts[0])
    if first in names.inputs:
        return _typed(Reference(name=first, steps=parts[1:], of_inputs=True), names.inputs[first])
    if first == "state" and len(parts) > 1:
        return _of_state(names, parts[1:], bare_name=False)
    return _of_state(names, parts, bare_name=True)


def _of_state(names: Names, parts: Steps, *, bare_name: bool) -> tuple[Reference, Type]:
    name = str(parts[0])
    if name.startswith(LOOP_COUNTER):
        node = name.removeprefix(LOOP_COUNTER)
        if node not in names.nodes:
            raise UnknownName(
                "UNKNOWN_NODE", f"{name[:80]!r} counts no node", name=node, known=names.nodes
            )
        return _typed(Reference(name=name, steps=parts[1:]), Integer())
    if name not in names.state:
        what = (
            "neither an input of this node nor a state field" if bare_name else "not a state field"
        )
        known = (*names.inputs, *names.state) if bare_name else tuple(names.state)
        raise UnknownName("UNKNOWN_STATE_FIELD", f"{name[:80]!r} is {what}", name=name, known=known)
    return _typed(Reference(name=name, steps=parts[1:]), names.state[name])


def _typed(reference: Reference, type_: Type) -> tuple[Reference, Type]:
    for step in reference.steps:
        type_ = part_type(type_, step, reference.text)
    return reference, type_


def part_type(type_: Type, step: str | int, whole: str) -> Type:
    """The type of one part of a value. Raises UnknownName when no value of the type has it."""
    match bare(type_):
        case Anything() as anything:
            return anything
        case ObjectOf(members=members):
            if step in members:
                return members[str(step)].type
            raise UnknownName(
                "UNKNOWN_PART",
                f"{whole}: the object has no field {str(step)[:80]!r}",
                name=str(step),
                known=tuple(members),
            )
        case DictOf(values=values):
            return values
        case ListOf(items=items):
            if isinstance(step, int):
                return items
            raise UnknownName(
                "UNKNOWN_PART",
                f"{whole}: a list has no {str(step)[:80]!r}, only [0], [1], ...",
                name=str(step),
            )
        case other:
            raise UnknownName(
                "UNKNOWN_PART",
                f"{whole}: a value of type {other.text} has no parts",
                name=str(step),
            )
