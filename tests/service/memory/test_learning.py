"""Learning end to end: gateway, executor, memory and llm-proxy as processes, before a provider on loopback."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.openai_server import OpenAiServer, openai_server
from tests.fakes.providers import Answer, openai_reply
from tests.platform import Platform, eventually, platform

from cadre_client import Client, MemoryItem
from cadre_kit.channels import connect
from cadre_memory.adapters.llm_proxy import LlmProxyModels
from cadre_memory.domain.facts import SCHEMA
from cadre_memory.domain.models import Ask, Asker, ReplyUnusable

COMPANION = (Path(__file__).parents[3] / "examples" / "companion.yaml").read_text()
ADA = ["user", "ada"]
FACTS = [*ADA, "facts"]
WORK = ["cadre", "work"]


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenAiServer]:
    with openai_server() as serving:
        yield serving


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, provider: OpenAiServer
) -> Iterator[Platform]:
    names = ("executor", "llm-proxy", "memory", "gateway")
    with platform(tmp_path_factory.mktemp("home"), *names, **provider.settings) as running:
        yield running


@pytest.fixture
def client(services: Platform, provider: OpenAiServer) -> Client:
    provider.behave()
    client = services.client()
    client.forget_memories(ADA, everything=True)
    return client


@contextmanager
def teaching(provider: OpenAiServer, *facts: dict[str, Any]) -> Iterator[None]:
    """What the provider learns, whatever it is told; other questions get words."""
    defaults = {"action": "add", "known": 0, "since": "", "until": ""}
    found = json.dumps({"facts": [{**defaults, **fact} for fact in facts]})

    def respond(body: dict[str, Any]) -> Answer:
        return openai_reply(found if "response_format" in body else "I see.")

    provider.respond = respond
    yield
    provider.behave()


def facts_in(client: Client) -> dict[str, MemoryItem]:
    return {str(item.value): item for item in client.list_memories(FACTS)}


def questions(provider: OpenAiServer) -> list[dict[str, Any]]:
    return [body for body in provider.asked if "response_format" in body]


def say(client: Client, message: str) -> str:
    run = client.start_run(source=COMPANION, inputs={"who": "ada", "message": message})
    eventually(lambda: client.run(run.id).status.is_final)
    assert client.run(run.id).status.value == "succeeded"
    return run.id


def test_what_a_run_says_is_learned_metered_and_replaced_by_date(
    client: Client, provider: OpenAiServer
) -> None:
    with teaching(provider, {"fact": "Ada lives in Paris.", "since": "2021-03-01"}):
        first = say(client, "I live in Paris since March 2021.")
        eventually(lambda: facts_in(client))
    berlin = {"fact": "Ada lives in Berlin.", "action": "supersede", "known": 1}
    with teaching(provider, {**berlin, "since": "2023-05-01"}):
        say(client, "I moved to Berlin in May 2023!")
        eventually(lambda: len(facts_in(client)) == 2)

    def lives(when: datetime) -> list[Any]:
        return [
            hit.item.value
            for hit in client.search_memories(FACTS, "Where does Ada live?", asked=when).hits
        ]

    assert lives(datetime(2023, 4, 1, tzinfo=UTC)) == ["Ada lives in Paris."]
    assert lives(datetime(2023, 6, 1, tzinfo=UTC)) == ["Ada lives in Berlin."]
    paris = facts_in(client)["Ada lives in Paris."]
    assert paris.metadata["run_id"] == first
    assert paris.metadata["workflow"] == "companion"
    ledger = {g.keys["node"]: g for g in client.usage(group_by=["node"], run_id=first).groups}
    assert ledger["answer"].usage.calls == 2
    said = [m.text for m in client.messages(ADA).messages]
    assert said[0].endswith("I live in Paris since March 2021.\n")
    assert len(said) == 4


def test_a_run_ends_while_its_facts_are_not_learned_yet_and_a_kill_loses_none(
    client: Client, services: Platform, provider: OpenAiServer
) -> None:
    with teaching(provider, {"fact": "Ada plays the cello."}):
        answer = provider.respond

        def answer_or_hang(body: dict[str, Any]) -> Answer:
            if "response_format" in body:
                provider.gate.clear()
                provider.gate.wait(60)
            return answer(body)

        provider.respond = answer_or_hang
        run = say(client, "I play the cello.")
        eventually(lambda: questions(provider))
        services.kill("memory")
        provider.respond = answer
        provider.gate.set()
        services.start("memory")
        eventually(lambda: facts_in(client), seconds=60)
        eventually(lambda: not client.list_memories(WORK))

    assert [item.version for item in client.list_memories(FACTS)] == [1]
    assert next(iter(facts_in(client).values())).metadata["run_id"] == run


def test_what_cannot_be_learned_leaves_the_words_and_says_why(
    client: Client, provider: OpenAiServer
) -> None:
    client.append_messages(ADA, [{"text": "I ski"}], learn=True, model="openai_compatible/unknown")
    eventually(lambda: [w for w in client.list_memories(WORK) if w.metadata["state"] == "failed"])

    (failed,) = client.list_memories(WORK)
    assert failed.metadata["code"]
    assert failed.metadata["reason"]
    assert [m.text for m in client.messages(ADA).messages] == ["I ski"]
    client.forget_memories(WORK, everything=True)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (openai_reply("Sure! {facts: ["), "MODEL_OUTPUT_INVALID"),
        (openai_reply('{"facts": [', finish="length"), "MODEL_OUTPUT_TRUNCATED"),
    ],
)
async def test_a_reply_that_is_no_list_of_facts_is_known_for_one(
    services: Platform, client: Client, provider: OpenAiServer, answer: Answer, code: str
) -> None:
    provider.respond = lambda body: answer
    address = f"127.0.0.1:{services.ports['llm-proxy']}"

    async with connect(address, services.credentials) as channel:
        ask = Ask(system="", prompt="I ski", max_tokens=100, key=code, schema=SCHEMA)
        with pytest.raises(ReplyUnusable) as raised:
            await LlmProxyModels(channel).reply(ask, asker=Asker())

    assert raised.value.code == code


def test_a_long_conversation_is_summed_up(client: Client, provider: OpenAiServer) -> None:
    provider.respond = lambda body: openai_reply("Ada told of her garden.")
    for turn in range(6):
        client.append_messages(ADA, [{"text": f"{turn} " + "rose " * 40}], summary_tokens=150)

    eventually(lambda: client.messages(ADA, max_tokens=60, with_summary=True).summary)
    found = client.messages(ADA, max_tokens=60, with_summary=True)
    assert found.summary is not None
    assert found.summary.text == "Ada told of her garden."
    assert len(client.messages(ADA).messages) == 6
    assert len(client.list_memories(ADA, key_prefix="message/")) == 6
