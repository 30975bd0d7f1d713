"""Workflows as LangGraph graphs.

LangGraph takes the steps, runs the nodes of one step side by side and combines their writes. Nodes that follow one
another with nothing beside them need none of that, and are walked through. Which nodes run, and where the run goes, is
decided by `domain.visits`; what is stored of it by `domain.journals`. Two traps shape this module: two edges into one
node would run it once per arrival, so every arrival only makes the node look whether it may run; and LangGraph takes a
written dict with the key "__overwrite__" for a command, so the fields have a channel of our own.

LangGraph's checkpointers are not used: a run's position is its fields and its progress, which is all that the first
node of a step sees; any graph of the file goes on from there. LangGraph's own checkpoints mean something only to the
release that wrote them, cannot be edited, and making them cost as much as storing them.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.channels.base import BaseChannel
from langgraph.errors import EmptyChannelError
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from cadre_executor.domain.checkpoints import Position
from cadre_executor.domain.definitions import Document
from cadre_executor.domain.states import advanced, combined
from cadre_executor.domain.visits import Drive, Step, after, visit
from cadre_executor.domain.workflows import Node, StateField

__all__ = ["Graphs"]

_PROGRESS = "progress"
_WAKE = "wake"
# Node names and channel names share one space in LangGraph; a field may be called like a node.
_FIELD = "field:"
_EMPTY = object()
_KEPT_GRAPHS = 128
_Compiled = CompiledStateGraph[Any, Drive, Any, Any]


class _Combined(BaseChannel[Any, Any, Any]):
    """A channel whose updates are combined with its value one after the other."""

    def __init__(self, combine: Callable[[Any, Any], Any], value: Any = _EMPTY) -> None:
        super().__init__(Any)
        self._combine = combine
        self._value = value

    @property
    def ValueType(self) -> Any:
        """What LangGraph shows of it."""
        return Any

    @property
    def UpdateType(self) -> Any:
        """What LangGraph shows of it."""
        return Any

    def copy(self) -> "_Combined":
        """Values are never changed in place, so they can be shared."""
        return self._with(self._value)

    def from_checkpoint(self, checkpoint: Any) -> "_Combined":
        """The channel with a stored value, or an empty one."""
        # LangGraph says "nothing stored" by a sentinel of its own, which is no JSON value.
        is_json = checkpoint is None or isinstance(checkpoint, str | int | float | list | dict)
        return self._with(checkpoint if is_json else _EMPTY)

    def get(self) -> Any:
        """The value. Raises EmptyChannelError before the first update."""
        if self._value is _EMPTY:
            raise EmptyChannelError
        return self._value

    def is_available(self) -> bool:
        """Whether there is a value."""
        return self._value is not _EMPTY

    def update(self, values: Sequence[Any]) -> bool:
        """Combines the updates of one step, in the order of the tasks."""
        for value in values:
            self._value = value if self._value is _EMPTY else self._combine(self._value, value)
        return bool(values)

    def _with(self, value: Any) -> "_Combined":
        channel = _Combined(self._combine, value)
        channel.key = self.key
        return channel


class Graphs:
    """Drives workflows, and keeps the 128 graphs compiled last, by the digest of their file."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Compiled] = OrderedDict()

    async def advance(
        self, document: Document, drive: Drive, position: Position, *, wake: Sequence[str]
    ) -> Position:
        """Takes every step that can be taken from a position by waking nodes; where the run stands then.

        Raises RunFailed, LeaseLost, and what is wrong with the store; cancelling stops the nodes under way.
        """
        if len(wake) == 1 and wake == tuple(position.progress["arrivals"]):
            node = document.workflow.nodes[wake[0]]
            steps, position = await _walk(node, position, drive)
            wake = steps[-1].wake if steps else ()
            if not wake:
                return position
        # Every step visits a node or ends the run; visits have a limit of their own.
        limit = 2 * document.workflow.limits.max_steps + 10
        config: RunnableConfig = {"recursion_limit": limit}
        channels = {_FIELD + name: value for name, value in position.fields.items()}
        channels |= {_PROGRESS: position.progress, _WAKE: list(wake)}
        return _position(await self._compiled(document).ainvoke(channels, config, context=drive))

    def _compiled(self, document: Document) -> _Compiled:
        if document.digest in self._kept:
            self._kept.move_to_end(document.digest)
            return self._kept[document.digest]
        graph = _compile(document)
        self._kept[document.digest] = graph
        if len(self._kept) > _KEPT_GRAPHS:
            self._kept.popitem(last=False)
        return graph


def _compile(document: Document) -> _Compiled:
    workflow = document.workflow
    channels = {_FIELD + name: _channel(field) for name, field in workflow.fields.items()}
    channels[_PROGRESS] = Annotated[Any, _Combined(advanced)]
    channels[_WAKE] = Annotated[Any, _Combined(lambda _, new: new)]
    schema = TypedDict("State", channels)  # type: ignore[misc]  # its keys are the workflow's
    graph = StateGraph(schema, context_schema=Drive)
    for node in workflow.nodes.values():
        graph.add_node(node.id, _task(node))
    graph.add_conditional_edges(START, _first_nodes, list(workflow.nodes))
    return graph.compile()


async def _first_nodes(state: dict[str, Any]) -> list[str]:
    # Not a lambda: what is not a coroutine LangGraph calls in a thread.
    woken: list[str] = state[_WAKE]
    return woken


def _channel(field: StateField) -> Any:
    reducer = field.reducer

    def combine(old: Any, new: Any) -> Any:
        return combined(reducer, old, new)

    return Annotated[Any, _Combined(combine)]


def _task(node: Node) -> Callable[..., Awaitable[Command[str] | None]]:
    async def task(state: dict[str, Any], runtime: Runtime[Drive]) -> Command[str] | None:
        steps, _ = await _walk(node, _position(state), runtime.context)
        update: list[tuple[str, Any]] = []
        for step in steps:
            update += ((_FIELD + name, value) for name, value in step.writes.items())
            update.append((_PROGRESS, step.advance))
        return Command(update=update, goto=steps[-1].wake) if steps else None

    return task


async def _walk(here: Node, position: Position, drive: Drive) -> tuple[list[Step], Position]:
    """Visits a node, and those that follow it as long as nothing goes on beside them. What the visits changed, none
    when the node waits for other branches; and where the run stands then, unless others go on beside the first."""
    steps: list[Step] = []
    while True:
        drive.begin_step(position)
        step = await visit(here, position.fields, position.progress, drive=drive)
        if step is None:
            return steps, position
        steps.append(step)
        was_alone = len(position.progress["arrivals"]) == 1
        position = after(position, step, drive.workflow)
        if not (was_alone and _goes_on_alone(position, step)):
            return steps, position
        here = drive.workflow.nodes[step.wake[0]]


def _goes_on_alone(position: Position, step: Step) -> bool:
    """Whether the run goes on at one node, and nowhere else."""
    return len(step.wake) == 1 and step.wake == tuple(position.progress["arrivals"])


def _position(channels: Mapping[str, Any]) -> Position:
    start = len(_FIELD)
    fields = {key[start:]: value for key, value in channels.items() if key.startswith(_FIELD)}
    return Position(fields=fields, progress=channels[_PROGRESS])
