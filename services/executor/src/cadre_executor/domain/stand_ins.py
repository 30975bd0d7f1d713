"""What a test has in place of models, tools, memory, other workflows and the store: written replies, and nothing kept.

Programs run in the real sandbox, unless the test writes what they give.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cadre_executor.domain.answers import TIMED_OUT, Answer, Asked
from cadre_executor.domain.cases import AsksTools, Fails, Gives
from cadre_executor.domain.catalogue import CATALOGUE
from cadre_executor.domain.checkpoints import Position
from cadre_executor.domain.dialogues import offered_name, reply_text
from cadre_executor.domain.journals import Batch
from cadre_executor.domain.peers import (
    Call,
    ChildRun,
    Execution,
    Hit,
    Outcome,
    Program,
    Question,
    Recent,
    Reply,
    Role,
    Said,
    Sandbox,
    ToolCall,
)
from cadre_executor.domain.run_files import RunFile
from cadre_executor.domain.runs import Ending, Failure, Run, RunStatus, Usage
from cadre_executor.domain.runs import Question as Asking
from cadre_executor.domain.scripts import ReplyMissing, Script, failure_of
from cadre_executor.domain.states import ModelOutputInvalid
from cadre_executor.domain.tools import ToolContext, ToolResult, ToolSpec
from cadre_executor.domain.visits import RunFailed
from cadre_executor.domain.workflows import State, ToolAction, ToolUse, Upkeep, Workflow
from cadre_kit.errors import NotFound

__all__ = [
    "CheckArguments",
    "Misfits",
    "NoFiles",
    "ScriptedChildren",
    "ScriptedMemory",
    "ScriptedModels",
    "ScriptedRuns",
    "ScriptedSandbox",
    "ScriptedTools",
    "WithoutCache",
]

CheckArguments = Callable[[str, Mapping[str, Any], Mapping[str, Any]], None]
"""Raises when arguments do not fit the JSON Schema of the tool of that name."""
Misfits = Callable[[Mapping[str, Any], Any], Sequence[str]]
"""What of a value does not fit a JSON Schema."""
_ONLY_STEP = "/1"


@dataclass(frozen=True, kw_only=True)
class ScriptedModels:
    """Replies as the test says; held to the output_schema as the llm-proxy holds real ones."""

    script: Script
    workflow: Workflow
    misfits: Misfits

    async def complete(
        self,
        question: Question,
        *,
        call: Call,
        seconds: float,
        heard: Callable[[str], None] | None = None,
    ) -> Reply:
        """The written reply."""
        written = self.script.reply(call.key, asks="asks its model")
        if isinstance(written, Fails):
            raise failure_of(written)
        if isinstance(written, AsksTools):
            return Reply(text=written.text, usage=Usage(), tool_calls=_tool_calls(written))
        text = reply_text(self.workflow.nodes[call.node].result_type, written.value)
        if question.schema is not None:
            self._check(text, question.schema, call.node)
        if heard is not None:
            heard(text)
        return Reply(text=text, usage=Usage())

    def _check(self, text: str, schema: Mapping[str, Any], node: str) -> None:
        try:
            wrong = self.misfits(schema, json.loads(text))
        except ValueError:
            wrong = ["it is no JSON document"]
        if wrong:
            raise ModelOutputInvalid(
                f"the written reply of {node!r} does not fit its output_schema: {'; '.join(wrong)}",
                resolution="Write a reply that fits; a reply that is a list is {value: [...]}.",
            )


def _tool_calls(written: AsksTools) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=f"call-{number}", name=offered_name(call.tool), arguments=call.arguments)
        for number, call in enumerate(written.calls, start=1)
    )


class NoFiles:
    """Keeps none of the files that programs leave."""

    async def keep(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Nothing."""

    async def files_of(self, run_id: str) -> Sequence[RunFile]:
        """None."""
        return ()

    async def read(self, run_id: str, path: str) -> bytes:
        """None is there. Raises NotFound."""
        raise NotFound(f"a test keeps no files, and so not {path!r}", code="FILE_NOT_FOUND")


@dataclass(frozen=True, kw_only=True)
class ScriptedTools:
    """Gives what the test says that tools give; arguments are checked as real ones are."""

    script: Script
    check_arguments: CheckArguments

    async def specs(self, uses: Sequence[ToolUse], *, context: ToolContext) -> Sequence[ToolSpec]:
        """What the tools are; of MCP servers, which are not asked, only the name."""
        return [_spec(use.name) for use in uses]

    async def invoke(
        self,
        use: ToolUse,
        arguments: Mapping[str, Any],
        *,
        context: ToolContext,
        seconds: float,
    ) -> ToolResult:
        """The written result."""
        self.check_arguments(use.name, _spec(use.name).parameters, arguments)
        if isinstance(context.workflow.nodes[context.node].action, ToolAction):
            written = self.script.answer(context.key, asks=f"calls the tool {use.name!r}")
        else:
            written = self.script.result(context.key, use.name)
        if isinstance(written, Fails):
            raise failure_of(written)
        return ToolResult(value=written.value)

    def lacks(self, use: ToolUse, workflow: Workflow) -> str:
        """Nothing: no tool is called."""
        return ""

    def lacks_secret(self, name: str) -> str:
        """Nothing: no secret is read."""
        return ""

    async def end_loop(self, loop: str) -> None:
        """Nothing is kept."""

    async def held_by(self) -> Sequence[str]:
        """No run: nothing is kept."""
        return ()

    async def release(self, run_id: str) -> None:
        """Nothing is kept."""


def _spec(name: str) -> ToolSpec:
    if name in CATALOGUE:
        return CATALOGUE[name].spec
    return ToolSpec(name=name, description="", parameters={"type": "object"})


@dataclass(frozen=True, kw_only=True)
class ScriptedSandbox:
    """Runs programs for real, but for nodes whose results the test writes."""

    script: Script
    sandbox: Sandbox

    async def execute(self, program: Program, *, call: Call, seconds: float) -> Execution:
        """How the program ended, or what is written."""
        if not self.script.has(call.node):
            return await self.sandbox.execute(program, call=call, seconds=seconds)
        written = self.script.answer(call.key, asks="runs its program")
        if isinstance(written, Fails):
            raise failure_of(written)
        return Execution(outcome=Outcome.SUCCEEDED, has_result=True, result=written.value)


@dataclass(frozen=True, kw_only=True)
class ScriptedMemory:
    """A memory that begins empty and ends with the test; nodes that read may have their finds written."""

    script: Script
    items: dict[tuple[tuple[str, ...], str], Any] = field(default_factory=dict)
    said: dict[tuple[str, ...], list[Said]] = field(default_factory=dict)

    async def get(self, namespace: Sequence[str], key: str, *, call: Call, seconds: float) -> Any:
        """The value. Raises NotFound."""
        value = self.items.get((tuple(namespace), key))
        if self.script.has(call.node) and call.key.endswith(_ONLY_STEP):
            value = self._written(call)
        if value is None:
            raise NotFound(f"nothing is remembered under {key!r}", code="MEMORY_NOT_FOUND")
        return value

    async def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: object,
        *,
        ttl_seconds: float,
        call: Call,
        seconds: float,
    ) -> None:
        """Stores the value for the rest of the test."""
        self.items[tuple(namespace), key] = value

    async def delete(
        self, namespace: Sequence[str], key: str, *, call: Call, seconds: float
    ) -> bool:
        """Whether there was something to remove."""
        return self.items.pop((tuple(namespace), key), None) is not None

    async def append(
        self,
        namespace: Sequence[str],
        messages: Sequence[Said],
        *,
        upkeep: Upkeep,
        call: Call,
        seconds: float,
    ) -> int:
        """Adds to a conversation for the rest of the test; nothing is learned of it."""
        conversation = self.said.setdefault(tuple(namespace), [])
        first = len(conversation)
        conversation += (
            replace(each, position=first + place) for place, each in enumerate(messages)
        )
        return first

    async def recent(
        self, namespace: Sequence[str], *, max_tokens: int, call: Call, seconds: float
    ) -> Recent:
        """What is written, messages as a node gives them; else all that the test said."""
        if not (self.script.has(call.node) and call.key.endswith(_ONLY_STEP)):
            return Recent(messages=tuple(self.said.get(tuple(namespace), ())))
        found = self._written(call)
        messages = [m for m in found if isinstance(m, dict)] if isinstance(found, list) else []
        return Recent(messages=tuple(_said(message) for message in messages))

    async def search(
        self,
        namespace: Sequence[str],
        query: str,
        *,
        top_k: int,
        call: Call,
        seconds: float,
        window: int = 0,
    ) -> Sequence[Hit]:
        """What is written; nothing for a model's own recall. What matches what the test saved nobody can say."""
        if not call.key.endswith(_ONLY_STEP):
            return ()
        held = any(place[: len(namespace)] == tuple(namespace) for place, _ in self.items)
        if not held and not self.script.has(call.node):
            return ()
        found = self._written(call)
        hits = found if isinstance(found, list) else []
        return [Hit(key=hit["key"], value=hit["value"], score=hit["score"]) for hit in hits]

    def _written(self, call: Call) -> Any:
        written = self.script.answer(call.key, asks="reads its memory")
        if isinstance(written, Fails):
            raise failure_of(written)
        return written.value


def _said(message: Mapping[str, Any]) -> Said:
    known = {role.value: role for role in Role}
    return Said(
        role=known.get(message.get("role", ""), Role.USER),
        name=str(message.get("name", "")),
        text=str(message.get("text", "")),
    )


@dataclass(frozen=True, kw_only=True)
class ScriptedChildren:
    """Gives the written outputs of other workflows, of which none is run."""

    script: Script
    ended: dict[str, Run] = field(default_factory=dict)

    async def start_child(self, child: ChildRun) -> Run:
        """A run that ended as the test says."""
        key = child.key.removeprefix("child/")
        asks = f"runs the workflow {child.workflow!r}"
        run = _ended_child(child, self.script.answer(key, asks=asks))
        self.ended[run.id] = run
        return run

    async def may_go_on(self, run_id: str, child: ChildRun) -> bool:
        """Never: nobody resumes a test."""
        return False

    async def resume_child(self, run_id: str) -> None:
        """Never asked."""

    async def wait_for(self, run_id: str) -> Run:
        """The run."""
        return self.ended[run_id]

    async def cancel(self, run_id: str) -> Run:
        """The run, which had ended."""
        return self.ended[run_id]

    async def end_children(self, run_id: str) -> Usage:
        """None is open."""
        return Usage()


def _ended_child(child: ChildRun, written: Gives | Fails) -> Run:
    failed = isinstance(written, Fails)
    return Run(
        id=child.key,
        workflow=child.workflow,
        version=child.version,
        status=RunStatus.FAILED if failed else RunStatus.SUCCEEDED,
        source="",
        inputs=child.inputs,
        trigger="workflow",
        created_time=datetime.now(UTC),
        outputs=None if isinstance(written, Fails) else written.value,
        error=Failure.of(failure_of(written)) if isinstance(written, Fails) else None,
    )


class WithoutCache:
    """Keeps no results: each test begins with none."""

    async def find(self, digest: str, *, now: float) -> Any | None:
        """Nothing."""
        return None

    async def keep(self, digest: str, document: object, *, now: float, expires: float) -> None:
        """Keeps nothing."""


@dataclass(kw_only=True)
class ScriptedRuns:
    """Holds the one run of a test while it is driven, and answers for people as the test says."""

    script: Script
    run: Run
    ending: Ending | None = None
    position: Position | None = None
    questions: dict[tuple[str, int], Asking] = field(default_factory=dict)

    async def paused_below(self, run_id: str, *, now: float) -> float:
        """Nobody is waited for."""
        return 0.0

    async def get(self, run_id: str) -> Run:
        """The run."""
        return self.run

    async def commit(self, run_id: str, batch: Batch, *, owner: str, expires: float) -> None:
        """Takes what is asked of people, and where the run stands."""
        self.questions |= {(each.node, each.iteration): each for each in batch.questions}
        if batch.checkpoint is not None:
            self.position = batch.checkpoint.position

    async def finish(
        self, run_id: str, ending: Ending, batch: Batch | None, *, owner: str | None
    ) -> bool:
        """Ends the run."""
        if batch is not None:
            await self.commit(run_id, batch, owner="", expires=0.0)
        self.ending = ending
        return True

    async def suspend(
        self,
        run_id: str,
        batch: Batch,
        *,
        owner: str,
        expires: float,
        open_visits: Collection[tuple[str, int]],
    ) -> Mapping[tuple[str, int], Asked]:
        """Answers what the run asks. Raises RunFailed when nothing is written."""
        await self.commit(run_id, batch, owner=owner, expires=expires)
        answered = {}
        for node, visit in open_visits:
            question, answer = self.questions[node, visit], self._answer(node, visit)
            answered[node, visit] = Asked(question=question, answer=answer)
        return answered

    def _answer(self, node: str, visit: int) -> Answer:
        try:
            written = self.script.answer(f"{self.run.id}/{node}/{visit}/1/1", asks="asks a person")
        except ReplyMissing as error:
            raise RunFailed(Failure.of(error, node=node)) from error
        now = datetime.now(UTC)
        if isinstance(written, Fails):
            return Answer(choice=TIMED_OUT, time=now)
        said: State = written.value
        return Answer(
            choice=said["choice"],
            comment=said.get("comment", ""),
            by=said.get("by", ""),
            time=now,
        )
