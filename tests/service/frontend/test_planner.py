"""A real planner from the chat's wish to the checked file: only the model itself is played, on the wire."""

import asyncio
import json
from pathlib import Path

from tests.fakes.providers import openai_reply, provider_server
from tests.platform import platform

from cadre_client.builder import Built, build_workflow

PLAN = {
    "name": "sums",
    "description": "Sums up an article.",
    "inputs": [{"name": "article", "description": "What to sum up"}],
    "steps": [
        {
            "id": "summary",
            "kind": "write",
            "instruction": "Sum up the article in {three} sentences.",
            "needs": ["article"],
            "choices": [],
            "only_if": None,
            "code": "",
            "key": "",
        }
    ],
}


def built(home: Path, url: str) -> Built:
    settings = {"OPENAI_API_KEY": "sk-test", "OPENAI_API_BASE": f"{url}/v1"}
    with platform(home, "executor", "llm-proxy", "gateway", **settings) as running:
        with running.client() as client:
            return build_workflow(client, ["Sum up an article"])


async def test_a_plan_is_asked_for_by_its_schema_and_checked_by_the_executor(
    tmp_path: Path,
) -> None:
    async with provider_server(openai_reply(json.dumps(PLAN))) as provider:
        made = await asyncio.to_thread(built, tmp_path, provider.url)

    (asked,) = provider.asked
    schema = asked.body["response_format"]["json_schema"]
    assert schema["schema"]["required"] == ["name", "description", "inputs", "steps"]
    assert "Sum up an article" in asked.body["messages"][-1]["content"]
    assert (made.small_model, made.result.valid) == (False, True)
    assert made.model.startswith("openai/")
    assert "in {{three}} sentences" in made.result.source


async def test_a_reply_that_is_no_plan_is_asked_for_again(tmp_path: Path) -> None:
    replies = (openai_reply('{"name": "su', finish="length"), openai_reply(json.dumps(PLAN)))
    async with provider_server(*replies) as provider:
        made = await asyncio.to_thread(built, tmp_path, provider.url)

    assert [attempt.valid for attempt in made.attempts] == [False, True]
    assert "not a whole plan" in provider.asked[1].body["messages"][-1]["content"]
