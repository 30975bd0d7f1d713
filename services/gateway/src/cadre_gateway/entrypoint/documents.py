"""What the API takes and answers, as OpenAPI shows it. Field names are those of the protos; absent is null."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictFloat,
    StrictInt,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

__all__ = [
    "Agent",
    "AgentHealth",
    "AgentSkill",
    "Agents",
    "Applied",
    "Delivered",
    "DeliveredAndEnded",
    "Delivery",
    "DeliveryPage",
    "DeliveryStatus",
    "Document",
    "Edge",
    "Event",
    "EventType",
    "Failure",
    "Graph",
    "Input",
    "JsonObject",
    "Model",
    "Models",
    "Moment",
    "Namespace",
    "NewAgent",
    "NewRun",
    "NewSample",
    "NewSchedule",
    "Node",
    "Notify",
    "Problem",
    "ProblemDetails",
    "Ready",
    "Reply",
    "Run",
    "RunPage",
    "RunStatus",
    "Sample",
    "Schedule",
    "Schedules",
    "ServiceStatus",
    "Severity",
    "Source",
    "Statuses",
    "Text",
    "TextEdit",
    "Trigger",
    "Triggers",
    "Trouble",
    "Usage",
    "Validation",
    "Versions",
    "Workflow",
    "WorkflowPage",
]

_DEEPEST = 100
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]")
_YEARS = range(1970, 9999)


def _encodable(text: str) -> str:
    # JSON can name one half of a surrogate pair, which is no character and has no place in UTF-8.
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ValueError("holds half a surrogate pair, which is no character") from exc
    return text


def _storable(value: JsonValue) -> JsonValue:
    level: list[JsonValue] = [value]
    for _ in range(_DEEPEST):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return value
    raise ValueError(f"nested more than {_DEEPEST} deep")


def _parts(value: JsonValue) -> list[JsonValue]:
    match value:
        case dict():
            return [*value.keys(), *value.values()]
        case list():
            return value
        case str():
            _encodable(value)
    return []


def _storable_object(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _storable(value)
    return value


def _written_out(value: object) -> object:
    # A number would be taken for seconds since 1970, which OpenAPI says nothing of.
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("must be a date and a time with its zone, such as 2026-01-31T12:00:00Z")


def _in_our_age(moment: datetime) -> datetime:
    # The ends of the calendar overflow when a time zone is taken off them.
    if moment.year not in _YEARS:
        raise PydanticCustomError("time_out_of_range", "the year must be between 1970 and 9998")
    return moment


Text = Annotated[str, AfterValidator(_encodable)]
"""Any text that a caller gives."""
Document = Annotated[JsonValue, AfterValidator(_storable)]
"""Any JSON value that a caller gives, nested at most 100 deep."""
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_storable_object)]
"""A JSON object that a caller gives, nested at most 100 deep."""
Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), AfterValidator(_in_our_age)]
"""A time that a caller gives, as RFC 3339 writes it."""
_Name = Annotated[Text, StringConstraints(min_length=1, max_length=100)]
Notify = Annotated[
    Text,
    Field(
        pattern=r"^https?://[^\s]+$",
        max_length=2000,
        description="An address that is told when it has ended, signed by Standard Webhooks with the secret in "
        "CADRE_HOME/notify-secret, until it takes it.",
    ),
]
_Segment = Annotated[Text, StringConstraints(min_length=1, max_length=128)]
Tags = Annotated[list[_Segment], Field(max_length=64, description="Tags, each once.")]
Namespace = Annotated[
    list[_Segment],
    Field(
        min_length=1, max_length=16, description="Segments, such as `workflow` and then `triage`."
    ),
]


class Asked(BaseModel):
    """What a caller sends. Unknown fields are refused, so that a misspelt one is not passed over."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What the gateway answers. Every field is always there, so that OpenAPI calls them all required."""

    model_config = ConfigDict(
        frozen=True, json_schema_serialization_defaults_required=True, populate_by_name=True
    )


# What several of them hold


class Severity(StrEnum):
    """How bad a problem is: an error refuses the workflow, a note does not."""

    ERROR = "error"
    NOTE = "note"


class TextEdit(Answer):
    """A part of a file, and what to put in its place. Lines and columns count from 1, columns in code points."""

    line: int = Field(description="The line in which the part begins.")
    column: int = Field(description="The column at which it begins.")
    end_line: int = Field(description="The line in which it ends.")
    end_column: int = Field(description="The column after its last character.")
    text: str = Field(description="What stands there instead; empty removes the part.")


class Problem(Answer):
    """Something wrong, or worth knowing, in a workflow file or a request. Lines and columns count from 1."""

    code: str = Field(description="Which rule, in UPPER_SNAKE; stable across versions.")
    message: str = Field(description="What is wrong, in one sentence.")
    path: str = Field("", description="Where, such as nodes[2].outputs[0]; empty for the whole.")
    line: int = Field(0, description="Line in the file; 0 when unknown.")
    column: int = Field(0, description="Column in the line; 0 when unknown.")
    resolution: str = Field("", description="What to do about it.")
    severity: Severity = Severity.ERROR
    fix: TextEdit | None = Field(
        None, description="A change that mends it, where a program can be sure of that."
    )


class ProblemDetails(Answer):
    """Every refusal and failure (RFC 9457)."""

    type: str = Field(description="A URI that names the code.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="Which fact, in UPPER_SNAKE; stable across versions.")
    detail: str = Field(description="What happened, with the values it is about.")
    resolution: str = Field(description="What to do about it; may be empty.")
    request_id: str = Field(
        description="Finds the request in the logs; also in the header X-Request-Id."
    )
    problems: list[Problem] | None = Field(
        None, description="All that is wrong with the file or the request, if that is why."
    )


class Usage(Answer):
    """What model calls used."""

    input_tokens: int = Field(description="Tokens sent to models, cached ones included.")
    output_tokens: int = Field(description="Tokens that models wrote.")
    cost_usd: str | None = Field(
        description="US dollars as an exact decimal; null when the price of any call is unknown."
    )
    calls: int = Field(description="How many calls were made.")
    unpriced_calls: int = Field(description="How many of them have no known price.")


class Failure(Answer):
    """Why a run or a node failed."""

    code: str = Field(description="Which fact, in UPPER_SNAKE.")
    message: str = Field(description="What happened.")
    resolution: str = Field(description="What to do about it.")
    node: str = Field(description="The node that failed; empty when the run as a whole did.")


# Workflows


class Source(Asked):
    """A workflow file."""

    source: Text = Field(description="The YAML text, at most 1 MiB.")


class Input(Answer):
    """One value that a run starts with."""

    name: str
    type: str = Field(description="As the language writes it, such as str or list[str].")
    required: bool
    default: JsonValue = Field(description="Taken when it is not given; null when there is none.")
    description: str
    enum: list[JsonValue] | None = Field(description="The only values allowed, if they are named.")


class Node(Answer):
    """One step of a workflow."""

    id: str
    kind: str = Field(description="llm, code, memory, ...")
    label: str
    outputs: list[str] = Field(description="The state fields that it writes.")
    structured: bool = Field(
        description="Whether its result is a document of a schema, and not a text."
    )


class Edge(Answer):
    """One way from a step to another."""

    source: str = Field(alias="from", description="The step it leaves, or START.")
    target: str = Field(alias="to", description="The step it reaches, or END.")
    condition: str = Field(description='Empty when always taken, "default" for the rest.')
    loop: bool = Field(description="Whether it closes a loop.")


class Graph(Answer):
    """The shape of a workflow."""

    nodes: list[Node]
    edges: list[Edge]


class Workflow(Answer):
    """A stored version of a workflow. Lists leave out source, inputs and graph."""

    name: str
    version: int
    description: str
    source: str
    applied_time: datetime | None
    tags: list[str]
    inputs: list[Input]
    graph: Graph | None


class Validation(Answer):
    """What is wrong with a file."""

    valid: bool
    problems: list[Problem]
    workflow: Workflow | None = Field(description="As it would be stored; null when not valid.")


class Applied(Answer):
    """What was stored."""

    workflow: Workflow
    created: bool = Field(description="False when the file equals the version before.")
    notes: list[Problem] = Field(description="On parts of the file that have no effect here.")


class WorkflowPage(Answer):
    """Workflows by name, each at its newest version."""

    workflows: list[Workflow]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")


class Versions(Answer):
    """All versions of a workflow, newest first."""

    versions: list[Workflow]


# Runs


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
    """What happened in a run. run_succeeded, run_failed and run_cancelled are last, unless the run is resumed."""

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
        """Whether no event follows it."""
        return self in (EventType.RUN_SUCCEEDED, EventType.RUN_FAILED, EventType.RUN_CANCELLED)


class NewRun(Asked):
    """What to run: an applied workflow by its name, or a file's source."""

    workflow: Text | None = Field(None, description="An applied workflow's name.")
    version: StrictInt = Field(
        0, ge=0, le=2**31 - 1, description="Of that workflow; 0 is the newest."
    )
    source: Text | None = Field(
        None, description="A workflow file's YAML text, run without being applied; at most 1 MiB."
    )
    inputs: JsonObject = Field(default_factory=dict, description="Values for state fields.")
    notify: Notify | None = None
    schedule: Text = Field(
        "", max_length=100, description="The schedule that starts it, if one does."
    )


class Question(Answer):
    """What a node of a run asks a person."""

    run_id: str = Field(description="The run that asks: this one, or one that is a step below it.")
    node: str = Field(
        description="In a run below this one, after the steps that lead there: review/ask, review.3/ask of an item."
    )
    iteration: int = Field(description="Which visit of the node, from 1.")
    message: str
    choices: list[str] = Field(description="Empty when the answer is in the person's own words.")
    deadline: datetime | None = Field(description="When it gives up; null when it never does.")


class NewBudget(Asked):
    """What a run may spend in all from now on, in place of what its file says."""

    usd: str = Field(
        "", max_length=50, pattern=r"^(\d+(\.\d+)?)?$", description="US dollars, such as 2.00."
    )
    tokens: StrictInt = Field(0, ge=0, le=2**53, description="Tokens; 0 leaves them.")


class NewAnswer(Asked):
    """What a person answers to a run that waits."""

    choice: Text = Field(
        max_length=10_000,
        description="One of the question's choices; where it has none, the answer in words.",
    )
    node: Text = Field(
        "", description="The node that asks, as the question says it; needed when several do."
    )
    iteration: StrictInt = Field(
        0,
        ge=0,
        le=2**31 - 1,
        description="Which visit asks; 0 is the one that waits. Tells a repeated answer from one to the next question.",
    )
    comment: Text = Field("", max_length=10_000, description="What the person adds.")
    answered_by: Text = Field("", max_length=100, description="Who answers.")


class NewFork(Asked):
    """From where a new run starts."""

    checkpoint_id: Text = Field(
        "", max_length=100, description="One of the run's checkpoints; empty means the last."
    )
    state: JsonObject = Field(
        default_factory=dict, description="State fields to change; checked as inputs are."
    )
    notify: Notify | None = None


class Checkpoint(Answer):
    """Where a run stood after a step."""

    id: str
    step: int = Field(description="How many steps were taken, from 1.")
    time: datetime | None
    nodes: list[str] = Field(description="The nodes that ran since the checkpoint before.")
    next_nodes: list[str] = Field(description="The nodes that were reached and had not run.")
    state: dict[str, JsonValue] | None


class Checkpoints(Answer):
    """The checkpoints of a run that are kept, oldest first."""

    checkpoints: list[Checkpoint]


class Run(Answer):
    """One execution of a workflow. Lists leave out inputs, outputs and source."""

    id: str
    workflow: str
    version: int = Field(description="0 for a file that was run without being applied.")
    status: RunStatus
    inputs: dict[str, JsonValue] | None
    outputs: dict[str, JsonValue] | None = Field(description="Null before the end.")
    usage: Usage
    error: Failure | None
    created_time: datetime | None
    started_time: datetime | None
    ended_time: datetime | None
    trigger: str = Field(description="What started it: api, webhook, schedule, ...")
    trace_id: str = Field(description="The trace that shows it; empty when tracing is off.")
    source: str = Field(description="The workflow file that it runs.")
    parent_run_id: str = Field(description="The run that it is a step of; empty when it is none.")
    forked_from_run_id: str = Field(description="The run that it was forked from, if it was.")
    schedule: str = Field(
        description="The schedule that started it, or the run at the top; empty when none did."
    )
    api_key: str = Field(
        description="The name of the API key that started it, or the run at the top; empty when none did."
    )
    batch_id: str = Field(
        description="The batch that it belongs to; empty when it belongs to none."
    )
    batch_row: int = Field(description="Which row of the batch it is for, from 1; 0 for none.")
    last_sequence: int = Field(
        description="The sequence of its last event: who wants the events so far stops there."
    )
    runs_before: int = Field(
        description="How many runs that wait for the same place come before it, while it is queued. 0 in lists."
    )
    questions: list[Question] = Field(
        description="What it and the runs below it asked and nobody has answered. Empty in lists."
    )


class RunPage(Answer):
    """Runs, newest first."""

    runs: list[Run]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")


class Event(Answer):
    """One thing that happened in a run."""

    sequence: int = Field(description="Its place in the run, from 1, without gaps.")
    time: datetime | None
    type: EventType
    node: str = Field(description="Empty for the run as a whole.")
    iteration: int = Field(description="Which visit of the node, from 1.")
    attempt: int = Field(description="Which try within the visit, from 1.")
    item: int = Field(
        description="Which item of the node's for_each, from 1; 0 for the node as a whole."
    )
    data: dict[str, JsonValue] | None
    usage: Usage | None
    error: Failure | None
    duration_ms: int


class Delivered(Answer):
    """What a webhook's delivery was accepted as; the same for each repetition of the delivery."""

    delivery_id: str = Field(description="Finds the delivery under /api/v1/deliveries.")
    run_id: str = Field(description="The run that it starts.")
    run_url: str = Field(description="Path of the run in this API.")


class DeliveredAndEnded(Delivered):
    """How the run of a delivery ended, for a sender who waited for it."""

    status: RunStatus
    outputs: dict[str, JsonValue] | None
    error: Failure | None


# Triggers


class DeliveryStatus(StrEnum):
    """Where a delivery stands: its run is not started yet (received), is started, has ended; or it failed and waits for
    a person (parked), or was given up (discarded)."""

    RECEIVED = "received"
    STARTED = "started"
    ENDED = "ended"
    PARKED = "parked"
    DISCARDED = "discarded"


class Trouble(Answer):
    """Why a delivery, or a reply to one, did not go on."""

    code: str = Field(description="Which fact, in UPPER_SNAKE.")
    message: str = Field(description="What happened.")
    resolution: str = Field(description="What to do about it; may be empty.")


class Reply(Answer):
    """Something that is sent for a delivery."""

    id: str
    status: str = Field(description="pending, sent, parked or discarded.")
    tries: int = Field(description="How often it was sent.")
    next_time: datetime | None = Field(description="When it is sent next.")
    sent_time: datetime | None = Field(description="When it arrived.")
    error: Trouble | None = Field(description="Why the last try failed.")
    receipt: str = Field(
        description="What the provider said of it since: delivered, read, ...; may be empty."
    )


class Delivery(Answer):
    """What came from outside, and what became of it."""

    id: str
    source: str = Field(description="Where it came to: webhook/<workflow>, telegram/<bot>, ...")
    key: str = Field(description="The sender's id of it.")
    workflow: str
    version: int = Field(description="Of the workflow; 0 stands for the newest.")
    run_id: str = Field(
        description="The run that it starts; there is none while it is received. Empty for what asks for none."
    )
    batch_id: str = Field(description="The batch whose end is told; empty for all else.")
    status: DeliveryStatus
    tries: int = Field(description="How often it was begun without coming to an end.")
    received_time: datetime
    updated_time: datetime | None
    next_time: datetime | None = Field(description="When it is looked at next; null when done.")
    error: Trouble | None = Field(description="Why it did not go on.")
    content: dict[str, JsonValue] | None = Field(description="What came; null in lists.")
    replies: list[Reply] = Field(description="What is sent for it; empty in lists.")


class DeliveryPage(Answer):
    """Deliveries, newest first."""

    deliveries: list[Delivery]
    next_page_token: str = Field(description="Empty on the last page.")


class Trigger(Answer):
    """Something outside that starts runs of a workflow."""

    kind: str
    address: str = Field(description="The path that its provider sends to.")
    workflow: str
    version: int
    command: str = Field(description="The only command that starts it; empty for all messages.")
    reply: str = Field(description="The state field that is sent back; empty for none.")
    enabled: bool


class Triggers(Answer):
    """What starts runs from outside, by address."""

    triggers: list[Trigger]


class NewTelegramConnection(Asked):
    """Where Telegram finds the gateway."""

    url: Text = Field(
        max_length=1000,
        pattern=r"^https://[^\s/]+(/[^\s]*)?$",
        description="The gateway's address for the world outside, https only.",
    )


class TelegramConnection(Answer):
    """Where Telegram sends a bot's messages."""

    username: str = Field(description="How the bot is called, without @.")
    address: str = Field(description="Empty when it sends them nowhere.")
    pending: int = Field(description="How many wait to be sent, or to be asked for.")
    last_error: str = Field(description="Why Telegram could not send one last; may be empty.")


class NewSample(Asked):
    """What a sample of a delivery shall say."""

    text: Text = Field(max_length=100_000, description="The message, or a webhook's JSON body.")


class Sample(Answer):
    """A signed request, as the provider would send it to this gateway."""

    source: str
    key: str = Field(description="The provider's id of it, by which the delivery is found.")
    path: str
    headers: dict[str, str]
    body: str


# Models


Ability = Literal["tools", "json_schema", "images", "reasoning", "embeddings"]


class Model(Answer):
    """A model that can be named."""

    provider: str
    name: str
    available: bool
    unavailable_reason: str = Field(description="Why not, and what to do; empty when available.")
    default: bool
    context_tokens: int = Field(description="0 when unknown.")
    input_usd_per_million: str | None = Field(description="Null when unknown.")
    output_usd_per_million: str | None = Field(description="Null when unknown.")
    abilities: list[Ability] = Field(
        description="What it does by itself; one with embeddings does nothing else."
    )


class ModelDeployment(Answer):
    """A model of a group at one address, and how it is now."""

    provider: str
    model: str
    host: str = Field(description="Host and port, if the group names an address; else empty.")
    weight: float = Field(description="It is asked first as often as its share of all weights.")
    concurrent: int | None = Field(description="Calls at once; null means any number.")
    requests_per_minute: int | None = Field(description="Null means any number.")
    tokens_per_minute: int | None = Field(description="Null means any number.")
    cooling_seconds: float = Field(
        description="For how much longer it is asked after all others, because it failed; 0 when it is not."
    )
    waiting: int = Field(description="Calls that wait for it, because of its limits.")
    unavailable_reason: str = Field(description="Why it is passed over; empty when it is not.")


class ModelGroup(Answer):
    """Models under one name, which is used in place of a model's."""

    name: str
    deployments: list[ModelDeployment] = Field(
        description="Asked in an order drawn by weight, those that failed of late last."
    )
    fallbacks: list[str] = Field(description="Groups, or PROVIDER/MODEL, asked after these.")


class Models(Answer):
    """All models, by provider and name, and the operator's groups of them."""

    models: list[Model]
    groups: list[ModelGroup]


# Schedules


CatchUp = Literal["skip", "latest", "all"]


class NewSchedule(Asked):
    """When to start an applied workflow by itself."""

    workflow: _Name
    cron: Text = Field("", max_length=200, description="Five-field cron expression.")
    interval_seconds: StrictFloat = Field(0, ge=0, description="Seconds from one run to the next.")
    rrule: Text = Field("", max_length=1000, description="Recurrence rule of RFC 5545.")
    name: Text = Field("", max_length=100, description="Empty means the workflow's name.")
    timezone: Text = Field("", max_length=100, description="IANA time zone; empty means UTC.")
    inputs: JsonObject = Field(default_factory=dict, description="Values for state fields.")
    max_concurrent: StrictInt = Field(
        0,
        ge=0,
        le=1000,
        description="At most this many of its runs go on at once; 0 means any number.",
    )
    catch_up: CatchUp = Field(
        "skip", description="What becomes of times that passed while nothing could start a run."
    )
    notify: Notify | None = None


class Schedule(Answer):
    """When an applied workflow is started by itself. One of `cron`, `interval_seconds` and `rrule` is set."""

    name: str
    workflow: str
    cron: str | None
    interval_seconds: float | None
    rrule: str | None
    timezone: str
    inputs: dict[str, JsonValue] | None
    max_concurrent: int | None = Field(description="Null means any number.")
    catch_up: CatchUp
    notify: str | None = Field(description="Who is told how each of its runs ends; null: nobody.")
    paused: bool
    next_time: datetime | None = Field(
        description="Null while paused, and when it is never due again."
    )


class Schedules(Answer):
    """All schedules, by name."""

    schedules: list[Schedule]


# Remote agents


class AgentHealth(StrEnum):
    """How an agent was when last heard of."""

    HEALTHY = "healthy"
    UNREACHABLE = "unreachable"
    EXPIRED = "expired"


class NewAgent(Asked):
    """A remote agent to register, by the address of its card, or by the card."""

    name: Text = Field(
        "", max_length=100, description="What workflows will call it; empty: what it calls itself."
    )
    url: Text = Field(
        "",
        max_length=2000,
        description="Where its card is, or the address below which /.well-known/agent-card.json is.",
    )
    card: JsonObject | None = Field(
        None, description="Its agent card (A2A 1.0) in place of an address; needs ttl_seconds."
    )
    ttl_seconds: StrictFloat = Field(
        0,
        ge=0,
        le=86_400,
        description="How long it stays without a sign of life, 5 or more; 0: until it is removed.",
    )
    secret: Text = Field(
        "",
        max_length=100,
        description="The executor's environment variable with its token or key, such as AGENT_TRANSLATOR_TOKEN.",
    )


class AgentSkill(Answer):
    """One thing that an agent can do."""

    id: str
    name: str
    description: str
    tags: list[str]
    examples: list[str]


class Agent(Answer):
    """A remote agent (A2A 1.0) that `agent` nodes hand work to."""

    name: str
    title: str = Field(description="What it calls itself.")
    description: str
    version: str = Field(description="Its own.")
    card_url: str = Field(description="Empty when it registered with the card itself.")
    url: str = Field(description="Where it takes messages.")
    protocol_binding: str = Field(description="JSONRPC or HTTP+JSON.")
    skills: list[AgentSkill]
    health: AgentHealth
    health_detail: str = Field(description="Why it is not healthy.")
    secret: str = Field(description="The variable with its token or key; empty when it needs none.")
    ttl_seconds: float = Field(description="0: it stays until it is removed.")
    registered_time: datetime | None
    last_seen_time: datetime | None
    expires_time: datetime | None


class Agents(Answer):
    """All agents, by name."""

    agents: list[Agent]


# The platform


class ServiceStatus(Answer):
    """How one service is."""

    name: str
    address: str
    status: str = Field(description="ready, starting or unreachable.")
    version: str | None = Field(description="Null where the service does not say.")
    detail: str | None = Field(description="Why it is not ready.")


class Statuses(Answer):
    """How every service is."""

    services: list[ServiceStatus]


class Ready(Answer):
    """That it is well."""

    status: str
