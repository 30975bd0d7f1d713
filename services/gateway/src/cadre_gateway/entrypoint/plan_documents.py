"""Tests and plans of workflow files, as OpenAPI shows them."""

from enum import StrEnum

from pydantic import Field, JsonValue

from cadre_gateway.entrypoint.documents import Answer, Asked, JsonObject, Text, Workflow

__all__ = [
    "CostRange",
    "DurationRange",
    "Need",
    "NeedKind",
    "Plan",
    "PlannedNode",
    "PlannedSource",
    "RangeBasis",
    "RecordedTest",
    "Recording",
    "TestFailure",
    "TestReport",
    "TestResult",
    "TestedSource",
]


class TestedSource(Asked):
    """Whose tests to run."""

    source: Text = Field(description="The YAML text, at most 1 MiB.")
    name_contains: Text = Field(
        "", max_length=200, description="Only tests whose name contains this; empty means all."
    )


class TestFailure(Answer):
    """Why a test did not pass, and where that stands in the file."""

    code: str = Field(description="EXPECTATION_FAILED, REPLY_MISSING, or why the run failed.")
    message: str
    resolution: str
    node: str = Field(description="Empty when it went wrong at none.")
    path: str = Field(description="Such as tests[0].expect[1].")
    line: int
    column: int


class TestResult(Answer):
    """How a test ended."""

    name: str
    passed: bool
    duration_ms: int
    failures: list[TestFailure]
    outputs: JsonObject | None = Field(
        description="The state at the end; null when the run did not begin."
    )


class TestReport(Answer):
    """How all tests that were asked for ended."""

    passed: bool = Field(description="Whether all passed.")
    tests: list[TestResult] = Field(description="In the file's order.")


class Recording(Asked):
    """How to write a run down."""

    name: Text = Field(
        "", max_length=200, description="The test's name; empty: run and the run's id."
    )
    source: Text = Field(
        "", description="The text of the file that the test goes into; empty: the run's own."
    )


class RecordedTest(Answer):
    """A run as a test of its file."""

    test: dict[str, JsonValue] = Field(
        description="An entry of `tests`: name, inputs, replies and expect, or fails."
    )
    source: str = Field(description="The file with the test in it, and else as it was.")


class PlannedSource(Asked):
    """What to plan."""

    source: Text = Field(description="The YAML text, at most 1 MiB.")
    inputs: JsonObject = Field(
        default_factory=dict, description="What is known of the run's inputs."
    )


class PlannedNode(Answer):
    """What one node would do."""

    id: str
    kind: str
    min_visits: int = Field(description="0 when a way around it exists.")
    max_visits: int = Field(description="With every loop at its bound.")
    models: list[str] = Field(description="As PROVIDER/MODEL, the first choice first.")
    max_calls: int = Field(description="Of models: all visits, items, tries, steps and repairs.")
    min_usd: str | None = Field(description="An exact decimal; null when unknown.")
    max_usd: str | None = Field(description="An exact decimal; null when unknown.")


class NeedKind(StrEnum):
    """What kind of thing a run needs."""

    MODEL = "model"
    TOOL = "tool"
    HOST = "host"
    SECRET = "secret"
    WORKFLOW = "workflow"
    SERVICE = "service"
    PERSON = "person"
    AGENT = "agent"


class Need(Answer):
    """One thing that a run needs."""

    kind: NeedKind
    name: str
    nodes: list[str] = Field(description="Empty when the workflow as a whole needs it.")
    missing: bool
    reason: str = Field(description="Why it is missing and what to do; else empty.")


class RangeBasis(StrEnum):
    """Where a range comes from: runs of this very file, counted tokens, prices and speeds, or the file's limits."""

    HISTORY = "history"
    ESTIMATE = "estimate"
    LIMIT = "limit"


class CostRange(Answer):
    """What a run would cost, in US dollars as exact decimals."""

    basis: RangeBasis
    min_usd: str | None = Field(description="Null when unknown.")
    max_usd: str | None = Field(description="Null when unknown.")
    runs: int = Field(description="How many runs it comes from; 0 without history.")
    worst_usd: str | None = Field(
        description="The most that a run can cost at all; null when unknown."
    )
    unknown_reason: str = Field(description="Why max_usd is unknown; else empty.")


class DurationRange(Answer):
    """How long a run would take, waiting for people left out."""

    basis: RangeBasis
    min_ms: int
    max_ms: int
    runs: int = Field(description="How many runs it comes from; 0 without history.")


class Plan(Answer):
    """What a run of a file would do, need, cost and take."""

    workflow: Workflow = Field(description="As it would be stored, with its inputs and graph.")
    nodes: list[PlannedNode] = Field(description="In the file's order.")
    needs: list[Need]
    cost: CostRange
    duration: DurationRange
