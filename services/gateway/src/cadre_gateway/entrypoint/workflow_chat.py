"""Workflows as models of a chat: the last message starts a run, whose reply is the model's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import JsonValue

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre.llm_proxy.v1 import llm_pb2
from cadre_gateway.entrypoint import conversions
from cadre_gateway.entrypoint import documents as d
from cadre_gateway.entrypoint.chat_documents import ChatRequest
from cadre_gateway.entrypoint.dependencies import Parts
from cadre_gateway.entrypoint.errors import InvalidRequest
from cadre_gateway.entrypoint.run_events import run_events
from cadre_gateway.entrypoint.spoken import inputs_with, last_nodes, reply_field, reply_text
from cadre_kit.documents import to_json
from cadre_kit.errors import Cancelled, FailedPrecondition

__all__ = ["PREFIX", "WorkflowChat"]

PREFIX = "workflow:"
_TRIGGER = "chat"
_CANCEL_SECONDS = 5.0


class RunTooLong(FailedPrecondition):
    """A run had not ended in time. No timeout: clients repeat those, and would start the run anew and pay again."""

    code = "RUN_TIMEOUT"


@dataclass(frozen=True, kw_only=True)
class WorkflowChat:
    """One workflow that answers in a chat. A caller who leaves cancels the run; a gateway that stops does not."""

    name: str
    parts: Parts

    async def start(self, asked: ChatRequest, *, api_key: str, key: str) -> Conversation:
        """Starts the run that answers, for an API key. A repeated idempotency key is answered by the first run. Raises
        InvalidRequest, and what the executor refuses with."""
        executor = self.parts.services.executor
        found = await executor.call(
            executor.workflows.GetWorkflow, workflows_pb2.GetWorkflowRequest(name=self.name)
        )
        workflow = conversions.workflow(found.workflow)
        request = runs_pb2.StartRunRequest(
            workflow=self.name,
            inputs=to_json(_inputs(asked, workflow)),
            trigger=_TRIGGER,
            api_key=api_key,
        )
        answer = await executor.call(executor.runs.StartRun, request, idempotency_key=key)
        return Conversation(
            run_id=answer.run.id,
            parts=self.parts,
            reply_in=reply_field(workflow),
            speakers=_speakers(workflow),
        )


@dataclass(kw_only=True)
class Conversation:
    """A run that answers."""

    run_id: str
    parts: Parts
    reply_in: str
    speakers: frozenset[str]
    _said: str = ""
    _speaker: tuple[str, int, int] | None = None

    async def reply(self) -> llm_pb2.Reply:
        """What the run answers, when it has ended or asks a person. Raises RunTooLong, and cancels the run, when that
        takes longer than a model may."""
        seconds = self.parts.waits.completion_seconds
        try:
            async with asyncio.timeout(seconds):
                async with aclosing(self.responses()) as responses:
                    async for response in responses:
                        if response.HasField("reply"):
                            return response.reply
        except TimeoutError as exc:
            raise RunTooLong(
                f"run {self.run_id} had not ended after {seconds:g} seconds, and was cancelled",
                resolution="Start long runs with POST /api/v1/runs, or raise CADRE_GATEWAY_COMPLETION_SECONDS.",
            ) from exc
        raise Cancelled(f"run {self.run_id} was not followed to its end")

    async def responses(self) -> AsyncGenerator[llm_pb2.StreamCompleteResponse, None]:
        """What the node that has the last word writes, as it comes, then the rest of the reply, then all of it."""
        try:
            async with aclosing(self._events()) as events:
                async for event in events:
                    if text := self._heard(event):
                        yield llm_pb2.StreamCompleteResponse(delta=text)
                    if event.type.is_last or event.type is d.EventType.NODE_WAITING:
                        run = await self._run()
                        if run.status.is_final or run.questions:
                            break
        except (asyncio.CancelledError, GeneratorExit):
            if not self.parts.stopping.is_set():
                await asyncio.shield(self._cancel())
            raise
        reply = _reply(run, self.reply_in)
        if rest := self._rest(reply.content):
            yield llm_pb2.StreamCompleteResponse(delta=rest)
        yield llm_pb2.StreamCompleteResponse(reply=reply)

    def _heard(self, event: d.Event) -> str:
        """The text of an event, if it is the last word's. Once one has begun, others are not mixed into it."""
        if event.type is not d.EventType.NODE_TEXT or event.node not in self.speakers or event.item:
            return ""
        speaker = (event.node, event.iteration, event.attempt)
        self._speaker = self._speaker or speaker
        if speaker != self._speaker:
            return ""
        text = str((event.data or {}).get("text", ""))
        self._said += text
        return text

    def _rest(self, content: str) -> str:
        """What is still to be said: a try that failed midway, or tools between, may have had other words before."""
        if content.startswith(self._said):
            return content[len(self._said) :]
        return "" if content.strip() == self._said.strip() else f"\n\n{content}"

    def _events(self) -> AsyncGenerator[d.Event, None]:
        return run_events(
            self.parts.services.executor,
            self.run_id,
            after=0,
            reconnect_seconds=self.parts.waits.reconnect_seconds,
        )

    async def _cancel(self) -> None:
        executor = self.parts.services.executor
        request = runs_pb2.CancelRunRequest(run_id=self.run_id)
        await executor.call(executor.runs.CancelRun, request, timeout_seconds=_CANCEL_SECONDS)

    async def _run(self) -> d.Run:
        executor = self.parts.services.executor
        answer = await executor.call(
            executor.runs.GetRun, runs_pb2.GetRunRequest(run_id=self.run_id)
        )
        return conversions.run(answer.run)


def _inputs(asked: ChatRequest, workflow: d.Workflow) -> dict[str, JsonValue]:
    """The last message, and who speaks where, if the workflow takes that. What was said before is in its memory."""
    last = asked.messages[-1]
    if last.role != "user" or not last.text:
        raise InvalidRequest("the last message must be a text of the user's for a workflow")
    if asked.tools or asked.response_format or last.images:
        raise InvalidRequest(
            "a workflow takes no tools, response_format or images of a chat",
            resolution="What it may use, and how it answers, is in its file.",
        )
    names = {one.name for one in workflow.inputs}
    speaking: dict[str, JsonValue] = {"user": asked.user, "conversation": asked.conversation}
    given = {name: value for name, value in speaking.items() if value and name in names}
    return inputs_with(last.text, given, workflow.inputs)


def _speakers(workflow: d.Workflow) -> frozenset[str]:
    """The nodes whose text is the reply, word by word: nothing comes after them, and nothing is made of it."""
    if workflow.graph is None:
        return frozenset()
    last, field = last_nodes(workflow.graph), reply_field(workflow)
    return frozenset(
        node.id
        for node in workflow.graph.nodes
        if node.id in last
        and node.kind == "llm"
        and not node.structured
        and node.outputs == [field]
    )


def _reply(run: d.Run, field: str) -> llm_pb2.Reply:
    if run.status is d.RunStatus.FAILED:
        error = run.error or d.Failure(code="RUN_FAILED", message="", resolution="", node="")
        where = f" (node {error.node})" if error.node else ""
        raise FailedPrecondition(
            f"run {run.id} failed{where}: {error.message}",
            code=error.code,
            resolution=error.resolution,
        )
    if run.status is d.RunStatus.CANCELLED:
        raise Cancelled(f"run {run.id} was cancelled")
    return llm_pb2.Reply(
        content=reply_text(run, field) if run.status.is_final else _questions(run),
        finish_reason=llm_pb2.FINISH_REASON_STOP,
        call_id=run.id,
        usage=common_pb2.Usage(
            input_tokens=run.usage.input_tokens,
            output_tokens=run.usage.output_tokens,
            cost_usd=run.usage.cost_usd,
            calls=run.usage.calls,
            unpriced_calls=run.usage.unpriced_calls,
        ),
    )


def _questions(run: d.Run) -> str:
    """What a waiting run asks, and how to answer it."""
    return "\n\n".join(
        f"{one.message}\n\n(The run waits for an answer: cadre runs answer {run.id} --node {one.node} "
        f"{'|'.join(one.choices) or 'TEXT'})"
        for one in run.questions
    )
