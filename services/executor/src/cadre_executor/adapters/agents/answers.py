"""What agents answer, in JSON of A2A 1.0."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field, ValidationError

from cadre_executor.adapters.agents.cards import Wire
from cadre_executor.domain.agents import AgentAnswerInvalid, RemoteTask, TaskState

__all__ = ["sent_task", "task_of", "tasks_of"]


class _Part(Wire):
    text: str | None = None
    data: Any = None


class _Message(Wire):
    message_id: str = ""
    parts: list[_Part] = Field(default_factory=list)


class _Status(Wire):
    state: TaskState
    message: _Message | None = None
    timestamp: str = ""


class _Artifact(Wire):
    parts: list[_Part] = Field(default_factory=list)


class _Task(Wire):
    id: str = Field(min_length=1, max_length=500)
    context_id: str = Field("", max_length=500)
    status: _Status
    artifacts: list[_Artifact] = Field(default_factory=list)
    history: list[_Message] = Field(default_factory=list)


class _Sent(Wire):
    task: _Task | None = None
    message: _Message | None = None


class _Listed(Wire):
    tasks: list[_Task] = Field(default_factory=list)
    next_page_token: str = ""


def task_of(agent: str, document: object) -> RemoteTask:
    """A task. Raises AgentAnswerInvalid."""
    try:
        return _task(_Task.model_validate(document))
    except ValidationError as exc:
        raise _invalid(agent, "a task", exc) from exc


def sent_task(agent: str, document: object) -> RemoteTask:
    """What a message began: a task, or at once a message. Raises AgentAnswerInvalid."""
    try:
        sent = _Sent.model_validate(document)
    except ValidationError as exc:
        raise _invalid(agent, "the answer to a message", exc) from exc
    if sent.task is not None:
        return _task(sent.task)
    if sent.message is None:
        raise AgentAnswerInvalid(
            f"the agent {agent!r} answered a message with neither a task nor a message",
            metadata={"agent": agent},
        )
    parts = sent.message.parts
    return RemoteTask(state=TaskState.COMPLETED, texts=_texts(parts), data=_data(parts))


def tasks_of(agent: str, document: object) -> tuple[list[RemoteTask], str]:
    """A page of tasks, and the token of the next one. Raises AgentAnswerInvalid."""
    try:
        listed = _Listed.model_validate(document)
    except ValidationError as exc:
        raise _invalid(agent, "its list of tasks", exc) from exc
    return [_task(task) for task in listed.tasks], listed.next_page_token


def _task(task: _Task) -> RemoteTask:
    said = task.status.message
    parts = [part for artifact in task.artifacts for part in artifact.parts]
    return RemoteTask(
        state=task.status.state,
        id=task.id,
        context_id=task.context_id,
        said="" if said is None else "\n".join(_texts(said.parts)),
        stamp=f"{task.status.timestamp} {'' if said is None else said.message_id}",
        texts=_texts(parts),
        data=_data(parts),
        message_ids=frozenset(message.message_id for message in task.history),
    )


def _texts(parts: Iterable[_Part]) -> tuple[str, ...]:
    return tuple(part.text for part in parts if part.text is not None)


def _data(parts: Iterable[_Part]) -> tuple[Any, ...]:
    return tuple(part.data for part in parts if "data" in part.model_fields_set)


def _invalid(agent: str, what: str, exc: ValidationError) -> AgentAnswerInvalid:
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return AgentAnswerInvalid(
        f"{what} of the agent {agent!r} is not what A2A 1.0 says: {where}: {first['msg']}",
        resolution="Tell whoever runs the agent.",
        metadata={"agent": agent, "where": where},
    )
