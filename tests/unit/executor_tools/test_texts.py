"""Tools that parse texts, show secrets, and what all tools have in common."""

import time
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.executor import neighbours
from tests.unit.executor_tools.conftest import Bench, bench_in, context

from cadre_executor.domain.tools import ToolFailed, UnknownTool
from cadre_kit.errors import InvalidInput

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize("tool", ["json_parse", "yaml_parse"])
async def test_the_value_at_a_path_is_found(bench: Bench, tool: str) -> None:
    text = '{"items": [{"name": "a"}, {"name": "b"}]}'

    assert await bench(tool, text=text, path="items[1].name") == "b"
    assert await bench(tool, text=text, path="items[0]") == {"name": "a"}
    assert await bench(tool, text=text) == {"items": [{"name": "a"}, {"name": "b"}]}


@pytest.mark.parametrize("path", ["items[9]", "no", "items.name", "items[0].name.x", "[", "a]b"])
async def test_a_path_that_leads_nowhere_is_said(bench: Bench, path: str) -> None:
    with pytest.raises(ToolFailed) as refused:
        await bench("json_parse", text='{"items": [{"name": "a"}]}', path=path)

    assert refused.value.code == "PATH_NOT_FOUND"


@pytest.mark.parametrize(
    ("tool", "text"),
    [
        ("json_parse", "{'a': 1}"),
        ("json_parse", "NaN"),
        ("json_parse", "[" * 100_000),
        ("yaml_parse", "a: [1"),
        ("yaml_parse", "!!python/object/apply:os.system [id]"),
        ("yaml_parse", "[" * 100_000),
        ("yaml_parse", BOMB),
        ("yaml_parse", "a: b: c"),
    ],
)
async def test_a_text_that_is_not_what_it_should_be_is_refused_quickly(
    bench: Bench, tool: str, text: str
) -> None:
    began = time.monotonic()

    with pytest.raises(ToolFailed) as refused:
        await bench(tool, text=text)

    assert refused.value.code == "PARSE_FAILED"
    assert time.monotonic() - began < 5


async def test_yaml_becomes_json(bench: Bench) -> None:
    assert await bench("yaml_parse", text="1: 2026-11-24\nb: [yes, null, 1.5]") == {
        "1": "2026-11-24",
        "b": [True, None, 1.5],
    }


async def test_only_secrets_that_the_workflow_lists_are_shown(tmp_path: Path) -> None:
    variables = {"TOKEN": "t", "OTHER": "o", "CADRE_API_KEY": "own"}
    async with bench_in(tmp_path, variables=variables) as bench:
        listed = context(secrets=("TOKEN",))

        assert await bench("env_vars", context=listed) == {"TOKEN": "t"}
        for name, code in (("OTHER", "SECRET_NOT_LISTED"), ("CADRE_API_KEY", "SECRET_NOT_LISTED")):
            with pytest.raises(ToolFailed) as refused:
                await bench("env_vars", names=[name], context=listed)
            assert refused.value.code == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("CADRE_EXECUTOR_DATABASE_URL", "SECRET_REFUSED"),
        ("cadre_api_key", "SECRET_REFUSED"),
        ("UNSET", "SECRET_MISSING"),
    ],
)
async def test_a_secret_that_cannot_be_shown_says_why(tmp_path: Path, name: str, code: str) -> None:
    variables = {"CADRE_EXECUTOR_DATABASE_URL": "pw", "cadre_api_key": "pw"}
    async with bench_in(tmp_path, variables=variables) as bench:
        with pytest.raises(ToolFailed) as refused:
            await bench("env_vars", context=context(secrets=(name,)))

    assert refused.value.code == code
    assert "pw" not in str(refused.value)


async def test_arguments_are_checked_before_anything_else(bench: Bench) -> None:
    wrong: dict[str, Any] = {"text": 5, "further": 1}

    with pytest.raises(InvalidInput) as refused:
        await bench("json_parse", **wrong)

    assert refused.value.code == "ARGUMENTS_REFUSED"
    assert "text" in refused.value.message
    assert "further" in refused.value.message


async def test_a_config_that_does_not_fit_is_said(bench: Bench) -> None:
    with pytest.raises(ToolFailed) as refused:
        await bench("sql_query", query="select 1", config={"database": "a", "url_env": "b"})

    assert refused.value.code == "TOOL_CONFIG_REFUSED"


async def test_what_an_older_name_settles_cannot_be_said(bench: Bench) -> None:
    with pytest.raises(InvalidInput):
        await bench("http_get", url="http://example.org", method="DELETE")


@pytest.mark.parametrize("name", ["no_such_tool", "mcp:nobody/tool", "mcp:"])
async def test_a_tool_that_is_not_there_is_said(bench: Bench, name: str) -> None:
    with pytest.raises(UnknownTool):
        await bench(name)


async def test_memory_is_what_the_node_gives(tmp_path: Path) -> None:
    async with neighbours() as near, bench_in(tmp_path, memory_address=near.address) as bench:
        await bench("memory_save", key="city", value={"name": "Ulm"})

        found = await bench("memory_search", query="Ulm")

    assert found == {"hits": [{"key": "city", "value": {"name": "Ulm"}, "score": 0.5}]}
    assert list(near.memory.items) == [(context().namespace, "city")]


@pytest.mark.parametrize("arguments", [{"namespace": ["user", "ben"]}, {"scope": "user"}])
async def test_a_model_cannot_say_whose_memory_it_wants(
    bench: Bench, arguments: dict[str, Any]
) -> None:
    for name, needed in (
        ("memory_search", {"query": "q"}),
        ("memory_save", {"key": "k", "value": 1}),
    ):
        with pytest.raises(InvalidInput):
            await bench(name, **needed, **arguments)


async def test_python_runs_in_the_sandbox(bench: Bench) -> None:
    done = await bench("python", code="print('seen'); result = a * 2", inputs={"a": 21})

    assert done == {"stdout": "seen", "result": 42}
    with pytest.raises(ToolFailed, match="ZeroDivisionError") as failed:
        await bench("python_repl", code="1 / 0")
    assert failed.value.code == "PROGRAM_FAILED"


async def test_a_program_that_fails_says_what_it_had_printed(bench: Bench) -> None:
    with pytest.raises(ToolFailed) as failed:
        await bench("python", code="print('rows: 3'); 1 / 0")

    assert failed.value.message.endswith("\nBefore that it printed:\nrows: 3")
    assert "ZeroDivisionError" in failed.value.message
