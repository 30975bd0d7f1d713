"""What agent nodes do: hand work to a remote agent, follow it to its end, and take what it gives.

The message is sent once: its id is the step's key, that it may have been sent is stored before it is, and the task that
it began right after. A node that is repeated looks for that task before it sends anything again. The task is asked for
from time to time rather than streamed: a stream that broke, or whose executor died, would have to be asked for too.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind, StatusCode

from cadre_executor.domain.agents import (
    FINAL_STATES,
    Agent,
    AgentRefused,
    AgentUnreachable,
    Outgoing,
    RemoteAgents,
    RemoteTask,
    TaskState,
)
from cadre_executor.domain.answers import Asked, Asks
from cadre_executor.domain.cuts import shown
from cadre_executor.domain.delegations import Delegation
from cadre_executor.domain.results import Form, Result
from cadre_executor.domain.runs import EventType, Question
from cadre_executor.domain.tasks import Task
from cadre_executor.domain.workflows import AgentAction
from cadre_kit import semconv
from cadre_kit.errors import CadreError, FailedPrecondition
from cadre_kit.tracing import tracer

__all__ = ["AgentAsked", "AgentResultUnknown", "AgentTaskFailed", "delegate"]

_STEP = "1"
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_LONGEST_QUESTION = 10_000
# What an answer that is not one of those that it takes is refused with: by JSON-RPC, and by HTTP.
_UNFIT = frozenset({-32602, 400, 422})

Answer = TypeVar("Answer")


class AgentTaskFailed(CadreError):
    """A remote agent did not do what it was asked."""

    code = "AGENT_TASK_FAILED"


class AgentTaskRejected(FailedPrecondition):
    """A remote agent does not do what it was asked."""

    code = "AGENT_TASK_REJECTED"


class AgentAuthRequired(FailedPrecondition):
    """A remote agent wants the caller to sign in somewhere before it goes on."""

    code = "AGENT_AUTH_REQUIRED"


class AgentAsked(FailedPrecondition):
    """A remote agent asks something, and nobody can be asked."""

    code = "AGENT_INPUT_REQUIRED"


class AgentResultUnknown(FailedPrecondition):
    """Nobody knows whether a remote agent got its message."""

    code = "AGENT_RESULT_UNKNOWN"


async def delegate(action: AgentAction, task: Task) -> Result:
    """What the agent gives. Raises Asks when it asks a person, what the agent or its registration is wrong with, and
    AgentTaskFailed, AgentTaskRejected, AgentAuthRequired, AgentAsked, AgentResultUnknown."""
    known = task.find(_STEP)
    if known is None:
        known = await _Errand(action, task).done()
    if known["error"] is not None:
        code, message, resolution = known["error"]
        raise AgentTaskFailed(message, code=code, resolution=resolution)
    return _result(task, known)


class _Errand:
    """One message to an agent, and what comes of it."""

    def __init__(self, action: AgentAction, task: Task) -> None:
        self._action = action
        self._task = task
        self._delegations = task.means.delegations
        self._key = task.call.at(_STEP).key

    @property
    def _remote(self) -> RemoteAgents:
        return self._delegations.remote

    async def done(self) -> Mapping[str, Any]:
        """How it ended, recorded. Raises Asks, and what may be different next time."""
        agent = await self._delegations.registry.usable(self._action.agent)
        url = urlsplit(agent.card.interface.url)
        with tracer().start_as_current_span(
            f"invoke_agent {agent.name}",
            kind=SpanKind.CLIENT,
            attributes={
                semconv.OPERATION: "invoke_agent",
                semconv.AGENT_NAME: agent.name,
                semconv.AGENT_VERSION: agent.card.version,
                semconv.SERVER_ADDRESS: url.hostname or "",
                semconv.MLFLOW_SPAN_TYPE: "AGENT",
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await self._through(agent)
            except CadreError as error:
                span.set_status(StatusCode.ERROR, error.code)
                span.set_attribute(semconv.ERROR_TYPE, error.code)
                raise

    async def _through(self, agent: Agent) -> Mapping[str, Any]:
        delegation, remote = await self._begun(agent)
        pause, told = _FIRST_PAUSE_SECONDS, None
        while remote.state not in FINAL_STATES and remote.state is not TaskState.AUTH_REQUIRED:
            if remote.state is not told:
                self._tell(agent, remote)
                pause, told = _FIRST_PAUSE_SECONDS, remote.state
            if remote.state is TaskState.INPUT_REQUIRED:
                delegation, remote = await self._answered(agent, delegation, remote)
                told = None
                continue
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            remote = await self._looked_at(agent, remote.id)
        self._tell(agent, remote)
        return await self._ended(agent, remote)

    async def _begun(self, agent: Agent) -> tuple[Delegation, RemoteTask]:
        """The task, begun once however often this is repeated."""
        means = self._task.means
        delegation, is_new = await self._delegations.begin(
            self._key, run_id=means.run_id, agent=agent.name
        )
        if delegation.task_id:
            return delegation, await self._looked_at(agent, delegation.task_id)
        try:
            remote = await self._sent(agent, delegation, is_new=is_new)
        except AgentRefused:
            # Nothing began that would have to be stopped.
            await self._delegations.store.drop(self._key)
            raise
        kept = await self._delegations.kept(
            replace(delegation, task_id=remote.id, context_id=remote.context_id)
        )
        return kept, remote

    async def _sent(self, agent: Agent, delegation: Delegation, *, is_new: bool) -> RemoteTask:
        message = self._message()
        may_have_come = not is_new

        async def send() -> RemoteTask:
            nonlocal may_have_come
            if may_have_come:
                found = await self._found(agent, delegation)
                if found is not None:
                    return found
            try:
                return await self._remote.send(agent, message)
            except AgentUnreachable as error:
                may_have_come = may_have_come or error.sent
                raise

        return await self._patiently(send)

    async def _found(self, agent: Agent, delegation: Delegation) -> RemoteTask | None:
        """The task of a message that may have come to the agent."""
        try:
            return await self._remote.find(agent, self._key, since=delegation.begun_time)
        except AgentRefused as error:
            raise AgentResultUnknown(
                f"the message to the agent {agent.name!r} was cut off, and the agent does not tell whether it came",
                resolution="Look whether it did what it was asked, then resume the run. To have it asked again by"
                " itself, name AGENT_RESULT_UNKNOWN under retry.on.",
                metadata={"agent": agent.name},
            ) from error

    async def _answered(
        self, agent: Agent, delegation: Delegation, remote: RemoteTask
    ) -> tuple[Delegation, RemoteTask]:
        """Hands on what the person answered. Raises Asks while there is no answer to what is asked now."""
        asked = self._task.place.asked
        answer_id = "" if asked is None else self._answer_id(asked)
        if asked is None or asked.answer is None or delegation.answered == answer_id:
            raise self._asks(agent, remote)
        if answer_id in remote.message_ids:
            # It came, though the executor did not live to see it; what the agent asks now is another thing.
            delegation = await self._delegations.kept(replace(delegation, answered=answer_id))
            raise self._asks(agent, remote)
        message = Outgoing(
            id=answer_id,
            text=asked.answer.choice,
            task_id=remote.id,
            context_id=remote.context_id,
        )
        try:
            sent = await self._patiently(lambda: self._remote.send(agent, message))
        except AgentRefused as error:
            if error.reason not in _UNFIT:
                raise
            # The task still waits; who mistyped a choice is asked again.
            await self._delegations.kept(replace(delegation, answered=answer_id))
            raise self._asks(agent, remote, refused=error.said) from error
        delegation = await self._delegations.kept(replace(delegation, answered=answer_id))
        return delegation, await self._moved_on(agent, remote, sent)

    async def _moved_on(self, agent: Agent, before: RemoteTask, now: RemoteTask) -> RemoteTask:
        """The task once the answer shows: some agents take it first and look at it later."""
        deadline = time.monotonic() + self._task.means.patience_seconds
        while now.state is before.state and now.stamp == before.stamp:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_FIRST_PAUSE_SECONDS)
            now = await self._looked_at(agent, before.id)
        return now

    def _answer_id(self, asked: Asked) -> str:
        return f"{self._key}/answer/{round(asked.question.asked_time.timestamp() * 1000)}"

    def _asks(self, agent: Agent, remote: RemoteTask, *, refused: str = "") -> Exception:
        place = self._task.place
        if place.item:
            return AgentAsked(
                f"the agent {agent.name!r} asks something, and a node with for_each cannot ask a person",
                resolution="Give the agent all that it needs, or ask it without for_each.",
                metadata={"agent": agent.name},
            )
        before = f"The agent does not take that answer: {refused}\n\n" if refused else ""
        asked = remote.said or f"The agent {agent.name} needs an answer."
        question = Question(
            node=place.node.id,
            iteration=place.iteration,
            message=(before + asked)[:_LONGEST_QUESTION],
            choices=(),
            asked_time=datetime.now(UTC),
        )
        return Asks(question, attempt=place.attempt)

    def _message(self) -> Outgoing:
        scope, prompt = self._task.scope, self._action.prompt
        if prompt is not None:
            return Outgoing(id=self._key, text=prompt.render(scope))
        names = self._task.place.node.inputs
        return Outgoing(id=self._key, data={name: scope.inputs[name] for name in names})

    async def _looked_at(self, agent: Agent, task_id: str) -> RemoteTask:
        return await self._patiently(lambda: self._remote.task(agent, task_id))

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeats what an agent that went away was asked, until it is back or the run's patience is over."""
        deadline = time.monotonic() + self._task.means.patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await ask()
            except AgentUnreachable:
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _tell(self, agent: Agent, remote: RemoteTask) -> None:
        data = {"agent": agent.name, "task": remote.id, "state": remote.state.word}
        if remote.said:
            data["said"] = shown(remote.said)
        self._task.tell(EventType.AGENT_TASK, data)

    async def _ended(self, agent: Agent, remote: RemoteTask) -> Mapping[str, Any]:
        """Records how it ended, and only then forgets that it was under way; what has not ended is stopped with the
        run."""
        error = _failure(agent, remote)
        document = {
            "texts": remote.texts or ((remote.said,) if remote.said else ()),
            "data": remote.data,
            "error": None if error is None else [error.code, error.message, error.resolution],
        }
        self._task.record(_STEP, document)
        if remote.state in FINAL_STATES:
            await self._task.means.records.store()
            await self._delegations.store.drop(self._key)
        return document


def _failure(agent: Agent, remote: RemoteTask) -> CadreError | None:
    said = f": {remote.said[:2000]}" if remote.said else ""
    what = f"the agent {agent.name!r}"
    match remote.state:
        case TaskState.COMPLETED:
            return None
        case TaskState.REJECTED:
            return AgentTaskRejected(
                f"{what} does not do this{said}",
                resolution="See what it does with `cadre agents show`.",
            )
        case TaskState.AUTH_REQUIRED:
            return AgentAuthRequired(
                f"{what} wants the caller to sign in first{said}",
                resolution="Register it with a secret that it accepts: `cadre agents add URL --secret NAME`.",
            )
        case TaskState.CANCELED:
            return AgentTaskFailed(
                f"{what} stopped the task{said}", resolution="Ask whoever runs the agent why."
            )
        case _:
            return AgentTaskFailed(
                f"{what} failed{said}",
                resolution="Ask whoever runs the agent; its log may say more.",
            )


def _result(task: Task, known: Mapping[str, Any]) -> Result:
    """Data, where the agent gave some and the node asks for other than text or for parts of it; else the text."""
    data, texts, node = known["data"], known["texts"], task.place.node
    if node.result_type is not None:
        takes_text = node.result_type.text.startswith("str")
    else:
        takes_text = not any(output.path for output in node.outputs)
    if data and not (takes_text and texts):
        return Result(value=data[0] if len(data) == 1 else list(data))
    return Result(value="\n\n".join(texts), form=Form.TEXT)
