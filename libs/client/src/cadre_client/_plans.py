"""Tests and plans of workflow files, as the gateway answers them."""

from typing import Literal

from cadre_client._models import Answer, JsonObject, Usd, Workflow

__all__ = [
    "CostRange",
    "DurationRange",
    "Need",
    "Plan",
    "PlannedNode",
    "RecordedTest",
    "TestFailure",
    "TestReport",
    "TestResult",
]

Basis = Literal["history", "estimate", "limit"]


class TestFailure(Answer):
    """Why a test did not pass, and where that stands in the file."""

    code: str
    message: str
    resolution: str = ""
    node: str = ""
    path: str = ""
    line: int = 0
    column: int = 0


class TestResult(Answer):
    """How a test ended. `outputs` is the state at the end of its run; None when that did not begin."""

    name: str
    passed: bool
    duration_ms: int
    failures: list[TestFailure]
    outputs: JsonObject | None = None


class TestReport(Answer):
    """How the tests of a file ended, in its order; `passed` when all did."""

    passed: bool
    tests: list[TestResult]


class RecordedTest(Answer):
    """A run as an entry of a file's `tests`, and the file's text with it."""

    test: JsonObject
    source: str


class PlannedNode(Answer):
    """What one node would do. `min_visits` is 0 when a way around it exists; money is None when unknown."""

    id: str
    kind: str
    min_visits: int
    max_visits: int
    models: list[str]
    max_calls: int = 0
    min_usd: Usd | None = None
    max_usd: Usd | None = None


class Need(Answer):
    """One thing that a run needs; `reason` says why it is missing, and what to do."""

    kind: str
    name: str
    nodes: list[str]
    missing: bool = False
    reason: str = ""


class CostRange(Answer):
    """What a run would cost. `worst_usd` is the most at all; `unknown_reason` says why `max_usd` is None."""

    basis: Basis
    min_usd: Usd | None = None
    max_usd: Usd | None = None
    runs: int = 0
    worst_usd: Usd | None = None
    unknown_reason: str = ""


class DurationRange(Answer):
    """How long a run would take, waiting for people left out."""

    basis: Basis
    min_ms: int
    max_ms: int
    runs: int = 0


class Plan(Answer):
    """What a run of a file would do, need, cost and take."""

    workflow: Workflow
    nodes: list[PlannedNode]
    needs: list[Need]
    cost: CostRange
    duration: DurationRange
