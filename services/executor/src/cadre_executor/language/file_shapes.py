"""The shape of a whole file: the ways between its nodes, what holds for all, what starts it and what tests it."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Discriminator, Field, Tag

from cadre_executor.language.node_shapes import (
    LlmDefaultsShape,
    LlmOptionsShape,
    MemoryScope,
    NodeShape,
)
from cadre_executor.language.shapes import (
    LONG,
    SHORT,
    FlowShape,
    OneOrMore,
    Shape,
    StateShape,
    form_of,
    list_form_of,
)

MAX_NODES = 500
MAX_EDGES = 2000
MAX_CASES = 500
MAX_TRIGGERS = 50


class LogicShape(Shape):
    """A condition, in the first generation's form."""

    logic: str | bool = Field(description="A condition, or default.")


ConditionForm = Annotated[
    Annotated[str | bool, Tag(SHORT)] | Annotated[LogicShape, Tag(LONG)], Discriminator(form_of)
]


class RouteShape(Shape):
    """One way of several."""

    condition: ConditionForm = Field(
        description="An expression over the state, or default.",
        examples=["state.score >= 7", "default"],
    )
    to: OneOrMore = Field(description="Where it leads: a node, END, or several at once.")


class LoopShape(Shape):
    """Goes back until a condition holds."""

    to: str | None = Field(None, description="The node it goes back to. Default the edge's own.")
    max_iterations: int | None = Field(
        None, ge=1, le=1000, description="It goes back at most so often. Default 10."
    )
    until: str | bool | None = Field(None, description="A condition that ends it.")
    condition_field: str | None = Field(
        None, description="A bool field that ends it, in place of until."
    )
    exit_to: OneOrMore | None = Field(
        None, description="Where it goes on. Default the node's other edges, else END."
    )


class ParallelShape(Shape):
    """(1.0) Runs a node once for each item of a list; the same as for_each on that node."""

    items_field: str = Field(min_length=1, description="The state field that holds the list.")
    target_node: str = Field(description="The node that is run for each item.")
    collect_field: str | None = Field(
        None, description="The state field that takes the list of results, in the items' order."
    )


class EdgeShape(Shape):
    """A way from a node: `to`, `routes`, `loop` or `parallel`."""

    from_: OneOrMore = Field(alias="from", description="A node, START, or several nodes.")
    to: OneOrMore | None = Field(None, description="A node, END, or several, all at once.")
    condition: ConditionForm | None = Field(
        None,
        description="Taken when it holds; the node's edges are asked in order.",
    )
    routes: list[RouteShape] | None = Field(
        None, min_length=1, max_length=200, description="The first whose condition holds is taken."
    )
    loop: LoopShape | None = Field(
        None, description="Goes back to a node, a bounded number of times."
    )
    parallel: ParallelShape | None = Field(
        None, description="Runs a node once for each item of a list; for_each says the same."
    )


class ExecutionShape(Shape):
    """Bounds of a run."""

    timeout: float | None = Field(
        None,
        gt=0,
        le=7 * 86_400,
        validation_alias=AliasChoices("timeout", "timeout_seconds"),
        description="Seconds for the whole run. Default 3600.",
    )
    max_retries: int | None = Field(
        None, ge=0, le=19, description="Further tries of a node that names no retry. Default 0."
    )
    max_concurrency: int | None = Field(
        None, ge=1, le=1000, description="Nodes that run at once. Default 16."
    )
    max_steps: int | None = Field(
        None, ge=1, le=100_000, description="Nodes that a run visits at most. Default 1000."
    )
    max_concurrent_runs: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Runs of this workflow that go on at once; further ones wait their turn. Default: no bound.",
    )


class MemoryDefaultsShape(Shape):
    """What all memory nodes share."""

    scope: MemoryScope | None = Field(None, description="The scope of nodes that name none.")
    namespace: OneOrMore | None = Field(None, description="The namespace of nodes that name none.")
    learn: bool | None = Field(
        None,
        description="A model learns facts from what the workflow's conversations say, in the background; if no node"
        " has one, from what its llm nodes ask and are answered, which is kept in `scope` and `namespace`.",
    )
    summary_tokens: int | None = Field(
        None,
        ge=100,
        le=1_000_000,
        description="Above so many tokens a model summarizes the older part of a conversation, in the background.",
    )
    llm: LlmOptionsShape | None = Field(
        None, description="Which model learns and summarizes. Default: config.llm's."
    )
    ttl_seconds: float | None = Field(
        None,
        gt=0,
        validation_alias=AliasChoices("ttl_seconds", "default_ttl"),
        description="Saved values are forgotten after so many seconds. Default never.",
    )


class BudgetShape(Shape):
    """What a run, with the workflows that it runs, may spend on models."""

    usd: Decimal | None = Field(None, gt=0, le=1_000_000, description="US dollars.")
    tokens: int | None = Field(None, ge=1, description="Tokens, sent and written.")
    on_exceed: Literal["fail", "pause"] | None = Field(
        None, description="fail (default) ends the run; pause lets it wait for a person."
    )


class McpServerShape(Shape):
    """An MCP server. Without `url` it is the one that the operator configured under its name."""

    url: str | None = Field(
        None, pattern=r"^https?://[^\s]+$", description="Where it speaks streamable HTTP."
    )
    headers_env: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] | None = (
        Field(
            None,
            max_length=20,
            description="Headers, each with the environment variable that holds its value.",
            examples=[{"Authorization": "DOCS_TOKEN"}],
        )
    )
    tools: list[str] | None = Field(
        None, max_length=200, description="The only tools of it that may be used. Default all."
    )


class ConfigShape(Shape):
    """What holds for the whole workflow."""

    llm: LlmDefaultsShape | None = Field(None, description="Which model nodes use that name none.")
    execution: ExecutionShape | None = Field(None, description="Bounds of a run.")
    memory: MemoryDefaultsShape | None = Field(None, description="What memory nodes share.")
    budget: BudgetShape | None = Field(None, description="What a run may spend on models.")
    mcp_servers: dict[str, McpServerShape] | None = Field(
        None,
        max_length=20,
        description="MCP servers by name; their tools are mcp:<server>/<tool>.",
        examples=[{"docs": {"url": "https://docs.example.com/mcp"}}],
    )
    secrets: list[str] | None = Field(
        None,
        max_length=100,
        description="Environment variables that its tools may see.",
        examples=[["WEATHER_TOKEN"]],
    )


InputForm = Annotated[
    Annotated[str, Tag(SHORT)] | Annotated[dict[str, Any], Tag(LONG)], Discriminator(form_of)
]
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_Variable = Annotated[str, Field(pattern=_VARIABLE)]
SecretForm = Annotated[
    Annotated[_Variable, Tag(SHORT)]
    | Annotated[Annotated[list[_Variable], Field(min_length=1, max_length=5)], Tag(LONG)],
    Discriminator(list_form_of),
]


class WebhookShape(Shape):
    """Starts a run when a request comes to /hooks/<workflow>."""

    secret: SecretForm | None = Field(
        None,
        description="The environment variable of the gateway that holds the secret by which requests are signed; a "
        "list while it is changed, the newest first. Default the gateway's own secret.",
    )
    input: InputForm | None = Field(
        None,
        description="The state field that takes the whole body, or templates by state field. Default: fields by name.",
        examples=[{"subject": "{body.issue.title}", "kind": "{event}"}],
    )
    enabled: bool | None = Field(None, description="Whether it is on. Default true.")
    allowed_methods: list[str] | None = Field(
        None, max_length=10, description="(1.0) Kinds of requests; kept, without effect."
    )
    default_inputs: dict[str, Any] | None = Field(
        None, max_length=100, description="Values of state fields that the body does not give."
    )
    notify: str | None = Field(
        None,
        pattern=r"^https?://[^\s]+$",
        max_length=2000,
        description="An address that is told when a run that it started has ended, signed with the same secret, "
        "if it has one.",
        examples=["https://example.com/cadre"],
    )


_CONNECTION = r"^[A-Za-z0-9_-]{1,60}$"


class MessageShape(Shape):
    """What every trigger by messages has."""

    input: InputForm | None = Field(
        None,
        description="The state field that takes the message, or templates by state field. Default message, if it is "
        "declared.",
        examples=[{"question": "{text}", "who": "{sender}"}],
    )
    reply: str | None = Field(None, description="The state field that is sent back.")


class SlackShape(MessageShape):
    """Starts a run when a Slack app is mentioned, written to, or sent a slash command."""

    app: str = Field(pattern=_CONNECTION, description="The app's name in the gateway.")
    command: str | None = Field(
        None,
        pattern=r"^/[^\s]{1,40}$",
        description="Only this slash command. Default: mentions, direct messages, and commands that no other takes.",
        examples=["/ask"],
    )


class TelegramShape(MessageShape):
    """Starts a run when a message comes to a Telegram bot."""

    bot: str = Field(pattern=_CONNECTION, description="The bot's name in the gateway.")


class WhatsAppShape(MessageShape):
    """Starts a run when a message comes to a WhatsApp number."""

    number: str = Field(pattern=_CONNECTION, description="The number's name in the gateway.")


class EmailShape(MessageShape):
    """Starts a run when a message comes to a mailbox."""

    mailbox: str = Field(pattern=_CONNECTION, description="The mailbox's name in the gateway.")


class TriggerShape(Shape):
    """What starts a run by itself: one of cron, webhook, slack, telegram, whatsapp and email."""

    cron: str | None = Field(None, description="When: minute hour day month weekday.")
    timezone: str | None = Field(
        None, description="The IANA time zone of cron. Default UTC.", examples=["Europe/Berlin"]
    )
    inputs: dict[str, Any] | None = Field(
        None, max_length=100, description="Values of state fields for the runs that cron starts."
    )
    webhook: WebhookShape | None = Field(None, description="A request from outside.")
    slack: SlackShape | None = Field(None, description="A message to a Slack app.")
    telegram: TelegramShape | None = Field(None, description="A message to a Telegram bot.")
    whatsapp: WhatsAppShape | None = Field(None, description="A message to a WhatsApp number.")
    email: EmailShape | None = Field(None, description="A message to a mailbox.")


class CaseShape(Shape):
    """A run whose models' replies are written down, and what must hold at its end."""

    name: str = Field(min_length=1, max_length=200, description="What it shows.")
    inputs: dict[str, Any] | None = Field(
        None, max_length=500, description="The run's inputs, by state field."
    )
    replies: dict[str, Any] | None = Field(
        None,
        max_length=MAX_NODES,
        description="By node what its model, tool, person or workflow answers; a list has one reply a call,"
        " of a for_each one an item.",
        examples=[{"classify": {"mood": "angry"}, "apologize": "We are sorry."}],
    )
    expect: OneOrMore | None = Field(
        None,
        description="Conditions over the state at the run's end; all must hold.",
        examples=[["state.mood == 'angry'"]],
    )
    fails: str | None = Field(
        None,
        pattern=r"^[A-Z][A-Z0-9_]{0,62}$",
        description="The code that the run must fail with. Default: it must succeed.",
        examples=["LOOP_LIMIT_REACHED"],
    )


class FileShape(Shape):
    """A workflow that Cadre runs."""

    schema_version: Literal["1.0"] | None = Field(None, description="The language's version.")
    flow: FlowShape = Field(description="What the workflow is.")
    state: StateShape = Field(
        default_factory=StateShape, description="What its nodes read and write."
    )
    nodes: list[NodeShape] = Field(
        min_length=1, max_length=MAX_NODES, description="The steps.", examples=[]
    )
    edges: list[EdgeShape] | None = Field(
        None,
        max_length=MAX_EDGES,
        description="The ways between them. Left out: the nodes run in the file's order.",
    )
    config: ConfigShape | None = Field(None, description="What holds for the whole workflow.")
    triggers: list[TriggerShape] | None = Field(
        None, max_length=MAX_TRIGGERS, description="What starts runs by itself."
    )
    webhook: WebhookShape | None = Field(
        None, description="(1.0) The same as a webhook among the triggers."
    )
    tests: list[CaseShape] | None = Field(
        None, max_length=MAX_CASES, description="Runs with written replies, and what must hold."
    )
