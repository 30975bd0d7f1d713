"""What the gateway answers, as typed values. Fields that a newer gateway adds are ignored."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer

__all__ = [
    "Agent",
    "AgentSkill",
    "Applied",
    "Completion",
    "Conversation",
    "ConversationMessage",
    "Delivery",
    "Event",
    "EventType",
    "Execution",
    "ExecutionUsage",
    "Failure",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "Input",
    "JsonObject",
    "MemoryBatchResult",
    "MemoryFound",
    "MemoryHit",
    "MemoryHits",
    "MemoryItem",
    "Messages",
    "Model",
    "ModelDeployment",
    "ModelGroup",
    "Models",
    "Problem",
    "ProgramFile",
    "Reply",
    "RowCounts",
    "Run",
    "RunStatus",
    "Sample",
    "Schedule",
    "ServiceStatus",
    "Severity",
    "Summary",
    "TelegramConnection",
    "TextEdit",
    "Trigger",
    "Trouble",
    "Usage",
    "UsageGroup",
    "UsageReport",
    "Validation",
    "Workflow",
]

JsonObject = dict[str, JsonValue]


def _plain(amount: Decimal) -> str:
    return format(amount, "f")


# str(Decimal("0.0000001")) is "1E-7", which is no amount of money to a reader.
Usd = Annotated[Decimal, PlainSerializer(_plain, return_type=str, when_used="json")]


class Answer(BaseModel):
    """What all answers share: they do not change."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a run in it has ended."""
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


class EventType(StrEnum):
    """What happened in a run."""

    RUN_QUEUED = "run_queued"
    RUN_STARTED = "run_started"
    RUN_RESUMED = "run_resumed"
    RUN_SUCCEEDED = "run_succeeded"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    NODE_TEXT = "node_text"
    TOOL_CALLED = "tool_called"
    TOOL_RETURNED = "tool_returned"
    AGENT_TASK = "agent_task"
    BUDGET_WARNED = "budget_warned"
    SERVICE_AWAITED = "service_awaited"
    NODE_STARTED = "node_started"
    NODE_SUCCEEDED = "node_succeeded"
    NODE_FAILED = "node_failed"
    NODE_RETRIED = "node_retried"
    NODE_SKIPPED = "node_skipped"
    NODE_WAITING = "node_waiting"
    NODE_ANSWERED = "node_answered"

    @property
    def is_last(self) -> bool:
        """Whether the run ended with it; events follow only when a person resumes the run."""
        return self in (EventType.RUN_SUCCEEDED, EventType.RUN_FAILED, EventType.RUN_CANCELLED)


class Severity(StrEnum):
    """How bad a problem in a workflow file is: an error refuses it, a note does not."""

    ERROR = "error"
    NOTE = "note"


class TextEdit(Answer):
    """A part of a file, and what to put in its place. Lines and columns count from 1, columns in code points."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: str


class Problem(Answer):
    """Something wrong, or worth knowing, in a workflow file. `line` and `column` count from 1; 0 when unknown."""

    code: str
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    resolution: str = ""
    severity: Severity = Severity.ERROR
    fix: TextEdit | None = None


class Failure(Answer):
    """Why a run or a node failed. `node` is empty when the run as a whole did."""

    code: str
    message: str
    resolution: str = ""
    node: str = ""


class Usage(Answer):
    """What model calls used. `cost_usd` is exact, and None when the price of any call is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Usd | None = None
    calls: int = 0
    unpriced_calls: int = 0


class Input(Answer):
    """One value that a run starts with. `enum` holds the only values allowed, if they are named."""

    name: str
    type: str
    required: bool = False
    default: JsonValue = None
    description: str = ""
    enum: list[JsonValue] | None = None


class GraphNode(Answer):
    """One step of a workflow: an llm, code, memory, ... node, the state fields that it writes, and whether its result
    is a document of a schema."""

    id: str
    kind: str
    label: str
    outputs: list[str] = []
    structured: bool = False


class GraphEdge(Answer):
    """One way between steps. `condition` is empty when it is always taken, "default" for the rest."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    condition: str = ""
    loop: bool = False


class Graph(Answer):
    """The shape of a workflow. Edges also name START and END, which are no nodes."""

    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []


class Workflow(Answer):
    """A stored version of a workflow. Lists leave out `source`, `inputs` and `graph`."""

    name: str
    version: int
    description: str = ""
    source: str = ""
    applied_time: AwareDatetime | None = None
    tags: list[str] = []
    inputs: list[Input] = []
    graph: Graph | None = None


class Validation(Answer):
    """What is wrong with a workflow file, and the workflow (version 0) when nothing is."""

    valid: bool
    problems: list[Problem] = []
    workflow: Workflow | None = None


class Applied(Answer):
    """The newest version after a file was applied; `created` is False when the file equals the one before."""

    workflow: Workflow
    created: bool
    notes: list[Problem] = []


class Question(Answer):
    """What a node of a run asks a person, on its visit `iteration`. Without a deadline it waits for ever. `run_id` is
    the run that asks, which may be one below; `node` then begins with the steps that lead there."""

    run_id: str = ""
    node: str
    iteration: int
    message: str
    choices: list[str]
    deadline: AwareDatetime | None = None


class Checkpoint(Answer):
    """Where a run stood after a step: the nodes that ran since the one before, and those that were next."""

    id: str
    step: int
    time: AwareDatetime
    nodes: list[str] = []
    next_nodes: list[str] = []
    state: JsonObject = {}


class Run(Answer):
    """One execution of a workflow. Lists leave out `inputs`, `outputs` and `source`."""

    id: str
    workflow: str
    version: int
    status: RunStatus
    inputs: JsonObject | None = None
    outputs: JsonObject | None = None
    usage: Usage = Usage()
    error: Failure | None = None
    created_time: AwareDatetime | None = None
    started_time: AwareDatetime | None = None
    ended_time: AwareDatetime | None = None
    trigger: str = ""
    trace_id: str = ""
    source: str = ""
    parent_run_id: str = ""
    forked_from_run_id: str = ""
    schedule: str = ""
    api_key: str = ""
    batch_id: str = ""
    batch_row: int = 0
    last_sequence: int = 0
    runs_before: int = 0
    questions: list[Question] = []

    @property
    def duration_ms(self) -> int | None:
        """From the first step to the end, in milliseconds; None before the end."""
        if self.started_time is None or self.ended_time is None:
            return None
        return _milliseconds(self.started_time, self.ended_time)


class RowCounts(Answer):
    """How many rows a batch has, and where their runs stand; `pending` are those to start, or to go on with."""

    total: int
    pending: int = 0
    running: int = 0
    waiting: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        """Rows that were run to an end."""
        return self.succeeded + self.failed + self.cancelled


class Batch(Answer):
    """A workflow over the rows of a dataset. `driven_time` is when its Prefect flow run last asked for it;
    `usage` is what all its runs used so far."""

    id: str
    workflow: str
    version: int
    status: RunStatus
    max_concurrent: int
    rows: RowCounts
    created_time: AwareDatetime | None = None
    flow_run_id: str = ""
    driven_time: AwareDatetime | None = None
    launches: int = 0
    usage: Usage = Usage()


class BatchRow(Answer):
    """A row of a batch, from 1, and its run, without inputs and source, once it was started."""

    row: int
    line: int = 0
    run: Run | None = None


def _milliseconds(start: datetime, end: datetime) -> int:
    return round((end - start).total_seconds() * 1000)


class Event(Answer):
    """One thing that happened in a run; `sequence` counts from 1 without gaps. `item` counts from 1 within the node's
    for_each; 0 means the node as a whole."""

    sequence: int
    time: AwareDatetime
    type: EventType
    node: str = ""
    iteration: int = 0
    attempt: int = 0
    item: int = 0
    data: JsonObject | None = None
    usage: Usage | None = None
    error: Failure | None = None
    duration_ms: int = 0

    @property
    def is_last(self) -> bool:
        """Whether the run ended with it."""
        return self.type.is_last


class Model(Answer):
    """A model that can be named, and why it cannot be used if so. `context_tokens` is 0 when unknown; `abilities` are
    some of tools, json_schema, images, reasoning and embeddings."""

    provider: str
    name: str
    available: bool
    unavailable_reason: str = ""
    default: bool = False
    context_tokens: int = 0
    input_usd_per_million: Usd | None = None
    output_usd_per_million: Usd | None = None
    abilities: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The name that requests take: provider/name."""
        return f"{self.provider}/{self.name}"


class ModelDeployment(Answer):
    """A model of a group at one address, if `host` is not empty, and how it is now: asked last for `cooling_seconds`
    more, with `waiting` calls beyond its limits; passed over for its `unavailable_reason`. A limit of None is none."""

    provider: str
    model: str
    host: str = ""
    weight: float = 1.0
    concurrent: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    cooling_seconds: float = 0.0
    waiting: int = 0
    unavailable_reason: str = ""

    @property
    def id(self) -> str:
        """provider/model."""
        return f"{self.provider}/{self.model}"

    @property
    def standing(self) -> str:
        """How it is now, in words."""
        if self.unavailable_reason:
            return self.unavailable_reason
        said = []
        if self.cooling_seconds:
            said.append(f"failed, asked last for {self.cooling_seconds:.0f} s")
        if self.waiting:
            said.append(f"{self.waiting:,} waiting")
        return ", ".join(said) or "ready"


class ModelGroup(Answer):
    """Models under one name, asked in an order drawn by weight; `fallbacks` are asked after them."""

    name: str
    deployments: tuple[ModelDeployment, ...] = ()
    fallbacks: tuple[str, ...] = ()


class Models(Answer):
    """What can be named as a model."""

    models: tuple[Model, ...]
    groups: tuple[ModelGroup, ...] = ()


class UsageDetails(Answer):
    """Sums of calls beyond their usage: the costs that are known, the most that open and uncertain calls cost but for
    `unbounded_calls` of them, and what reuse saved."""

    known_usd: Usd = Decimal(0)
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    open_calls: int = 0
    open_usd: Usd = Decimal(0)
    uncertain_calls: int = 0
    uncertain_usd: Usd = Decimal(0)
    reused_replies: int = 0
    saved_usd: Usd = Decimal(0)
    saved_tokens: int = 0
    unbounded_calls: int = 0


class UsageGroup(Answer):
    """The calls that share the values of `keys`, by dimension; a value is empty where it is unknown."""

    keys: dict[str, str]
    usage: Usage
    failed_calls: int = 0
    details: UsageDetails = UsageDetails()


class UsageReport(Answer):
    """Sums of model calls, the most expensive group first."""

    groups: list[UsageGroup] = []
    total: Usage
    total_details: UsageDetails = UsageDetails()


class ModelCall(Answer):
    """An entry of the ledger: one request to a provider, or one reply given again. What is None is unknown."""

    id: str
    time: AwareDatetime
    workflow: str = ""
    version: int = 0
    run_id: str = ""
    root_run_id: str = ""
    node: str = ""
    schedule: str = ""
    api_key: str = ""
    provider: str
    model: str
    status: str
    error_code: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    input_usd_per_million: Usd | None = None
    output_usd_per_million: Usd | None = None
    cost_usd: Usd | None = None
    reserved_usd: Usd | None = None
    reserved_tokens: int = 0
    latency_ms: int = 0
    first_token_ms: int | None = None
    saved_usd: Usd | None = None
    saved_tokens: int = 0


class Budget(Answer):
    """A bound of what model calls may use, in US dollars, tokens or both.

    `scope` is platform, workflow, key or run, `period` is run, day, week or month, `on_exceed` is fail, pause or
    downgrade.
    """

    name: str
    period: str
    scope: str = "platform"
    subject: str = ""
    usd: Usd | None = None
    tokens: int | None = None
    warn_percent: int = 80
    on_exceed: str = "fail"
    downgrade_to: str = ""

    @property
    def instead(self) -> str:
        """What happens to a call that could pass it, in words; empty where it just fails."""
        if self.on_exceed == "downgrade":
            return f"then {self.downgrade_to} is asked"
        return "then runs wait" if self.on_exceed == "pause" else ""


class BudgetUse(Answer):
    """What one period of a budget used, the worst case of open and uncertain calls included."""

    period: str
    used_usd: Usd
    used_tokens: int = 0
    left_usd: Usd | None = None
    left_tokens: int | None = None
    reset_time: AwareDatetime | None = None
    warned: bool = False


class BudgetStatus(Answer):
    """A budget, and its present period or the runs that came last."""

    budget: Budget
    uses: list[BudgetUse] = []


class ServiceStatus(Answer):
    """Whether a service serves: ready, starting or unreachable; `detail` says why not."""

    name: str
    address: str
    status: str
    version: str | None = None
    detail: str | None = None


class AgentSkill(Answer):
    """One thing that a remote agent can do."""

    id: str
    name: str
    description: str = ""
    tags: list[str] = []
    examples: list[str] = []


class Agent(Answer):
    """A remote agent that `agent` nodes hand work to. `health` is healthy, unreachable or expired; `ttl_seconds` is 0
    when it stays until it is removed."""

    name: str
    title: str
    description: str = ""
    version: str = ""
    card_url: str = ""
    url: str
    protocol_binding: str
    skills: list[AgentSkill] = []
    health: str
    health_detail: str = ""
    secret: str = ""
    ttl_seconds: float = 0
    registered_time: AwareDatetime | None = None
    last_seen_time: AwareDatetime | None = None
    expires_time: AwareDatetime | None = None


class Schedule(Answer):
    """When an applied workflow is started by itself, by one of `cron`, `interval_seconds` and `rrule`.

    `next_time` is None while it is paused, and when it is never due again; `max_concurrent` None means any number.
    """

    name: str
    workflow: str
    cron: str | None = None
    interval_seconds: float | None = None
    rrule: str | None = None
    timezone: str
    inputs: JsonObject | None = None
    max_concurrent: int | None = None
    catch_up: Literal["skip", "latest", "all"] = "skip"
    notify: str | None = None
    paused: bool = False
    next_time: AwareDatetime | None = None


class Trouble(Answer):
    """Why a delivery, or a reply to one, did not go on."""

    code: str
    message: str
    resolution: str = ""


class Reply(Answer):
    """Something that is sent for a delivery; `status` is pending, sent, parked or discarded, `receipt` what the
    provider said since, such as read."""

    id: str
    status: str
    tries: int = 0
    next_time: AwareDatetime | None = None
    sent_time: AwareDatetime | None = None
    error: Trouble | None = None
    receipt: str = ""


class Delivery(Answer):
    """What came from outside, and what became of it; `status` is received, started, ended, parked or discarded.

    `key` is the sender's id of it. There is no run `run_id` while it is received; it is empty for what asks for none.
    `batch_id` is the batch whose end is told.
    """

    id: str
    source: str
    key: str
    workflow: str
    version: int
    run_id: str
    batch_id: str = ""
    status: str
    tries: int = 0
    received_time: AwareDatetime
    updated_time: AwareDatetime | None = None
    next_time: AwareDatetime | None = None
    error: Trouble | None = None
    content: JsonObject | None = None
    replies: list[Reply] = Field(default_factory=list)


class Trigger(Answer):
    """Something outside that starts runs of a workflow; its provider sends to the path `address`."""

    kind: str
    address: str
    workflow: str
    version: int
    command: str = ""
    reply: str = ""
    enabled: bool = True


class TelegramConnection(Answer):
    """Where Telegram sends a bot's messages; `address` is empty for nowhere. `pending` ones wait there."""

    username: str
    address: str
    pending: int = 0
    last_error: str = ""


class Sample(Answer):
    """A signed request, as a provider would send it; `key` is the provider's id of it."""

    source: str
    key: str
    path: str
    headers: dict[str, str]
    body: str


class MemoryItem(Answer):
    """A stored value."""

    namespace: list[str]
    key: str
    value: JsonValue
    version: int
    created_time: AwareDatetime | None = None
    updated_time: AwareDatetime | None = None
    expires_time: AwareDatetime | None = None
    tags: list[str] = []
    metadata: dict[str, JsonValue] = {}

    @property
    def valid_from(self) -> datetime | None:
        """From when on it holds; None where its metadata does not say."""
        return _moment_in(self.metadata, "valid_from")

    @property
    def valid_to(self) -> datetime | None:
        """From when on it holds no more; None where its metadata does not say."""
        return _moment_in(self.metadata, "valid_to")

    def holds(self, when: datetime) -> bool:
        """Whether it holds at a moment, which has a time zone."""
        start, end = self.valid_from, self.valid_to
        return (start is None or start <= when) and (end is None or when < end)


def _moment_in(metadata: Mapping[str, JsonValue], name: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(metadata.get(name)))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class ConversationMessage(Answer):
    """A message of a conversation; `position` is which of it, from 0, `role` user, assistant, system or tool."""

    position: int
    role: str
    text: str
    name: str = ""
    time: AwareDatetime | None = None
    session: str = ""
    metadata: dict[str, JsonValue] = {}


class Conversation(Answer):
    """A conversation, by its namespace."""

    namespace: list[str]
    newest: ConversationMessage


class Summary(Answer):
    """What was said in a conversation up to a position."""

    text: str
    last_position: int
    time: AwareDatetime | None = None


class Messages(Answer):
    """The end of a conversation, oldest first; `more` when there is something before it, which `summary` may sum up."""

    messages: list[ConversationMessage]
    more: bool = False
    summary: Summary | None = None


class MemoryHit(Answer):
    """An item that a search found. `score` is 0 to 1 and comparable within one answer."""

    item: MemoryItem
    score: float
    text_score: float = 0.0
    vector_score: float = 0.0
    matched_text: str = ""
    message: ConversationMessage | None = None
    neighbours: list[ConversationMessage] = []


class MemoryHits(Answer):
    """What a search found, best first; `without_meaning` is the code of the error for which only words counted."""

    hits: list[MemoryHit]
    without_meaning: str = ""


class MemoryFound(Answer):
    """An item that an operation found; `score` is None without a query, or when it does not match."""

    item: MemoryItem
    score: float | None = None


class MemoryBatchResult(Answer):
    """What an operation of a batch came to; of these only what it is about."""

    item: MemoryItem | None = None
    found: list[MemoryFound] = []
    namespaces: list[list[str]] = []
    deleted: bool = False


class Completion(Answer):
    """A model's reply. `parsed` is its document when a schema was asked for, else None.

    `finish_reason` is stop, length (cut off) or content_filter (withheld).
    """

    content: str
    finish_reason: str
    model: str
    usage: Usage
    parsed: JsonValue = None


class ProgramFile(Answer):
    """A file that a program left. `content` is base64; the type is by its name only."""

    name: str
    media_type: str
    content: str


class RunFile(Answer):
    """A file that tools or programs of a run left; the type is by its name only."""

    path: str
    size_bytes: int
    media_type: str


class RunFileList(Answer):
    """The files of a run."""

    files: list[RunFile]


class FileEntry(Answer):
    """A file of a session's folder, without what is in it."""

    name: str
    size_bytes: int


class FileList(Answer):
    """The files of a session's folder."""

    files: list[FileEntry]


class Session(Answer):
    """An open session of the sandbox. Whoever knows its id may use it."""

    id: str
    mode: str
    idle_seconds: float
    total_seconds: float


class ExecutionUsage(Answer):
    """What a program used."""

    wall_ms: int
    cpu_ms: int
    peak_memory_bytes: int
    output_bytes: int


class Execution(Answer):
    """How a program ended: outcome is succeeded, failed, blocked or limit; `result` None when it set none."""

    outcome: str
    stdout: str
    stderr: str
    result: JsonValue = None
    files: list[ProgramFile] = []
    limits_reached: list[str] = []
    usage: ExecutionUsage
    walls: list[str] = []
    session_reset: bool = False
    error: Failure | None = None
