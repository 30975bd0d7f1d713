"""What the models of a run would cost, before any is asked: counted tokens, with every loop and list at its bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

from cadre_executor.domain.bounds import Visits
from cadre_executor.domain.catalogue import CATALOGUE
from cadre_executor.domain.dialogues import schema_of
from cadre_executor.domain.durations import MODEL_SECONDS, TOOL_SECONDS, most_seconds
from cadre_executor.domain.items import MOST_ITEMS
from cadre_executor.domain.peers import Message, Question, Role
from cadre_executor.domain.workflows import (
    LlmAction,
    ModelChoice,
    Node,
    Reducer,
    Scope,
    State,
    Workflow,
)
from cadre_kit.errors import CadreError

__all__ = ["Estimate", "Estimates", "Forecaster", "NodeForecast", "Usd"]

Usd = Decimal | None
"""US dollars; None is unknown."""
_FREE = Decimal(0)
# Counters, numbers and truth values, and what a mended reply is told, are shorter.
_SHORT_TOKENS = 40
_MENDING_TOKENS = 200
# Its models do not leave the llm-proxy.
_WITHIN = "embedded"
_COUNTER = "state._loop_iteration_"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one request would cost: an empty reply at least, the longest at most. `max_requests` like it are answered
    at most; `context_tokens` is 0, and `max_output_tokens` None, when unknown. `unavailable` says why the model cannot
    be asked now; `host` is empty for a model within, and when unknown; `tokens_per_second` is None unless measured.
    """

    provider: str
    model: str
    input_tokens: int
    max_output_tokens: int | None
    min_usd: Usd
    max_usd: Usd
    context_tokens: int
    max_requests: int
    unavailable: str = ""
    host: str = ""
    tokens_per_second: float | None = None

    @property
    def call_seconds(self) -> float:
        """How long one call takes at most."""
        if self.tokens_per_second is None or self.max_output_tokens is None:
            return MODEL_SECONDS
        return min(MODEL_SECONDS, self.max_output_tokens / self.tokens_per_second)

    @property
    def name(self) -> str:
        """The model, as files name it."""
        return f"{self.provider}/{self.model}"


class Estimates(Protocol):
    """Counts tokens and knows prices; asks no model."""

    async def estimate(self, question: Question, *, more_tokens: int = 0) -> Estimate:
        """What a question with so many input tokens more would cost. Raises what is wrong with its model."""


@dataclass(frozen=True, kw_only=True)
class NodeForecast:
    """What the model calls of one node would cost. `models` are those that may be asked; `problems` says of a model
    that cannot be asked why; `reason` why `max_usd` is unknown. `max_seconds` is None when only the run's limit bounds
    them; the shortest replies on the least visits take `min_seconds`."""

    models: tuple[str, ...] = ()
    max_calls: int = 0
    min_usd: Usd = _FREE
    max_usd: Usd = _FREE
    problems: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    hosts: tuple[str, ...] = ()
    min_seconds: float = 0.0
    max_seconds: float | None = None


@dataclass(kw_only=True)
class _Models:
    """The models of one node: all their names, what a call of those that are known costs, and what is wrong."""

    names: list[str] = field(default_factory=list)
    able: list[tuple[Question, Estimate]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def longest(self) -> int | None:
        """The most tokens of a reply; None when nobody knows."""
        limits = [estimate.max_output_tokens for _, estimate in self.able]
        known = [limit for limit in limits if limit is not None]
        return max(known) if known and len(known) == len(limits) else None


@dataclass(kw_only=True)
class Forecaster:
    """Forecasts the nodes of one workflow, in their order. `known` are the fields whose value is known."""

    workflow: Workflow
    visits: Mapping[str, Visits]
    known: State
    estimates: Estimates
    _asked: dict[str, "_Models"] = field(default_factory=dict)

    async def forecasts(self) -> Mapping[str, NodeForecast]:
        """What each model node would cost, by its id."""
        asked = {
            node.id: (node, node.action)
            for node in self.workflow.nodes.values()
            if isinstance(node.action, LlmAction)
        }
        # First all of them: how long the replies of one may be bounds what another is asked.
        for node, action in asked.values():
            self._asked[node.id] = await self._models(node, action)
        return {name: await self._forecast(node, action) for name, (node, action) in asked.items()}

    async def _models(self, node: Node, action: LlmAction) -> "_Models":
        """What a single call of each of a node's models costs by what is known of the question."""
        question, _ = self._question(node, action)
        found = _Models()
        for choice in (action.model, *action.model.fallbacks):
            asked = replace(question, model=replace(choice, fallbacks=()))
            try:
                estimate = await self.estimates.estimate(asked)
            except CadreError as error:
                name = _named(choice)
                found.names.append(name)
                found.problems[name] = f"{error.message}. {error.resolution}".strip()
                continue
            found.names.append(estimate.name)
            if estimate.unavailable:
                found.problems[estimate.name] = estimate.unavailable
            found.able.append((asked, estimate))
        return found

    async def _forecast(self, node: Node, action: LlmAction) -> NodeForecast:
        models = self._asked[node.id]
        names = tuple(dict.fromkeys(models.names))
        if not models.able:
            return NodeForecast(
                models=names,
                problems=models.problems,
                min_usd=None,
                max_usd=None,
                reason="nothing is known of its models",
            )
        _, extra = self._question(node, action)
        dearest: Usd = _FREE
        reasons = []
        for question, estimate in models.able:
            usd, reason = await self._most(question, estimate, extra, action)
            dearest = None if dearest is None or usd is None else max(dearest, usd)
            reasons.append(reason)
        calls = self.visits[node.id].most * self.items(node) * node.retry.max_attempts
        steps = action.max_steps if action.tools else 1
        requests = max(estimate.max_requests for _, estimate in models.able)
        known = [estimate for _, estimate in models.able]
        slowest = max(estimate.call_seconds for estimate in known)
        within = steps * requests * slowest + (steps - 1) * TOOL_SECONDS
        sure = self._is_sure(node)
        return NodeForecast(
            models=names,
            problems=models.problems,
            max_calls=calls * steps * requests,
            min_usd=known[0].min_usd if sure else _FREE,
            max_usd=None if dearest is None else dearest * calls,
            reason=next(filter(None, reasons), ""),
            hosts=tuple(dict.fromkeys(_host(estimate) for estimate in known)),
            min_seconds=1 / known[0].tokens_per_second
            if sure and known[0].tokens_per_second
            else 0,
            max_seconds=most_seconds(
                node, visits=self.visits[node.id].most, items=self.items(node), within=within
            ),
        )

    def items(self, node: Node) -> int:
        """How many items its for_each has at most; 1 without one."""
        if node.for_each is None:
            return 1
        sketch = node.for_each.items.sketch(Scope(state=self.known))
        if not sketch.missing:
            items = node.for_each.items.resolve(Scope(state=self.known))
            return min(len(items), MOST_ITEMS) if isinstance(items, list) else 1
        longest = [_most_items(self.workflow, name) for name in sketch.missing]
        return min(*longest, MOST_ITEMS) if len(longest) == 1 else MOST_ITEMS

    def _is_sure(self, node: Node) -> bool:
        sure = self.visits[node.id].least and node.when is None and not node.cache_seconds
        return bool(sure) and node.for_each is None

    def _question(self, node: Node, action: LlmAction) -> tuple[Question, int | None]:
        """What is known of what the model is asked, and how many tokens come on top at most; None when nobody knows."""
        scope, unknown = self._inputs(node)
        templates = [action.prompt] if action.system is None else [action.system, action.prompt]
        sketches = [template.sketch(scope) for template in templates]
        roles = [Role.USER] if action.system is None else [Role.SYSTEM, Role.USER]
        messages = (
            Message(role=role, text=sketch.text)
            for role, sketch in zip(roles, sketches, strict=True)
        )
        tools = tuple(CATALOGUE[use.name].spec for use in action.tools if use.name in CATALOGUE)
        missing = [name for sketch in sketches for name in sketch.missing]
        more = [unknown.get(name, self._tokens(name)) for name in missing]
        if action.recall is not None:
            more.append(action.recall.max_tokens * 4)
        if len(tools) < len(action.tools):
            more.append(None)
        question = Question(
            messages=tuple(messages), schema=schema_of(node.result_type), tools=tools
        )
        return question, _sum(more)

    def _inputs(self, node: Node) -> tuple[Scope, dict[str, int | None]]:
        """The node's inputs that are known, and the most tokens that each of the others may have."""
        known: dict[str, Any] = {}
        unknown: dict[str, int | None] = {}
        outer = Scope(state=self.known)
        if node.for_each is not None:
            fields = node.for_each.items.sketch(outer).missing
            name = node.for_each.item_name
            unknown[name] = _sum([self._tokens(field) for field in fields]) if fields else None
            unknown[f"{name}_index"] = _SHORT_TOKENS
        for name, template in node.inputs.items():
            sketch = template.sketch(outer)
            if sketch.missing:
                parts = [unknown.get(part, self._tokens(part)) for part in sketch.missing]
                unknown[name] = _sum([len(sketch.text), *parts])
                continue
            try:
                known[name] = template.resolve(outer)
            except CadreError:
                unknown[name] = None
        return Scope(state=self.known, inputs=known), unknown

    def _tokens(self, name: str) -> int | None:
        """The most tokens that a field may have, at one a character; None when nothing bounds it."""
        if name.startswith(_COUNTER):
            return _SHORT_TOKENS
        field = self.workflow.fields.get(name.removeprefix("state."))
        if field is None:
            return None
        bounded = _longest(field.type.json_schema())
        if bounded is not None:
            return bounded
        writers = [
            node
            for node in self.workflow.nodes.values()
            if any(output.field == field.name for output in node.outputs)
        ]
        if not writers or field.required:
            return None
        written = [self._reply_tokens(node, field.reducer) for node in writers]
        total = _sum(written)
        return None if total is None else total + len(str(field.default or ""))

    def _reply_tokens(self, node: Node, reducer: Reducer) -> int | None:
        longest = self._asked[node.id].longest if node.id in self._asked else None
        times = self.items(node)
        times *= 1 if reducer is Reducer.REPLACE else self.visits[node.id].most
        return None if longest is None else longest * times

    async def _most(
        self, question: Question, estimate: Estimate, extra: int | None, action: LlmAction
    ) -> tuple[Usd, str]:
        """The most that one visit of one item costs with one model; why that is unknown."""
        if estimate.max_usd == _FREE:
            return _FREE, ""
        if estimate.max_usd is None:
            return None, f"the price of {estimate.name}, or how much it writes, is not known"
        mending = (estimate.max_requests - 1) * (
            (estimate.max_output_tokens or 0) + _MENDING_TOKENS
        )
        room = max(0, estimate.context_tokens - estimate.input_tokens)
        if extra is None and not estimate.context_tokens:
            return (
                None,
                f"how much {estimate.name} takes in is not known, nor is the prompt's length",
            )
        first = room if extra is None else extra + mending
        first = min(first, room) if estimate.context_tokens else first
        total = await self._usd(question, first, estimate.max_requests)
        if action.tools and action.max_steps > 1:
            if not estimate.context_tokens:
                return None, f"how much {estimate.name} takes in is not known, nor what tools give"
            step = await self._usd(question, room, estimate.max_requests)
            total = None if total is None or step is None else total + step * (action.max_steps - 1)
        return total, ""

    async def _usd(self, question: Question, more_tokens: int, times: int) -> Usd:
        usd = (await self.estimates.estimate(question, more_tokens=more_tokens)).max_usd
        return None if usd is None else usd * times


def _host(estimate: Estimate) -> str:
    """Where a model answers; empty for one within."""
    if estimate.host or estimate.provider == _WITHIN:
        return estimate.host
    return f"unknown ({estimate.provider})"


def _named(choice: ModelChoice) -> str:
    return "/".join(filter(None, (choice.provider, choice.model))) or "the platform's default"


def _sum(tokens: Sequence[int | None]) -> int | None:
    known = [each for each in tokens if each is not None]
    return sum(known) if len(known) == len(tokens) else None


def _most_items(workflow: Workflow, name: str) -> int:
    field = workflow.fields.get(name.removeprefix("state."))
    schema = {} if field is None else field.type.json_schema()
    return int(schema.get("maxItems", MOST_ITEMS))


def _longest(schema: Mapping[str, Any]) -> int | None:
    """The most characters of a value that fits a JSON Schema; None when it has no bound."""
    if "enum" in schema:
        return max(len(str(value)) for value in schema["enum"])
    match schema.get("type"):
        case "integer" | "number" | "boolean" | "null":
            return _SHORT_TOKENS
        case "string" if "maxLength" in schema:
            return int(schema["maxLength"])
        case "array" if "maxItems" in schema:
            item = _longest(schema.get("items", {}))
            return None if item is None else int(schema["maxItems"]) * (item + 4)
        case "object" if schema.get("properties"):
            members = [_longest(inner) for inner in schema["properties"].values()]
            names = sum(len(name) + 6 for name in schema["properties"])
            total = _sum(members)
            return None if total is None else total + names
    return None
