"""Memories through the gateway, its client and the command line, beside a model of meanings that cannot be asked."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.platform import Platform, platform

from cadre_client import ApiError, Client

PLACE = ["user", "ada"]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    # No llm-proxy runs.
    model = {"CADRE_MEMORY_EMBEDDING_MODEL": "openai/text-embedding-3-small"}
    with platform(tmp_path_factory.mktemp("home"), "memory", "gateway", **model) as running:
        yield running


@pytest.fixture
def client(services: Platform) -> Client:
    client = services.client()
    client.forget_memories(PLACE, everything=True)
    return client


def test_memories_are_listed_by_metadata_and_time(client: Client) -> None:
    client.put_memory(PLACE, "plan", "to go to Rome", metadata={"kind": "plan", "sure": True})
    client.put_memory(PLACE, "fact", "lives in Ulm", metadata={"kind": "fact"})
    now = datetime.now(UTC)

    def keys(**conditions: object) -> list[str]:
        return [item.key for item in client.list_memories(PLACE, **conditions)]  # type: ignore[arg-type]

    assert keys() == ["fact", "plan"]
    assert keys(metadata={"kind": "plan"}) == keys(metadata={"sure": True}) == ["plan"]
    assert keys(metadata={"kind": "plan", "sure": False}) == []
    assert keys(since=now + timedelta(hours=1)) == keys(before=now - timedelta(hours=1)) == []
    assert keys(since=now - timedelta(hours=1), before=now + timedelta(hours=1)) == keys()


def test_metadata_that_is_no_object_is_refused(services: Platform, client: Client) -> None:
    query = {"namespace": "user", "metadata": "[1"}
    headers = {"Authorization": f"Bearer {services.api_key}"}

    answer = services.http().get("/api/v1/memories", params=query, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["code"] == "NOT_JSON"


def test_an_earlier_version_is_read(services: Platform, client: Client) -> None:
    for city in ("Paris", "Berlin"):
        client.put_memory(PLACE, "city", city)

    assert client.get_memory(PLACE, "city", 1).value == "Paris"
    assert services.cadre("memory", "get", "user/ada", "city", "--version", "1").stdout == "Paris\n"
    with pytest.raises(ApiError) as refused:
        client.get_memory(PLACE, "city", 3)
    assert refused.value.code == "ITEM_NOT_FOUND"


def test_a_search_by_words_alone_says_so(services: Platform, client: Client) -> None:
    client.put_memory(PLACE, "city", "Ada lives in Ulm.", metadata={"kind": "fact"})
    client.put_memory(PLACE, "plan", "Ada goes to Ulm.")

    found = client.search_memories(PLACE, "Ulm", metadata={"kind": "fact"})
    shown = services.cadre("memory", "search", "user/ada", "Ulm", "--meta", "kind=fact")
    listed = services.cadre("memory", "list", "user/ada", "--meta", "kind=fact", "--json")

    assert [hit.item.key for hit in found.hits] == ["city"]
    assert found.without_meaning
    assert f"Only words were searched, not meaning: {found.without_meaning}." in shown.stderr
    assert "Ada lives in Ulm." in shown.stdout
    assert "Ada goes" not in shown.stdout
    assert [item["key"] for item in json.loads(listed.stdout)["items"]] == ["city"]


def test_many_values_are_imported_from_lines(services: Platform, client: Client) -> None:
    lines = [{"key": f"k{n:04}", "value": {"n": n}, "tags": ["many"]} for n in range(1_200)]
    lines[7]["value"] = "one line\u2028of text"
    file = services.home / "many.jsonl"
    file.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))

    stored = services.cadre("memory", "import", "user/ada", str(file), "--json")

    assert json.loads(stored.stdout) == {"stored": 1_200}
    found = client.list_memories(PLACE, limit=2_000, tags=["many"])
    assert [(item.key, item.value) for item in found] == [(e["key"], e["value"]) for e in lines]
    exported = services.cadre("memory", "export", "user/ada").stdout.removesuffix("\n").split("\n")
    assert [json.loads(line) for line in exported] == [{**line, "metadata": {}} for line in lines]


def test_an_import_says_what_is_wrong_and_what_is_stored(
    services: Platform, client: Client
) -> None:
    lines = [{"key": f"k{n:04}", "value": n} for n in range(600)]
    lines[550] = {"key": "", "value": 1}
    file = services.home / "wrong.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (services.home / "no.jsonl").write_text('{"key": "k", "value": 1}\nnothing\n')

    refused = services.cadre("memory", "import", "user/ada", str(file))
    unread = services.cadre("memory", "import", "user/ada", str(services.home / "no.jsonl"))

    assert (refused.returncode, unread.returncode) == (2, 2)
    assert "stored before: 500 lines" in refused.stderr
    assert "line 2 is not a JSON object" in unread.stderr
    assert len(client.list_memories(PLACE, limit=2_000)) == 500
