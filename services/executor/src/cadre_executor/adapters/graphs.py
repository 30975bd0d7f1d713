"""Workflows as LangGraph graphs.

LangGraph takes the steps, runs the nodes of one step side by side, combines their writes and asks for a checkpoint
after each step. Which nodes run, and where the run goes, is decided by `domain.visits`. Two traps shape this module:
two edges into one node would run it once per arrival, so every arrival only makes the node look whether it may run; and
LangGraph takes a written dict with the key "__overwrite__" for a command, so the fields have a channel of our own.
"""

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.channels.base import BaseChannel
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.errors import EmptyChannelError
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from cadre_executor.adapters.documents import dumped
from cadre_executor.domain.definitions import Document
from cadre_executor.domain.journals import Journal, StepWrites
from cadre_executor.domain.states import Progress, advanced, combined, no_progress
from cadre_executor.domain.stores import Saved
from cadre_executor.domain.visits import Drive, begin, visit
from cadre_executor.domain.workflows import Node, State, StateField
from cadre_kit.errors import DataLost

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
        self._saver = _Saver()
        self._kept: OrderedDict[str, _Compiled] = OrderedDict()

    async def drive(
        self, document: Document, drive: Drive, *, inputs: State, saved: Saved | None
    ) -> dict[str, Any]:
        """Takes every step from the start, or from what was saved, and returns the fields at the end.

        Raises RunFailed, LeaseLost, and what is wrong with the store; cancelling stops the nodes under way.
        """
        graph = self._compiled(document)
        self._saver.open(drive.run_id, drive.journal, saved)
        config: RunnableConfig = {
            "configurable": {"thread_id": drive.run_id},
            # Every step visits a node or ends the run; visits have a limit of their own.
            "recursion_limit": 2 * document.workflow.limits.max_steps + 10,
        }
        first = None if saved is not None else _first(document, inputs)
        try:
            channels = await graph.ainvoke(first, config, context=drive, durability="sync")
        finally:
            self._saver.close(drive.run_id)
        return _fields(channels)

    def _compiled(self, document: Document) -> _Compiled:
        if document.digest in self._kept:
            self._kept.move_to_end(document.digest)
            return self._kept[document.digest]
        graph = _compile(document, self._saver)
        self._kept[document.digest] = graph
        if len(self._kept) > _KEPT_GRAPHS:
            self._kept.popitem(last=False)
        return graph


def _compile(document: Document, saver: "_Saver") -> _Compiled:
    workflow = document.workflow
    channels = {_FIELD + name: _channel(field) for name, field in workflow.fields.items()}
    channels[_PROGRESS] = Annotated[Any, _Combined(advanced)]
    channels[_WAKE] = Annotated[Any, _Combined(lambda _, new: new)]
    schema = TypedDict("State", channels)  # type: ignore[misc]  # its keys are the workflow's
    graph = StateGraph(schema, context_schema=Drive)
    for node in workflow.nodes.values():
        graph.add_node(node.id, _task(node))
    graph.add_conditional_edges(START, _first_nodes, list(workflow.nodes))
    return graph.compile(checkpointer=saver)


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
        assert runtime.execution_info is not None
        step = await visit(
            node,
            _fields(state),
            state[_PROGRESS],
            drive=runtime.context,
            task_id=runtime.execution_info.task_id,
        )
        if step is None:
            return None
        update = {_FIELD + name: value for name, value in step.writes.items()}
        return Command(update={**update, _PROGRESS: step.advance}, goto=step.wake)

    return task


def _first(document: Document, inputs: State) -> dict[str, Any]:
    progress = no_progress()
    step = begin(document.workflow, document.plan, inputs, progress)
    fields = {_FIELD + name: value for name, value in inputs.items()}
    begun: Progress = advanced(progress, step.advance)
    return {**fields, _PROGRESS: begun, _WAKE: list(step.wake)}


def _fields(channels: Mapping[str, Any]) -> dict[str, Any]:
    start = len(_FIELD)
    return {key[start:]: value for key, value in channels.items() if key.startswith(_FIELD)}


def _goes_on(checkpoint: Checkpoint) -> bool:
    """Whether another step follows: LangGraph keeps a channel for each node that it runs next."""
    return any(channel.startswith("branch:to:") for channel in checkpoint["channel_values"])


class _Saver(BaseCheckpointSaver[int]):
    """Hands LangGraph's checkpoints to the journals of the runs, as JSON: all that a run's state holds is JSON.

    Only the last checkpoint of a run is kept. That of the inputs is not: the run itself has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._journals: dict[str, tuple[Journal, Saved | None]] = {}

    def open(self, run_id: str, journal: Journal, saved: Saved | None) -> None:
        """From now on the run is saved in the journal; `saved` is what it goes on from."""
        self._journals[run_id] = (journal, saved)

    def close(self, run_id: str) -> None:
        """The run is no longer driven here."""
        del self._journals[run_id]

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """What the run goes on from. Raises DataLost when it cannot be read."""
        _, saved = self._journals[config["configurable"]["thread_id"]]
        if saved is None:
            return None
        try:
            checkpoint, metadata = json.loads(saved.checkpoint)
            writes = [
                (task_id, channel, value)
                for task_id, text in saved.writes
                for channel, value in json.loads(text)
            ]
        except ValueError as exc:
            raise DataLost(
                "the run's checkpoint cannot be read", code="CHECKPOINT_UNREADABLE"
            ) from exc
        configurable = {**config["configurable"], "checkpoint_id": checkpoint["id"]}
        return CheckpointTuple(
            config={"configurable": configurable},
            checkpoint=checkpoint,
            metadata=metadata,
            pending_writes=writes,
        )

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores the checkpoint that ends a step, with the step's events, in one transaction.

        Nothing has happened before the first step, and the transaction that ends the run follows the last.
        """
        run_id = config["configurable"]["thread_id"]
        journal, _ = self._journals[run_id]
        if metadata["source"] == "loop":
            document = dumped([checkpoint, metadata])
            if metadata["step"] > 0 and _goes_on(checkpoint):
                await journal.step(document)
            else:
                journal.put_by(document)
        configurable = {**config["configurable"], "checkpoint_id": checkpoint["id"]}
        return {"configurable": configurable}

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Keeps what a task of a step wrote while others of the step still run."""
        if any(channel.startswith("__error") for channel, _ in writes):
            return
        journal, _ = self._journals[config["configurable"]["thread_id"]]
        journal.keep(StepWrites(task_id=task_id, document=dumped(list(writes))))
