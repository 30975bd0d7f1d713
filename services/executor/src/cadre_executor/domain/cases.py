"""The tests that a workflow's file carries: runs with written replies, and what must hold at their end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cadre_executor.domain.workflows import Condition

__all__ = [
    "AsksTools",
    "Case",
    "Expectation",
    "Fails",
    "Gives",
    "Replies",
    "Reply",
    "WrittenCall",
]


@dataclass(frozen=True, kw_only=True)
class Gives:
    """A call is answered with a value; a model's text, or the document that its node's output_schema asks for."""

    value: Any


@dataclass(frozen=True, kw_only=True)
class Fails:
    """A call fails. `may_pass` is a failure that is tried again by a retry that names no codes."""

    code: str
    message: str = ""
    may_pass: bool = False


@dataclass(frozen=True, kw_only=True)
class WrittenCall:
    """A tool that a model calls, and what the tool gives; None when that is not written."""

    tool: str
    arguments: Mapping[str, Any]
    gives: Gives | Fails | None = None


@dataclass(frozen=True, kw_only=True)
class AsksTools:
    """A model asks for tools, and perhaps says something too."""

    calls: tuple[WrittenCall, ...]
    text: str = ""


Reply: TypeAlias = Gives | Fails | AsksTools


@dataclass(frozen=True, kw_only=True)
class Replies:
    """What answers the calls of one node: `always` each of them, or `listed` one after the other.

    In a for_each each entry of `listed` answers one item, all of its calls or, when it is a tuple, one after the other;
    the items of a later visit follow those of the visits before.
    """

    always: Reply | None = None
    listed: tuple[Reply | tuple[Reply, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A condition over the state at the end of a run, and where it stands in the file."""

    condition: Condition
    path: str
    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run on `inputs` in which `replies` answer for all that nodes call, by node. It passes when the run succeeds, or
    fails with the code `fails` if there is one, and all of `expect` hold over the state then."""

    name: str
    path: str
    line: int
    column: int
    inputs: Mapping[str, Any] = field(default_factory=dict)
    replies: Mapping[str, Replies] = field(default_factory=dict)
    expect: tuple[Expectation, ...] = ()
    fails: str = ""
