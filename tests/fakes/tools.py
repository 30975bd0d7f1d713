"""Tools for tests of the engine: the catalogue's names and schemas, with answers that the test gives."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jsonschema

from cadre_executor.domain.catalogue import CATALOGUE
from cadre_executor.domain.tools import ToolContext, ToolFailed, ToolResult, ToolSpec, UnknownTool
from cadre_executor.domain.workflows import ToolUse, Workflow
from cadre_kit.errors import InvalidInput

Answer = Callable[[Mapping[str, Any]], Any]


class FakeTools:
    """Answers by `answers`, by the tool's name; else with the arguments. Holds calls back while `gate` is closed.

    `lacking` says by name why a tool or a secret cannot be used. `keys` are the idempotency keys of all calls,
    in order; `cancelled` those of calls that were cancelled.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.lacking: dict[str, str] = {}
        self.keys: list[str] = []
        self.cancelled: list[str] = []
        self.ended_loops: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def specs(self, uses: Sequence[ToolUse], *, context: ToolContext) -> Sequence[ToolSpec]:
        return [_spec(use.name) for use in uses]

    async def invoke(
        self,
        use: ToolUse,
        arguments: Mapping[str, Any],
        *,
        context: ToolContext,
        seconds: float,
    ) -> ToolResult:
        self.keys.append(context.key)
        _check(use.name, arguments)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(context.key)
            raise
        finally:
            self.at_once -= 1
        answer = self.answers.get(use.name)
        return ToolResult(value=dict(arguments) if answer is None else answer(arguments))

    def lacks(self, use: ToolUse, workflow: Workflow) -> str:
        return self.lacking.get(use.name, "")

    def lacks_secret(self, name: str) -> str:
        return self.lacking.get(name, "")

    async def end_loop(self, loop: str) -> None:
        self.ended_loops.append(loop)

    async def held_by(self) -> Sequence[str]:
        return []

    async def release(self, run_id: str) -> None:
        pass


def fails(arguments: Mapping[str, Any]) -> Any:
    """An answer that is a failure."""
    raise ToolFailed("the line is dead", resolution="Try another one.")


def _spec(name: str) -> ToolSpec:
    if name not in CATALOGUE:
        raise UnknownTool(f"no tool {name!r}")
    return CATALOGUE[name].spec


def _check(name: str, arguments: Mapping[str, Any]) -> None:
    try:
        jsonschema.validate(dict(arguments), dict(_spec(name).parameters))
    except jsonschema.ValidationError as exc:
        raise InvalidInput(exc.message, code="BAD_ARGUMENTS") from exc
