"""The executor's neighbours, for tests: small real gRPC servers that answer as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cadre.common.v1 import common_pb2
from cadre.llm_proxy.v1 import llm_pb2, llm_pb2_grpc, usage_pb2, usage_pb2_grpc
from cadre.memory.v1 import memory_pb2, memory_pb2_grpc
from cadre.sandbox.v1 import sandbox_pb2, sandbox_pb2_grpc
from cadre_kit.documents import from_json, object_from_json, to_json
from cadre_kit.errors import Conflict, NotFound
from cadre_kit.interceptor import idempotency_key
from cadre_kit.serving import GrpcService, serving

Answer = Callable[[llm_pb2.CompleteRequest], str | llm_pb2.Reply]


def sample(schema: Any) -> Any:
    """A document that fits a JSON Schema."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: sample(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return []
        case "integer":
            return 1
        case "number":
            return 1.5
        case "boolean":
            return True
        case _:
            return "text"


def fitting(request: llm_pb2.CompleteRequest) -> str:
    """Answers with a document of the schema, or with the prompt again."""
    if request.HasField("output_schema"):
        return json.dumps(sample(json.loads(request.output_schema.text)))
    return f"reply to {request.messages[-1].content}"


class FakeLlmProxy(llm_pb2_grpc.LlmServiceServicer):
    """Answers by `answer` after `seconds`, once for each idempotency key. Holds calls back while `gate` is closed, and
    those of `held_nodes` until `let_go` is set."""

    def __init__(self) -> None:
        self.answer: Answer = fitting
        self.seconds = 0.0
        self.cost_usd: str | None = "0.001"
        self.held_nodes: set[str] = set()
        self.let_go = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[str] = []
        self.paid: dict[str, str | llm_pb2.Reply] = {}
        self.requests: dict[str, llm_pb2.CompleteRequest] = {}
        self.nodes: list[str] = []
        self.cancelled: list[str] = []
        self.metadata: list[dict[str, str]] = []

    def was_asked(self, times: int) -> bool:
        """Whether there were so many calls."""
        return len(self.asked) >= times

    async def Complete(
        self, request: llm_pb2.CompleteRequest, context: Any
    ) -> llm_pb2.CompleteResponse:
        return llm_pb2.CompleteResponse(reply=await self._reply(request, context))

    async def StreamComplete(
        self, request: llm_pb2.StreamCompleteRequest, context: Any
    ) -> AsyncIterator[llm_pb2.StreamCompleteResponse]:
        reply = await self._reply(request.request, context)
        for word in reply.content.split(" "):
            yield llm_pb2.StreamCompleteResponse(delta=f"{word} ")
            await asyncio.sleep(0.03)
        yield llm_pb2.StreamCompleteResponse(reply=reply)

    async def _reply(self, request: llm_pb2.CompleteRequest, context: Any) -> llm_pb2.Reply:
        key = idempotency_key(context)
        if self.requests.setdefault(key, request) != request:
            raise Conflict("the key came with another request", code="IDEMPOTENCY_KEY_REUSED")
        self.asked.append(key)
        self.nodes.append(request.attribution.node)
        self.metadata.append(dict(context.invocation_metadata()))
        try:
            await self.gate.wait()
            await asyncio.sleep(self.seconds)
            if request.attribution.node in self.held_nodes:
                await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(key)
            raise
        if key not in self.paid:
            self.paid[key] = self.answer(request)
        usage = common_pb2.Usage(
            input_tokens=10,
            output_tokens=5,
            cost_usd=self.cost_usd,
            calls=1,
            unpriced_calls=0 if self.cost_usd else 1,
        )
        answer = self.paid[key]
        if isinstance(answer, llm_pb2.Reply):
            answer.usage.CopyFrom(usage)
            return answer
        return llm_pb2.Reply(
            content=answer,
            finish_reason=llm_pb2.FINISH_REASON_STOP,
            provider="fake",
            model="fake-1",
            usage=usage,
        )


class FakeUsage(usage_pb2_grpc.UsageServiceServicer):
    """Lists the replies that `llm_proxy` gave, as its ledger would, and estimates at a dollar for a thousand tokens
    either way: one token a character, 1,000 of context, `max_tokens` or 100 of a reply, or none known of the model
    `endless`. The provider `keyless` has no key, `unheard_of` is none.
    """

    llm_proxy: FakeLlmProxy

    async def Estimate(
        self, request: usage_pb2.EstimateRequest, context: Any
    ) -> usage_pb2.EstimateResponse:
        options = request.request.options
        if options.provider == "unheard_of":
            raise NotFound("there is no such provider", code="PROVIDER_UNKNOWN")
        texts = "".join(message.content for message in request.request.messages)
        sent = len(texts) + request.more_input_tokens
        answer = usage_pb2.EstimateResponse(
            provider=options.provider or "fake",
            model=options.model or "fake-1",
            input_tokens=sent,
            min_usd=_dollars(sent),
            unavailable_reason="no key for keyless" if options.provider == "keyless" else "",
            host="" if options.provider == "embedded" else "models.example.com",
            max_requests=3 if request.request.HasField("output_schema") else 1,
        )
        if options.model == "quick":
            answer.output_tokens_per_second = 10
        if options.model != "endless":
            written = options.max_tokens or 100
            answer.context_tokens = 1000
            answer.max_output_tokens = written
            answer.max_usd = _dollars(sent + written)
        return answer

    async def ListReplies(
        self, request: usage_pb2.ListRepliesRequest, context: Any
    ) -> usage_pb2.ListRepliesResponse:
        kept = [
            (key, answer if isinstance(answer, llm_pb2.Reply) else llm_pb2.Reply(content=answer))
            for key, answer in self.llm_proxy.paid.items()
            if self.llm_proxy.requests[key].attribution.run_id == request.run_id
        ]
        start = int(request.page_token or 0)
        end = start + (request.page_size or 100)
        return usage_pb2.ListRepliesResponse(
            replies=[
                usage_pb2.KeptReply(idempotency_key=key, reply=reply)
                for key, reply in kept[start:end]
            ],
            next_page_token=str(end) if end < len(kept) else "",
        )


class FakeSandbox(sandbox_pb2_grpc.SandboxServiceServicer):
    """Runs the tests' own programs here; the outcomes `blocked` and `limit` by their names in the code.

    Programs with the word SLEEP take until they are cancelled. `requests` are all that were asked.
    """

    def __init__(self) -> None:
        self.requests: list[sandbox_pb2.ExecuteRequest] = []
        self.under_way = 0

    async def Execute(
        self, request: sandbox_pb2.ExecuteRequest, context: Any
    ) -> sandbox_pb2.ExecuteResponse:
        self.requests.append(request)
        if "SLEEP" in request.code:
            self.under_way += 1
            try:
                await asyncio.Event().wait()
            finally:
                self.under_way -= 1
        for word, outcome in (
            ("BLOCKED", sandbox_pb2.OUTCOME_BLOCKED),
            ("LIMIT", sandbox_pb2.OUTCOME_LIMIT),
        ):
            if word in request.code:
                return _ended(outcome, f"line 1: {word}")
        inputs = dict(object_from_json(request.inputs, field="inputs"))
        printed: list[str] = []
        names = {**inputs, "inputs": inputs, "print": lambda *a: printed.append(" ".join(a))}
        try:
            exec(request.code, names)
        except ZeroDivisionError as exc:
            ended = _ended(sandbox_pb2.OUTCOME_FAILED, f"line 1: ZeroDivisionError: {exc}")
            ended.stdout = "\n".join(printed)
            return ended
        result = to_json(names["result"]) if "result" in names else None
        left = names.get("FILES", {})
        return sandbox_pb2.ExecuteResponse(
            outcome=sandbox_pb2.OUTCOME_SUCCEEDED,
            stdout="\n".join(printed),
            result=result,
            files=[sandbox_pb2.File(name=n, content=left[n]) for n in left],
        )


def _dollars(tokens: int) -> str:
    return f"{Decimal(tokens) / 1000:f}"


def _ended(outcome: sandbox_pb2.Outcome.ValueType, message: str) -> sandbox_pb2.ExecuteResponse:
    error = common_pb2.Failure(code="PROGRAM", message=message)
    return sandbox_pb2.ExecuteResponse(outcome=outcome, error=error)


class FakeMemory(memory_pb2_grpc.MemoryServiceServicer):
    """Remembers in a dict; a search finds values that contain the query, or all of them if `finds_all`. `appended` are
    the requests that added messages, by their idempotency keys."""

    def __init__(self) -> None:
        self.finds_all = False
        self.items: dict[tuple[tuple[str, ...], str], Any] = {}
        self.appended: dict[str, memory_pb2.AppendMessagesRequest] = {}

    async def Put(self, request: memory_pb2.PutRequest, context: Any) -> memory_pb2.PutResponse:
        value = from_json(request.value, field="value")
        self.items[tuple(request.namespace), request.key] = value
        return memory_pb2.PutResponse()

    async def Get(self, request: memory_pb2.GetRequest, context: Any) -> memory_pb2.GetResponse:
        place = (tuple(request.namespace), request.key)
        if place not in self.items:
            raise NotFound("no such item", code="ITEM_NOT_FOUND")
        item = memory_pb2.Item(key=request.key, value=to_json(self.items[place]))
        return memory_pb2.GetResponse(item=item)

    async def Delete(
        self, request: memory_pb2.DeleteRequest, context: Any
    ) -> memory_pb2.DeleteResponse:
        found = self.items.pop((tuple(request.namespace), request.key), None)
        return memory_pb2.DeleteResponse(deleted=found is not None)

    async def Search(
        self, request: memory_pb2.SearchRequest, context: Any
    ) -> memory_pb2.SearchResponse:
        hits = [
            memory_pb2.Hit(
                item=memory_pb2.Item(namespace=place, key=key, value=to_json(value)), score=0.5
            )
            for (place, key), value in self.items.items()
            if self.finds_all or request.query in json.dumps(value)
        ]
        for place in {tuple(asked.namespace) for asked in self.appended.values()}:
            said = self._said(place)
            hits += [
                memory_pb2.Hit(
                    item=memory_pb2.Item(namespace=place, key="m", value=to_json(message.text)),
                    score=0.5,
                    message=message,
                    neighbours=[
                        other
                        for other in said
                        if 0 < abs(other.position - message.position) <= request.window
                    ],
                )
                for message in said
                if self.finds_all or request.query in message.text
            ]
        return memory_pb2.SearchResponse(hits=hits[: request.top_k])

    async def AppendMessages(
        self, request: memory_pb2.AppendMessagesRequest, context: Any
    ) -> memory_pb2.AppendMessagesResponse:
        first = len(self._said(tuple(request.namespace)))
        self.appended.setdefault(idempotency_key(context), request)
        return memory_pb2.AppendMessagesResponse(first_position=first)

    async def ListMessages(
        self, request: memory_pb2.ListMessagesRequest, context: Any
    ) -> memory_pb2.ListMessagesResponse:
        return memory_pb2.ListMessagesResponse(
            messages=self._said(tuple(request.namespace)),
            summary=memory_pb2.Summary(text="They met.") if request.with_summary else None,
        )

    def _said(self, place: tuple[str, ...]) -> list[memory_pb2.Message]:
        found = [
            message
            for asked in self.appended.values()
            if tuple(asked.namespace) == place
            for message in asked.messages
        ]
        return [
            memory_pb2.Message(position=n, role=m.role, name=m.name, text=m.text)
            for n, m in enumerate(found)
        ]


def calls(*wanted: tuple[str, dict[str, Any]]) -> llm_pb2.Reply:
    """A reply that wants tools called."""
    return llm_pb2.Reply(
        finish_reason=llm_pb2.FINISH_REASON_TOOL_CALLS,
        tool_calls=[
            llm_pb2.ToolCall(id=f"call-{place}", name=name, arguments=to_json(arguments))
            for place, (name, arguments) in enumerate(wanted)
        ],
    )


@dataclass(kw_only=True)
class Neighbours:
    """The servers, and the one address of them all."""

    llm_proxy: FakeLlmProxy = field(default_factory=FakeLlmProxy)
    usage: FakeUsage = field(default_factory=FakeUsage)
    sandbox: FakeSandbox = field(default_factory=FakeSandbox)
    memory: FakeMemory = field(default_factory=FakeMemory)
    address: str = ""

    def __post_init__(self) -> None:
        self.usage.llm_proxy = self.llm_proxy


@asynccontextmanager
async def neighbours() -> AsyncIterator[Neighbours]:
    """Serves all three on one port."""
    found = Neighbours()
    services = [
        GrpcService(
            name="cadre.llm_proxy.v1.LlmService",
            add=lambda s: llm_pb2_grpc.add_LlmServiceServicer_to_server(found.llm_proxy, s),
        ),
        GrpcService(
            name="cadre.llm_proxy.v1.UsageService",
            add=lambda s: usage_pb2_grpc.add_UsageServiceServicer_to_server(found.usage, s),
        ),
        GrpcService(
            name="cadre.sandbox.v1.SandboxService",
            add=lambda s: sandbox_pb2_grpc.add_SandboxServiceServicer_to_server(found.sandbox, s),
        ),
        GrpcService(
            name="cadre.memory.v1.MemoryService",
            add=lambda s: memory_pb2_grpc.add_MemoryServiceServicer_to_server(found.memory, s),
        ),
    ]
    async with serving(services, host="127.0.0.1", port=0) as address:
        found.address = address
        yield found
