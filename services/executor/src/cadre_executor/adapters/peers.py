"""The llm-proxy, the sandbox and the memory service, over gRPC."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import grpc

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_executor.domain.peers import (
    BudgetWarning,
    Call,
    Execution,
    Hit,
    Message,
    Outcome,
    Program,
    ProgramUsage,
    Question,
    Recent,
    Reply,
    Role,
    RunBudget,
    Said,
    ToolCall,
    Unanswered,
)
from cadre_executor.domain.runs import Usage
from cadre_executor.domain.workflows import (
    ModelChoice,
    OnExceed,
    SandboxLimits,
    SandboxMode,
    Upkeep,
)
from cadre_kit.channels import call as call_service
from cadre_kit.channels import stream as stream_service
from cadre_kit.documents import from_json, object_from_json, to_json
from cadre_kit.errors import CadreError, Internal

__all__ = ["GrpcMemory", "GrpcModels", "GrpcSandbox", "completion_of", "reply_of"]

_LLM_PROXY = "llm-proxy"
_SANDBOX = "sandbox"
_MEMORY = "memory"
# A call gets this much longer than the time that it asks for, so that the other side's own error arrives.
_GRACE_SECONDS = 5.0
# Why a reply may lack its end.
_CUT = (llm_pb2.FINISH_REASON_LENGTH, llm_pb2.FINISH_REASON_CONTENT_FILTER)
_ROLES = {
    Role.SYSTEM: llm_pb2.ROLE_SYSTEM,
    Role.USER: llm_pb2.ROLE_USER,
    Role.ASSISTANT: llm_pb2.ROLE_ASSISTANT,
    Role.TOOL: llm_pb2.ROLE_TOOL,
}
_MEMORY_ROLES = {
    Role.SYSTEM: memory_pb2.ROLE_SYSTEM,
    Role.USER: memory_pb2.ROLE_USER,
    Role.ASSISTANT: memory_pb2.ROLE_ASSISTANT,
    Role.TOOL: memory_pb2.ROLE_TOOL,
}
_SAID_BY = {number: role for role, number in _MEMORY_ROLES.items()}
_OUTCOMES = {
    sandbox_pb2.OUTCOME_SUCCEEDED: Outcome.SUCCEEDED,
    sandbox_pb2.OUTCOME_FAILED: Outcome.FAILED,
    sandbox_pb2.OUTCOME_BLOCKED: Outcome.BLOCKED,
    sandbox_pb2.OUTCOME_LIMIT: Outcome.LIMIT,
}
_MODES = {
    SandboxMode.PYTHON: sandbox_pb2.MODE_PYTHON,
    SandboxMode.DOCKER: sandbox_pb2.MODE_DOCKER,
}
_PRESETS = {
    "": sandbox_pb2.PRESET_UNSPECIFIED,
    "low": sandbox_pb2.PRESET_LOW,
    "medium": sandbox_pb2.PRESET_MEDIUM,
    "high": sandbox_pb2.PRESET_HIGH,
    "max": sandbox_pb2.PRESET_MAX,
}


class GrpcModels:
    """Asks models through the llm-proxy."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = llm_pb2_grpc.LlmServiceStub(channel)

    async def complete(
        self,
        question: Question,
        *,
        call: Call,
        seconds: float,
        heard: Callable[[str], None] | None = None,
    ) -> Reply:
        """The whole reply within `seconds`; `heard` is told its text as it is written."""
        request = _request(question, call, seconds)
        try:
            if heard is not None:
                return reply_of(await self._streamed(request, call, heard))
            return reply_of(await self._whole(request, call))
        except CadreError as error:
            if (failed := _unanswered(error)) is not None:
                raise failed from error
            raise

    async def _whole(self, request: llm_pb2.CompleteRequest, call: Call) -> llm_pb2.Reply:
        answer = await call_service(
            self._stub.Complete,
            request,
            service=_LLM_PROXY,
            timeout_seconds=request.timeout_seconds + _GRACE_SECONDS,
            idempotency_key=call.key,
        )
        return answer.reply

    async def _streamed(
        self, request: llm_pb2.CompleteRequest, call: Call, heard: Callable[[str], None]
    ) -> llm_pb2.Reply:
        answers = stream_service(
            self._stub.StreamComplete,
            llm_pb2.StreamCompleteRequest(request=request),
            service=_LLM_PROXY,
            timeout_seconds=request.timeout_seconds + _GRACE_SECONDS,
            idempotency_key=call.key,
        )
        reply: llm_pb2.Reply | None = None
        # Read to its end, which is where the reply is: only so is the call closed at once.
        async for answer in answers:
            if answer.WhichOneof("part") == "reply":
                reply = answer.reply
            else:
                heard(answer.delta)
        if reply is not None:
            return reply
        raise Internal("the llm-proxy ended a reply without its end")


class GrpcSandbox:
    """Runs programs in the sandbox."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = sandbox_pb2_grpc.SandboxServiceStub(channel)

    async def execute(
        self, program: Program, *, call: Call, seconds: float, session: str = ""
    ) -> Execution:
        """How the program ended. Cancelling kills it."""
        limits = program.limits
        request = sandbox_pb2.ExecuteRequest(
            code=program.code,
            # A session's mode was settled when it was opened.
            mode=sandbox_pb2.MODE_UNSPECIFIED if session else _MODES[limits.mode],
            session_id=session,
            preset=_PRESETS[limits.preset],
            inputs=to_json(program.inputs),
            limits=_limits(limits),
            packages=limits.packages,
            hosts=limits.hosts,
            files=[
                sandbox_pb2.File(name=name, content=text.encode())
                for name, text in program.files.items()
            ],
        )
        answer = await call_service(
            self._stub.Execute,
            request,
            service=_SANDBOX,
            timeout_seconds=seconds + _GRACE_SECONDS,
            idempotency_key=call.key,
        )
        if answer.outcome not in _OUTCOMES:
            raise Internal(f"the sandbox answered with the unknown outcome {answer.outcome}")
        has_result = answer.HasField("result")
        return Execution(
            outcome=_OUTCOMES[answer.outcome],
            stdout=answer.stdout,
            stderr=answer.stderr,
            has_result=has_result,
            result=from_json(answer.result, field="result") if has_result else None,
            error=answer.error.message,
            resolution=answer.error.resolution,
            files={file.name: file.content for file in answer.files},
            usage=ProgramUsage(
                wall_ms=answer.usage.wall_ms,
                cpu_ms=answer.usage.cpu_ms,
                peak_memory_bytes=answer.usage.peak_memory_bytes,
                output_bytes=answer.usage.output_bytes,
            ),
            limits_reached=tuple(map(_limit_name, answer.limits_reached)),
            walls=tuple(answer.walls),
        )

    async def open_session(self, limits: SandboxLimits, *, call: Call, seconds: float) -> str:
        """The id of a session; a repeated key gets the same one."""
        request = sandbox_pb2.OpenSessionRequest(
            mode=_MODES[limits.mode], preset=_PRESETS[limits.preset], limits=_limits(limits)
        )
        opened = await call_service(
            self._stub.OpenSession,
            request,
            service=_SANDBOX,
            timeout_seconds=seconds,
            idempotency_key=call.key,
        )
        return str(opened.session.id)

    async def close_session(self, session: str, *, seconds: float) -> None:
        """Ends a session."""
        request = sandbox_pb2.CloseSessionRequest(session_id=session)
        await call_service(
            self._stub.CloseSession, request, service=_SANDBOX, timeout_seconds=seconds
        )

    async def lacks(self, mode: SandboxMode) -> str:
        """Why programs cannot run in a mode, and what would make it; empty when they can."""
        try:
            can = await call_service(
                self._stub.GetCapabilities,
                sandbox_pb2.GetCapabilitiesRequest(),
                service=_SANDBOX,
                timeout_seconds=_GRACE_SECONDS,
            )
        except CadreError as error:
            return f"{error.message}. {error.resolution}".strip()
        if _MODES[mode] in can.modes:
            return ""
        return can.docker_missing or f"the sandbox has no mode {mode.value}"


def _limit_name(limit: sandbox_pb2.Limit.ValueType) -> str:
    """LIMIT_TIME is "time"; one that a newer sandbox has is its number."""
    known = limit in sandbox_pb2.Limit.values()
    return sandbox_pb2.Limit.Name(limit).removeprefix("LIMIT_").lower() if known else str(limit)


def _limits(limits: SandboxLimits) -> sandbox_pb2.Limits:
    return sandbox_pb2.Limits(
        timeout_seconds=limits.timeout_seconds or 0.0,
        cpu_seconds=limits.cpu_seconds or 0.0,
        memory_mb=limits.memory_mb or 0,
        cpus=limits.cpus or 0.0,
    )


class GrpcMemory:
    """Remembers values in the memory service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = memory_pb2_grpc.MemoryServiceStub(channel)

    async def get(self, namespace: Sequence[str], key: str, *, call: Call, seconds: float) -> Any:
        """The value. Raises NotFound."""
        answer = await call_service(
            self._stub.Get,
            memory_pb2.GetRequest(namespace=namespace, key=key),
            service=_MEMORY,
            timeout_seconds=seconds,
            idempotency_key=call.key,
        )
        return from_json(answer.item.value, field="value")

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
        """Stores the value in place of an earlier one."""
        request = memory_pb2.PutRequest(
            namespace=namespace, key=key, value=to_json(value), ttl_seconds=ttl_seconds
        )
        await call_service(
            self._stub.Put,
            request,
            service=_MEMORY,
            timeout_seconds=seconds,
            idempotency_key=call.key,
        )

    async def delete(
        self, namespace: Sequence[str], key: str, *, call: Call, seconds: float
    ) -> bool:
        """Whether there was something to remove."""
        answer = await call_service(
            self._stub.Delete,
            memory_pb2.DeleteRequest(namespace=namespace, key=key),
            service=_MEMORY,
            timeout_seconds=seconds,
            idempotency_key=call.key,
        )
        return bool(answer.deleted)

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
        """What matches best by words and by meaning, best first."""
        answer = await call_service(
            self._stub.Search,
            memory_pb2.SearchRequest(namespace=namespace, query=query, top_k=top_k, window=window),
            service=_MEMORY,
            timeout_seconds=seconds,
            idempotency_key=call.key,
        )
        return [_hit(hit) for hit in answer.hits]

    async def append(
        self,
        namespace: Sequence[str],
        messages: Sequence[Said],
        *,
        upkeep: Upkeep,
        call: Call,
        seconds: float,
    ) -> int:
        """The position of the first of the messages, which are stored with what is to be made of them."""
        request = memory_pb2.AppendMessagesRequest(
            namespace=namespace,
            messages=[
                memory_pb2.Message(
                    role=_MEMORY_ROLES[message.role], name=message.name, text=message.text
                )
                for message in messages
            ],
            upkeep=_upkeep(upkeep, call),
        )
        answer = await call_service(
            self._stub.AppendMessages,
            request,
            service=_MEMORY,
            timeout_seconds=seconds,
            idempotency_key=call.key,
        )
        return int(answer.first_position)

    async def recent(
        self, namespace: Sequence[str], *, max_tokens: int, call: Call, seconds: float
    ) -> Recent:
        """The newest messages, and the summary of those before."""
        answer = await call_service(
            self._stub.ListMessages,
            memory_pb2.ListMessagesRequest(
                namespace=namespace, limit=1_000, max_tokens=max_tokens, with_summary=True
            ),
            service=_MEMORY,
            timeout_seconds=seconds,
            idempotency_key=call.key,
        )
        return Recent(messages=tuple(map(_said, answer.messages)), summary=answer.summary.text)


def _upkeep(upkeep: Upkeep, call: Call) -> memory_pb2.Upkeep | None:
    if not (upkeep.learn or upkeep.summary_tokens):
        return None
    return memory_pb2.Upkeep(
        summary_tokens=upkeep.summary_tokens,
        learn=upkeep.learn,
        model=_options(upkeep.model),
        fallbacks=[_options(fallback) for fallback in upkeep.model.fallbacks],
        attribution=_attribution(call),
    )


def _hit(hit: memory_pb2.Hit) -> Hit:
    return Hit(
        key=hit.item.key,
        value=from_json(hit.item.value, field="value"),
        score=hit.score,
        namespace=tuple(hit.item.namespace),
        metadata=object_from_json(hit.item.metadata, field="metadata"),
        matched_text=hit.matched_text,
        said=_said(hit.message) if hit.HasField("message") else None,
        around=tuple(map(_said, hit.neighbours)),
    )


def _said(message: memory_pb2.Message) -> Said:
    return Said(
        role=_SAID_BY[message.role],
        name=message.name,
        text=message.text,
        position=message.position,
    )


def _run_budget(own: RunBudget) -> llm_pb2.RunBudget:
    usd = own.budget.usd
    return llm_pb2.RunBudget(
        run_id=own.run_id,
        usd=None if usd is None else f"{usd:f}",
        tokens=own.budget.tokens,
        pauses=own.budget.on_exceed is OnExceed.PAUSE,
    )


def completion_of(question: Question) -> llm_pb2.CompleteRequest:
    """What a model is asked, for nobody yet."""
    request = llm_pb2.CompleteRequest(
        options=_options(question.model),
        fallbacks=[_options(fallback) for fallback in question.model.fallbacks],
        messages=[_message(message) for message in question.messages],
        tools=[
            llm_pb2.ToolDefinition(
                name=tool.name, description=tool.description, parameters=to_json(tool.parameters)
            )
            for tool in question.tools
        ],
    )
    if question.tools and not question.may_call:
        request.tool_choice = llm_pb2.TOOL_CHOICE_NONE
    if question.schema is not None:
        request.output_schema.CopyFrom(to_json(question.schema))
    return request


def _request(question: Question, call: Call, seconds: float) -> llm_pb2.CompleteRequest:
    request = completion_of(question)
    request.timeout_seconds = seconds
    request.attribution.CopyFrom(_attribution(call))
    return request


def _attribution(call: Call) -> llm_pb2.Attribution:
    return llm_pb2.Attribution(
        workflow=call.workflow,
        version=call.version,
        run_id=call.run_id,
        root_run_id=call.root_run_id,
        node=call.node,
        schedule=call.schedule,
        api_key=call.api_key,
        run_budgets=[_run_budget(each) for each in call.budgets],
    )


def _options(choice: ModelChoice) -> llm_pb2.ModelOptions:
    return llm_pb2.ModelOptions(
        provider=choice.provider,
        model=choice.model,
        temperature=choice.temperature,
        max_tokens=choice.max_tokens,
        top_p=choice.top_p,
        seed=choice.seed,
        stop=choice.stop,
        api_base=choice.api_base,
        api_key_env=choice.api_key_env,
        params=to_json(choice.params) if choice.params else None,
    )


def _message(message: Message) -> llm_pb2.Message:
    return llm_pb2.Message(
        role=_ROLES[message.role],
        content=message.text,
        tool_calls=[
            llm_pb2.ToolCall(id=call.id, name=call.name, arguments=to_json(call.arguments))
            for call in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
    )


def reply_of(reply: llm_pb2.Reply) -> Reply:
    """A reply of the llm-proxy."""
    calls = (
        ToolCall(
            id=call.id,
            name=call.name,
            arguments=object_from_json(call.arguments, field="arguments"),
        )
        for call in reply.tool_calls
    )
    return Reply(
        text=reply.content,
        usage=_usage(reply.usage),
        complete=reply.finish_reason not in _CUT,
        tool_calls=tuple(calls),
        warnings=tuple(map(_budget_warning, reply.budget_warnings)),
    )


def _unanswered(error: CadreError) -> Unanswered | None:
    failed = llm_pb2.FailedCall()
    if not any(detail.Unpack(failed) for detail in error.details):
        return None
    return Unanswered(
        error, usage=_usage(failed.usage), warnings=[*map(_budget_warning, failed.budget_warnings)]
    )


def _budget_warning(warning: llm_pb2.BudgetWarning) -> BudgetWarning:
    return BudgetWarning(
        budget=warning.budget,
        period=warning.period,
        used_usd=warning.used_usd,
        used_tokens=warning.used_tokens,
        limit_usd=warning.limit_usd if warning.HasField("limit_usd") else None,
        limit_tokens=warning.limit_tokens if warning.HasField("limit_tokens") else None,
    )


def _usage(usage: common_pb2.Usage) -> Usage:
    known = usage.HasField("cost_usd")
    calls = usage.calls or 1
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        known_usd=Decimal(usage.cost_usd) if known else Decimal(0),
        calls=calls,
        unpriced_calls=0 if known else (usage.unpriced_calls or calls),
    )
