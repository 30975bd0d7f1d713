"""The API's words and the protos' numbers are the same sets, and documents keep every value."""

import re
from typing import Any

import pytest

from cadre.common.v1 import common_pb2
from cadre.executor.v1 import runs_pb2
from cadre.llm_proxy.v1 import llm_pb2, usage_pb2
from cadre.memory.v1 import memory_pb2
from cadre_gateway.entrypoint import (
    conversions,
    documents,
    memory_conversions,
    memory_documents,
    usage_conversions,
    usage_documents,
)
from cadre_gateway.entrypoint.chat_conversions import FINISH_REASONS
from cadre_gateway.entrypoint.errors import _OPENAI_ERRORS
from cadre_kit.errors import Kind

WORDS = [
    (documents.RunStatus, runs_pb2.RunStatus),
    (documents.EventType, runs_pb2.EventType),
    (usage_documents.UsageDimension, usage_pb2.UsageDimension),
    (memory_documents.SearchMode, memory_pb2.SearchMode),
    (documents.Severity, common_pb2.Severity),
]


@pytest.mark.parametrize(("words", "numbers"), WORDS)
def test_every_word_is_a_protos_name_and_none_is_missing(words: Any, numbers: Any) -> None:
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", words.__name__).upper() + "_"
    names = {numbers.Name(one).removeprefix(prefix).lower() for one in numbers.values()}

    assert {word.value for word in words} == names - {"unspecified"}


@pytest.mark.parametrize(
    ("table", "numbers"),
    [
        (conversions.RUN_STATUS_NUMBERS.values(), runs_pb2.RunStatus),
        (conversions._EVENT_TYPES.keys(), runs_pb2.EventType),
        (usage_conversions.USAGE_DIMENSION_NUMBERS.values(), usage_pb2.UsageDimension),
        (memory_conversions.SEARCH_MODE_NUMBERS.values(), memory_pb2.SearchMode),
        (memory_conversions.ROLE_NUMBERS.values(), memory_pb2.Role),
    ],
)
def test_every_number_is_in_its_table(table: Any, numbers: Any) -> None:
    assert set(table) == set(numbers.values()) - {0}


def test_every_finish_reason_and_every_kind_of_error_is_said_to_openais_clients() -> None:
    assert FINISH_REASONS.keys() == set(llm_pb2.FinishReason.values())
    assert _OPENAI_ERRORS.keys() == set(Kind)


@pytest.mark.parametrize(
    ("message", "cost"),
    [
        (common_pb2.Usage(calls=2, unpriced_calls=1), None),
        (common_pb2.Usage(calls=2, cost_usd="0.000450"), "0.000450"),
        (common_pb2.Usage(), "0"),
    ],
)
def test_a_cost_is_exact_unknown_or_nothing(message: common_pb2.Usage, cost: str | None) -> None:
    assert conversions.usage(message).cost_usd == cost


def test_a_document_keeps_the_size_of_its_numbers() -> None:
    run = runs_pb2.Run(status=runs_pb2.RUN_STATUS_QUEUED)
    run.inputs.text = '{"big":12345678901234567890,"one":1,"float":1.0,"no":null}'

    assert conversions.run(run).model_dump_json().count("12345678901234567890") == 1
    assert '"one":1,"float":1.0,"no":null' in conversions.run(run).model_dump_json()
