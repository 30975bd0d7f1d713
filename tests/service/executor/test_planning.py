"""Plans over gRPC: what a run would need, cost and take, without running anything."""

from decimal import Decimal
from typing import Any

import pytest
from tests.fakes.a2a_agents import card_document
from tests.fakes.executor import Neighbours
from tests.fakes.tools import FakeTools
from tests.service.executor.conftest import Executor
from tests.service.executor.test_agents import register

from cadre.executor.v1 import runs_pb2, workflows_pb2
from cadre_kit.documents import to_json
from cadre_kit.errors import InvalidInput

HISTORY, ESTIMATE, LIMIT = (
    workflows_pb2.RANGE_BASIS_HISTORY,
    workflows_pb2.RANGE_BASIS_ESTIMATE,
    workflows_pb2.RANGE_BASIS_LIMIT,
)


async def plan_of(executor: Executor, source: str, **inputs: Any) -> workflows_pb2.Plan:
    request = workflows_pb2.PlanWorkflowRequest(source=source, inputs=to_json(inputs))
    answer = await executor.ask(executor.workflows.PlanWorkflow, request)
    plan: workflows_pb2.Plan = answer.plan
    return plan


def one(node: str, fields: str = "text: str", more: str = "") -> str:
    return f"flow: {{name: one}}\nstate: {{fields: {{{fields}}}}}\nnodes:\n  - {node}\n{more}"


def needs(plan: workflows_pb2.Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for need in plan.needs:
        kind = workflows_pb2.NeedKind.Name(need.kind).removeprefix("NEED_KIND_").lower()
        found.setdefault(kind, []).append(need.name + ("!" if need.missing else ""))
    return found


async def test_a_run_costs_from_empty_replies_to_the_longest_and_nothing_is_asked(
    executor: Executor, near: Neighbours
) -> None:
    source = one("{id: ask, prompt: abcdefghij, outputs: [text], llm: {max_tokens: 40}}")
    plan = await plan_of(executor, source)

    assert (plan.cost.basis, plan.cost.min_usd, plan.cost.max_usd) == (ESTIMATE, "0.01", "0.05")
    assert needs(plan) == {"model": ["fake/fake-1"], "host": ["models.example.com"]}
    assert plan.workflow.graph.nodes[0].id == "ask"
    assert near.llm_proxy.asked == []


async def test_loops_lists_tries_tools_and_mended_replies_are_at_their_bounds(
    executor: Executor,
) -> None:
    source = """
flow: {name: bounds}
state: {fields: {names: {type: "list[str]"}, all: {type: list}, good: {type: bool, default: false}, text: str}}
nodes:
  - {id: each, for_each: {items: "{state.names}"}, prompt: "x", outputs: {all: .}, llm: {max_tokens: 9}}
  - {id: judge, prompt: "x", output_schema: bool, outputs: [good], llm: {max_tokens: 9}}
  - {id: again, prompt: "x", outputs: [text], retry: {max_attempts: 2}, llm: {max_tokens: 9}}
edges:
  - {from: START, to: each}
  - {from: each, to: judge}
  - {from: judge, to: again}
  - {from: again, loop: {to: judge, max_iterations: 4, until: state.good}}
"""
    plan = await plan_of(executor, source, names=["a", "b", "c"])
    each, judge, again = plan.nodes

    assert (each.max_visits, each.max_calls, each.max_usd) == (1, 3, "0.03")
    assert (judge.min_visits, judge.max_visits, judge.max_calls) == (1, 5, 15)
    assert (again.max_visits, again.max_calls, again.max_usd) == (5, 10, "0.10")
    assert Decimal(judge.max_usd) == 15 * (Decimal("0.010") + 2 * Decimal("0.209"))
    assert (each.min_usd, judge.min_usd) == ("0", "0.001")


async def test_what_another_node_writes_counts_with_its_longest_reply(executor: Executor) -> None:
    source = """
flow: {name: chain}
state: {fields: {draft: str, text: str}}
nodes:
  - {id: write, prompt: "ab", outputs: [draft], llm: {max_tokens: 50}}
  - {id: mend, prompt: "{state.draft}", outputs: [text], llm: {max_tokens: 7}}
"""
    plan = await plan_of(executor, source)

    assert plan.nodes[1].max_usd == "0.057"
    assert plan.cost.max_usd == "0.109"


async def test_a_prompt_of_unknown_length_costs_at_most_what_the_model_takes_in(
    executor: Executor,
) -> None:
    node = "{id: ask, prompt: 'Say {state.text}', llm: {max_tokens: 9}}"
    unknown = await plan_of(executor, one(node, "text: {type: str, required: true}"))
    known = await plan_of(executor, one(node, "text: {type: str, required: true}"), text="abcdef")
    bounded = await plan_of(executor, one(node, "text: {type: str, required: true, max_length: 8}"))

    assert unknown.cost.max_usd == "1.009"
    assert known.cost.max_usd == "0.019"
    assert bounded.cost.max_usd == "0.021"


async def test_an_unknown_upper_bound_is_said_with_its_reason_unless_a_budget_bounds_it(
    executor: Executor,
) -> None:
    source = one("{id: ask, prompt: x, llm: {provider: fake, model: endless}}")
    plan = await plan_of(executor, source)
    bounded = await plan_of(executor, source + "config: {budget: {usd: 0.25}}\n")

    assert not plan.cost.HasField("max_usd")
    assert "fake/endless" in plan.cost.unknown_reason
    assert (bounded.cost.max_usd, bounded.cost.unknown_reason) == ("0.25", "")


async def test_runs_of_the_same_file_are_what_a_run_usually_costs_and_takes(
    executor: Executor,
) -> None:
    source = one("{id: ask, prompt: x, outputs: [text], llm: {max_tokens: 9}}")
    for _ in range(2):
        await executor.finish(source)

    plan = await plan_of(executor, source)
    changed = await plan_of(executor, source + "# changed\n")

    assert (plan.cost.basis, plan.cost.runs, plan.duration.runs) == (HISTORY, 2, 2)
    assert (plan.cost.max_usd, plan.cost.worst_usd) == ("0.001", "0.01")
    assert plan.duration.basis == HISTORY
    assert changed.cost.basis == ESTIMATE


async def test_a_model_without_a_key_is_missing_and_has_its_price_all_the_same(
    executor: Executor,
) -> None:
    llm = "llm: {provider: keyless, model: m, max_tokens: 9}"
    plan = await plan_of(executor, one(f"{{id: ask, prompt: x, {llm}}}"))
    unknown = await plan_of(
        executor, one(f"{{id: ask, prompt: x, {llm}}}".replace("keyless", "unheard_of"))
    )

    assert needs(plan) == {"model": ["keyless/m!"], "host": ["models.example.com"]}
    assert plan.cost.max_usd == "0.01"
    assert not unknown.cost.HasField("max_usd")
    assert "no such provider" in unknown.needs[0].reason


async def test_needs_say_what_is_missing_and_what_to_do(
    executor: Executor, tools: FakeTools
) -> None:
    tools.lacking = {"web_search": "no search service is set up", "WEATHER_TOKEN": "it is not set"}
    await executor.apply(one("{id: ask, prompt: x}").replace("name: one", "name: there"))
    plan = await plan_of(
        executor,
        """
flow: {name: needy}
state: {fields: {page: any, who: {type: str, default: me}, choice: str}}
nodes:
  - {id: ask, prompt: x, tools: [web_search, "mcp:docs/find"], llm: {provider: keyless, model: m, fallbacks: [fake/b]}}
  - {id: fetch, tool: http_client, arguments: {url: "https://api.example.com/{state.who}"}, outputs: [page]}
  - {id: anywhere, tool: web_scrape, arguments: {url: "{state.page}"}, on_error: continue}
  - {id: there, workflow: there}
  - {id: gone, workflow: gone}
  - {id: check, type: approval, message: Well, outputs: {choice: choice}}
config:
  mcp_servers: {docs: {url: "https://docs.example.com/mcp"}}
  secrets: [WEATHER_TOKEN]
""",
    )

    assert needs(plan) == {
        "model": ["keyless/m!", "fake/b", "fake/fake-1"],
        "secret": ["WEATHER_TOKEN!"],
        "host": ["models.example.com", "docs.example.com", "api.example.com", "*"],
        "tool": ["web_search!", "mcp:docs/find", "http_client", "web_scrape"],
        "workflow": ["there", "gone!"],
        "person": ["who answers check (approve, reject)"],
    }
    reasons = {need.name: need.reason for need in plan.needs}
    assert reasons["keyless/m"].startswith("no key for keyless")
    assert not plan.cost.HasField("max_usd")
    assert "gone" in plan.cost.unknown_reason


async def test_the_runs_of_another_workflow_count_and_one_that_runs_itself_has_no_bound(
    executor: Executor,
) -> None:
    inner = one("{id: ask, prompt: x, llm: {max_tokens: 9}}").replace("name: one", "name: inner")
    await executor.apply(inner)
    await executor.apply("flow: {name: me}\nstate: {}\nnodes: [{id: again, workflow: me}]\n")

    plan = await plan_of(executor, one("{id: run, workflow: inner}"))
    endless = await plan_of(executor, one("{id: run, workflow: me}"))

    assert plan.cost.max_usd == "0.01"
    assert "deep" in endless.cost.unknown_reason


async def test_programs_need_the_sandbox_and_are_not_run(
    executor: Executor, near: Neighbours
) -> None:
    plan = await plan_of(executor, one("{id: add, code: result = 1, outputs: [text]}"))

    (need,) = plan.needs
    assert (need.name, list(need.nodes)) == ("sandbox in mode python", ["add"])
    assert near.sandbox.requests == []
    assert (plan.cost.min_usd, plan.cost.max_usd) == ("0", "0")


async def test_a_plan_stores_nothing_and_refuses_what_a_run_would(executor: Executor) -> None:
    source = one("{id: ask, prompt: x}")
    await plan_of(executor, source)

    listed = await executor.ask(executor.runs.ListRuns, runs_pb2.ListRunsRequest())
    assert list(listed.runs) == []
    with pytest.raises(InvalidInput) as invalid:
        await plan_of(executor, source.replace("prompt", "promt"))
    with pytest.raises(InvalidInput) as refused:
        await plan_of(executor, source, other=1)
    assert (invalid.value.code, refused.value.code) == ("WORKFLOW_INVALID", "INPUTS_REFUSED")


async def test_without_history_it_takes_what_tokens_speeds_and_limits_say(
    executor: Executor,
) -> None:
    llm = "llm: {provider: fake, model: %s, max_tokens: 50}"
    quick = await plan_of(executor, one(f"{{id: ask, prompt: x, {llm % 'quick'}}}"))
    unmeasured = await plan_of(executor, one(f"{{id: ask, prompt: x, {llm % 'new'}}}"))
    code = await plan_of(executor, one("{id: add, code: result = 1, outputs: [text]}"))
    listed = await plan_of(
        executor,
        one(
            f"{{id: ask, for_each: {{items: '{{state.all}}', max_concurrency: 2}}, prompt: x, {llm % 'quick'}}}",
            "all: list",
        ),
        all=[1, 2, 3],
    )
    agent = await plan_of(executor, one("{id: hand, agent: far, prompt: x, outputs: [text]}"))

    def said(plan: workflows_pb2.Plan) -> tuple[int, int, int]:
        return plan.duration.basis, plan.duration.min_ms, plan.duration.max_ms

    assert said(quick) == (ESTIMATE, 100, 5_000)
    assert said(unmeasured) == (ESTIMATE, 0, 120_000)
    assert said(code) == (ESTIMATE, 0, 30_000)
    assert said(listed) == (ESTIMATE, 0, 10_000)
    assert said(agent) == (LIMIT, 0, 3_600_000)


async def test_remote_agents_are_needed_and_their_hosts_are_known_once_they_are_registered(
    executor: Executor,
) -> None:
    source = one("{id: hand, agent: Echo-agent, prompt: x, outputs: [text]}")
    before = await plan_of(executor, source)
    card = card_document("https://agents.example.com:8443/a2a")
    await register(executor, card=card, ttl_seconds=60)
    after = await plan_of(executor, source)

    assert needs(before) == {"agent": ["Echo-agent!"]}
    assert "cadre agents add" in before.needs[0].reason
    assert needs(after) == {"agent": ["Echo-agent"], "host": ["agents.example.com:8443"]}
