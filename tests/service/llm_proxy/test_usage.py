"""Sums of the ledger over gRPC, models that are listed, and spans of calls."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.fakes.providers import ProviderServer, openai_error, openai_reply

from cadre.llm_proxy.v1 import usage_pb2
from cadre_kit.errors import CadreError, DataLost, InvalidInput

WORKFLOW = usage_pb2.USAGE_DIMENSION_WORKFLOW
NODE = usage_pb2.USAGE_DIMENSION_NODE
DAY = usage_pb2.USAGE_DIMENSION_DAY


async def test_groups_add_up_to_the_total_and_the_dearest_comes_first(proxy: Any) -> None:
    for workflow, node in (("a", "x"), ("b", "x"), ("b", "y"), ("b", "y")):
        await proxy.ask(workflow=workflow, node=node)

    sums = await proxy.sums(WORKFLOW, NODE)

    assert [tuple(group.keys) for group in sums.groups] == [("b", "y"), ("a", "x"), ("b", "x")]
    costs = [Decimal(group.usage.cost_usd) for group in sums.groups]
    assert sum(costs) == Decimal(sums.total.cost_usd) == Decimal("0.0000512")
    assert sum(group.usage.calls for group in sums.groups) == sums.total.calls == 4


async def test_sums_can_be_of_one_run_one_workflow_and_a_time(proxy: Any) -> None:
    await proxy.ask(workflow="a", run_id="r1")
    await proxy.ask(workflow="b", run_id="r2")
    later = datetime.now(UTC) + timedelta(hours=1)

    assert (await proxy.sums(run_id="r1")).total.calls == 1
    assert (await proxy.sums(workflow="b")).total.calls == 1
    assert (await proxy.sums(start_time=later)).total.calls == 0
    assert (await proxy.sums(end_time=later)).total.calls == 2
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert [list(group.keys) for group in (await proxy.sums(DAY)).groups] == [[today]]


async def test_a_dimension_named_twice_is_refused(proxy: Any) -> None:
    with pytest.raises(InvalidInput):
        await proxy.sums(DAY, DAY)


async def test_models_say_whether_they_can_be_used_and_what_they_cost(
    start: Any, variables: dict[str, str]
) -> None:
    del variables["ANTHROPIC_API_KEY"]

    async with start() as proxy:
        models = await proxy.models()

    mini = models["openai", "gpt-4.1-mini"]
    assert (mini.available, mini.default) == (True, True)
    assert (mini.input_usd_per_million, mini.output_usd_per_million) == ("0.4", "1.6")
    claude = models["anthropic", "claude-haiku-4-5"]
    assert not claude.available
    assert "ANTHROPIC_API_KEY" in claude.unavailable_reason
    assert models["embedded", "smollm2-135m-instruct"].available


async def test_a_file_that_is_no_database_is_said_so_at_start(start: Any, tmp_path: Path) -> None:
    (tmp_path / "llm-proxy.db").write_bytes(b"not a database, by a long way" * 100)

    with pytest.raises(DataLost) as caught:
        async with start():
            pass

    assert caught.value.code == "DATABASE_CORRUPT"


async def test_every_request_has_a_span_with_tokens_and_cost_and_without_the_prompt(
    proxy: Any, provider: ProviderServer, spans: InMemorySpanExporter
) -> None:
    provider.will(openai_error(500, "server_error"), openai_reply("hello"))

    await proxy.ask("PROMPT")

    failed, done = [s for s in spans.get_finished_spans() if s.name == "chat gpt-4.1-mini"]
    said = dict(done.attributes or {})
    assert said["gen_ai.operation.name"] == "chat"
    assert (said["gen_ai.provider.name"], said["gen_ai.usage.input_tokens"]) == ("openai", 12)
    assert said["cadre.cost_usd"] == "0.0000128"
    assert json.loads(str(said["mlflow.llm.cost"]))["total_cost"] == pytest.approx(0.0000128)
    assert dict(failed.attributes or {})["error.type"] == "PROVIDER_FAILED"
    assert "PROMPT" not in f"{said}{failed.attributes}"


async def test_wrong_input_of_any_kind_ends_in_an_error_with_a_code(proxy: Any) -> None:
    for schema in ({"$ref": "http://127.0.0.1:9/x"}, {"type": 3}):
        with pytest.raises(CadreError) as caught:
            await proxy.ask(schema=schema)
        assert caught.value.code == "OUTPUT_SCHEMA_INVALID"
