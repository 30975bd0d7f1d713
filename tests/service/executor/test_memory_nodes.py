"""What nodes do with memory: whose it is, conversations by node, and what is made of them in the background."""

import pytest
from tests.fakes.executor import Neighbours
from tests.service.executor.conftest import Executor, outputs

from cadre.memory.v1 import memory_pb2
from cadre_executor.language import parse_workflow

FILE = """
flow: {name: remembers}
state:
  fields:
    user: {type: str, default: ada/../ben}
    messages: {type: "list[dict[str, str]]", default: []}
    reply: {type: str, default: ""}
nodes:
  - NODE
edges:
  - {from: START, to: one}
  - {from: one, to: END}
config: {CONFIG}
"""


def file(node: str, config: str = "") -> str:
    return FILE.replace("NODE", f"{{id: one, {node}}}").replace("CONFIG", config)


def codes(source: str) -> list[tuple[str, str]]:
    return [(p.code, p.path) for p in parse_workflow(source).problems]


@pytest.mark.parametrize(
    ("scope", "namespace"),
    [
        ("", ["workflow", "remembers", "ada/../ben"]),
        ("scope: workflow, ", ["workflow", "remembers", "ada/../ben"]),
        ("scope: node, ", ["node", "remembers", "one", "ada/../ben"]),
        ("scope: run, ", ["run", "RUN", "ada/../ben"]),
        ("scope: user, ", ["user", "ada/../ben"]),
        ("scope: agent, ", ["agent", "ada/../ben"]),
        ("scope: conversation, ", ["conversation", "ada/../ben"]),
        ("scope: shared, ", ["shared", "ada/../ben"]),
    ],
)
async def test_each_scope_is_a_namespace_of_its_own_and_a_value_one_segment_of_it(
    scope: str, namespace: list[str], executor: Executor, near: Neighbours
) -> None:
    memory = f'{{{scope}namespace: "{{state.user}}", action: save, key: k, value: v}}'

    run, _ = await executor.finish(file(f"memory: {memory}"))

    wanted = tuple(run.id if segment == "RUN" else segment for segment in namespace)
    assert near.memory.items == {(wanted, "k"): "v"}


async def test_a_conversation_is_added_to_and_loaded_with_its_summary_first(
    executor: Executor, near: Neighbours
) -> None:
    place = 'scope: conversation, namespace: "{state.user}"'
    await executor.finish(file(f"memory: {{{place}, action: append, value: hello, role: tool}}"))

    load = f"memory: {{{place}, action: load, max_tokens: 50}}, outputs: [messages]"
    run, _ = await executor.finish(file(load))

    assert outputs(run)["messages"] == [
        {"role": "system", "name": "", "text": "They met."},
        {"role": "tool", "name": "", "text": "hello"},
    ]


async def test_an_exchange_carries_what_is_to_be_made_of_it_and_for_whom(
    executor: Executor, near: Neighbours
) -> None:
    near.memory.items[("user", "ada/../ben"), "summary"] = "Ben says hello often."
    node = 'prompt: "hello", outputs: [reply], memory: {scope: user, namespace: "{state.user}"}'
    config = (
        "llm: {provider: openai, model: big, max_tokens: 5}, budget: {usd: 0.5},"
        " memory: {learn: true, summary_tokens: 500, llm: {model: small}}"
    )

    run, _ = await executor.finish(file(node, config))

    (asked,) = near.memory.appended.values()
    assert list(asked.namespace) == ["user", "ada/../ben"]
    assert [(m.role, m.text) for m in asked.messages] == [
        (memory_pb2.ROLE_USER, "hello"),
        (memory_pb2.ROLE_ASSISTANT, outputs(run)["reply"]),
    ]
    upkeep = asked.upkeep
    assert (upkeep.learn, upkeep.summary_tokens) == (True, 500)
    assert (upkeep.model.provider, upkeep.model.model) == ("openai", "small")
    who = upkeep.attribution
    assert (who.workflow, who.run_id, who.node) == ("remembers", run.id, "one")
    assert [(b.run_id, b.usd) for b in who.run_budgets] == [(run.id, "0.5")]
    (question,) = near.llm_proxy.requests.values()
    assert "- In short: Ben says hello often.\n" in question.messages[-1].content


async def test_a_node_may_say_otherwise_than_its_file(executor: Executor, near: Neighbours) -> None:
    node = 'prompt: "hello", outputs: [reply], memory: {namespace: chat, learn: false}'

    await executor.finish(file(node, "memory: {learn: true}"))

    (asked,) = near.memory.appended.values()
    assert not asked.HasField("upkeep")


@pytest.mark.parametrize("scope", ["agent", "conversation", "user"])
def test_a_scope_of_one_of_many_has_to_say_which(scope: str) -> None:
    source = file(f"memory: {{scope: {scope}, action: load, key: k}}")

    assert codes(source) == [("MISSING_FIELD", "nodes[0].memory.namespace")]


@pytest.mark.parametrize(
    ("memory", "unused"),
    [
        ("action: load, key: k, max_tokens: 5", ["max_tokens"]),
        ("action: append, key: k, value: v, learn: true, role: user", ["learn", "role"]),
        ("scope: conversation, namespace: c, action: load, learn: true", ["learn"]),
        ("action: save, key: k, value: v, summary_tokens: 500", ["summary_tokens"]),
    ],
)
def test_what_only_conversations_know_is_noted_elsewhere(memory: str, unused: list[str]) -> None:
    found = codes(file(f"memory: {{{memory}}}"))

    assert found == [("NO_EFFECT", f"nodes[0].memory.{key}") for key in unused]


@pytest.mark.parametrize(
    ("config", "namespace"),
    [
        ("learn: true", ["workflow", "remembers"]),
        (
            'learn: true, scope: user, namespace: "{state.user}/chat"',
            ["user", "ada/../ben", "chat"],
        ),
    ],
)
async def test_a_workflow_without_a_conversation_learns_from_what_its_models_say(
    executor: Executor, near: Neighbours, config: str, namespace: list[str]
) -> None:
    near.memory.finds_all = True
    near.memory.items[tuple(namespace), "old"] = "Nobody asked for this."

    run, _ = await executor.finish(
        file('prompt: "hello", outputs: [reply]', f"memory: {{{config}}}")
    )

    (kept,) = near.memory.appended.values()
    assert list(kept.namespace) == namespace
    assert [m.text for m in kept.messages] == ["hello", outputs(run)["reply"]]
    assert kept.upkeep.learn
    (question,) = near.llm_proxy.requests.values()
    assert [message.content for message in question.messages] == ["hello"]


async def test_other_nodes_are_left_alone_where_one_has_a_conversation(
    executor: Executor, near: Neighbours
) -> None:
    node = 'prompt: "hello", outputs: [reply], memory: {namespace: chat}'
    more = "nodes:\n  - {id: two, prompt: Other}\n"
    source = file(node, "memory: {learn: true}").replace("nodes:\n", more)
    source = source.replace(
        "{from: one, to: END}", "{from: one, to: two}\n  - {from: two, to: END}"
    )

    await executor.finish(source)

    (kept,) = near.memory.appended.values()
    assert list(kept.namespace) == ["workflow", "remembers", "chat"]


def test_learning_without_a_model_s_words_is_noted() -> None:
    source = file('code: "result = 1", outputs: [reply]', "memory: {learn: true}")

    assert codes(source) == [("NO_EFFECT", "config.memory.learn")]


def test_scopes_are_closed() -> None:
    assert [code for code, _ in codes(file("memory: {scope: world, action: load, key: k}"))] == [
        "INVALID_VALUE"
    ]


@pytest.mark.parametrize(
    "node",
    [
        'memory: {scope: user, namespace: "{state.user}", action: load, key: k}, outputs: [reply]',
        'prompt: hi, outputs: [reply], memory: {scope: user, namespace: "{state.user}"}',
        'memory: {namespace: "team-{state.user}", action: load, key: k}, outputs: [reply]',
    ],
    ids=["node", "recall", "part of a segment"],
)
async def test_who_has_no_name_shares_no_memory_with_others_who_have_none(
    executor: Executor, near: Neighbours, node: str
) -> None:
    for shared in (("user", "null"), ("workflow", "remembers", "team-null")):
        near.memory.items[shared, "k"] = "somebody's"
    source = file(node).replace("default: ada/../ben", "default: null")

    run, _ = await executor.finish(source)

    assert run.HasField("error")
    assert run.error.code == "NAMESPACE_UNKNOWN"
