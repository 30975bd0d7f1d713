"""Files that use all that the language can say become the workflow that they mean."""

from decimal import Decimal
from pathlib import Path

import pytest

from cadre_executor.domain.cases import Gives, Replies
from cadre_executor.domain.triggers import CronTrigger, OutsideTrigger
from cadre_executor.domain.workflows import (
    ApprovalAction,
    Budget,
    CodeAction,
    LlmAction,
    MemoryAction,
    MemoryVerb,
    OnError,
    OnExceed,
    Output,
    SandboxMode,
    Scope,
    ToolAction,
    ToolUse,
    Workflow,
    WorkflowAction,
)
from cadre_executor.language import Parsed, parse_workflow

_CORPUS = Path(__file__).parent / "corpus"
_FILES = sorted(_CORPUS.glob("*.yaml"))


def _parsed(name: str) -> Parsed:
    return parse_workflow((_CORPUS / f"{name}.yaml").read_text())


@pytest.fixture(scope="module")
def research() -> Workflow:
    workflow = _parsed("research").workflow
    assert workflow is not None
    return workflow


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_file_is_valid_and_only_what_nothing_acts_on_is_noted(path: Path) -> None:
    parsed = parse_workflow(path.read_text())

    assert parsed.valid, parsed.problems
    assert {note.code for note in parsed.notes} <= {"NO_EFFECT"}
    assert {note.path.partition("[")[0] for note in parsed.notes} <= {
        "triggers",
    }


def test_a_model_node_has_its_tools_fallbacks_and_memories(research: Workflow) -> None:
    action = research.nodes["look_up"].action
    assert isinstance(action, LlmAction)

    assert action.tools[1] == ToolUse(
        name="mcp:docs/search", on_error=OnError.CONTINUE, config={"limit": 3}
    )
    assert (action.max_steps, action.stream) == (4, True)
    first, second = action.model.fallbacks
    assert (first.provider, first.model, first.stop) == ("anthropic", "claude-sonnet-4", ("END",))
    assert (second.api_base, second.max_tokens, second.params) == (
        "http://127.0.0.1:11434",
        100,
        {},
    )
    assert action.model.params == {"reasoning_effort": "low"}
    assert action.recall is not None
    assert (action.recall.top_k, action.recall.max_tokens) == (3, 500)


def test_a_node_goes_through_a_list_whose_items_its_inputs_and_prompt_can_name(
    research: Workflow,
) -> None:
    node = research.nodes["look_up"]
    assert node.for_each is not None
    scope = Scope(state={"topics": ["tea", "milk"]}, inputs={"topic": "tea", "topic_index": 0})

    assert node.for_each.items.resolve(scope) == ["tea", "milk"]
    assert (node.for_each.item_name, node.for_each.max_concurrency) == ("topic", 4)
    assert node.inputs["label"].resolve(scope) == "topic tea"
    assert node.outputs == (
        Output(field="notes", path=("note",)),
        Output(field="scores", path=("score",)),
    )
    assert node.cache_seconds == 3600


def test_a_tool_is_called_with_arguments_that_keep_their_type(research: Workflow) -> None:
    action = research.nodes["fetch"].action
    assert isinstance(action, ToolAction)

    assert action.tool.name == "http_client"
    assert action.tool.on_error is OnError.CONTINUE
    assert action.arguments["url"].resolve(Scope(state={"language": "x"})).endswith(".com/x")


def test_a_program_has_its_container(research: Workflow) -> None:
    action = research.nodes["compute"].action
    assert isinstance(action, CodeAction)
    limits = action.limits

    assert (limits.mode, limits.preset) == (SandboxMode.DOCKER, "medium")
    assert (limits.cpus, limits.memory_mb, limits.timeout_seconds) == (2, 1024, 20)
    assert limits.packages == ("pandas==2.2",)
    assert set(limits.files) == {"data/topics.txt"}


def test_a_person_s_answer_has_a_choice_a_comment_and_a_name(research: Workflow) -> None:
    node = research.nodes["ask"]
    assert isinstance(node.action, ApprovalAction)

    assert node.action.choices == ("publish", "improve", "drop")
    assert (node.action.timeout_seconds, node.action.on_timeout) == (604800, "drop")
    assert node.timeout_seconds is None
    assert [output.path for output in node.outputs] == [("choice",), ("comment",), ()]


def test_another_workflow_s_outputs_are_taken_by_their_names(research: Workflow) -> None:
    translate, proofread = research.nodes["translate"], research.nodes["proofread"]

    assert translate.action == WorkflowAction(workflow="translation", version=3)
    assert translate.outputs == (Output(field="text", path=("text",)),)
    assert proofread.action == WorkflowAction(workflow="proofreading")
    assert proofread.outputs == (Output(field="translated", path=("text",)),)


def test_a_memory_is_appended_to(research: Workflow) -> None:
    action = research.nodes["keep"].action
    assert isinstance(action, MemoryAction)
    assert action.value is not None

    assert action.verb is MemoryVerb.APPEND
    assert action.value.resolve(Scope(state={"report": "r"})) == {"report": "r", "n": 1}


def test_a_run_has_its_budget_servers_and_secrets(research: Workflow) -> None:
    docs, files = research.mcp_servers["docs"], research.mcp_servers["files"]

    assert research.budget == Budget(usd=Decimal("0.5"), tokens=200_000, on_exceed=OnExceed.PAUSE)
    assert (docs.headers_env, docs.tools) == ({"Authorization": "DOCS_TOKEN"}, ("search", "read"))
    assert (files.url, files.tools) == ("", ())
    assert research.secrets == ("WEATHER_TOKEN",)


def test_what_starts_a_run_and_what_tests_it_can_be_asked_for() -> None:
    parsed = _parsed("research")
    cron, webhook, *_ = parsed.triggers
    first, second = parsed.cases

    assert cron == CronTrigger(
        cron="0 9 * * 1-5", timezone="Europe/Berlin", inputs={"topics": ["news"]}
    )
    assert isinstance(webhook, OutsideTrigger)
    assert (webhook.kind, webhook.secrets) == ("webhook", ("HOOK_SECRET",))
    assert webhook.inputs_from({"body": ["tea"]}) == {"topics": ["tea"]}
    assert first.replies["write"] == Replies(always=Gives(value="Tea is hot."))
    assert first.expect[0].condition.holds(Scope(state={"report": "Tea is hot."}))
    assert second.inputs == {"topics": ["tea"]}


def test_a_first_generation_s_list_is_gone_through_by_the_node_that_it_leads_to() -> None:
    workflow = _parsed("first_generation_parallel").workflow
    assert workflow is not None
    summarize, measure = workflow.nodes["summarize"], workflow.nodes["measure"]

    assert summarize.for_each is not None
    assert summarize.for_each.items.resolve(Scope(state={"pages": ["a"]})) == ["a"]
    assert summarize.outputs == (Output(field="summaries", path=("summary",)),)
    assert measure.outputs == (Output(field="sizes"),)
    assert [rule.targets for rule in workflow.exits["check"].rules] == [("summarize",)]
