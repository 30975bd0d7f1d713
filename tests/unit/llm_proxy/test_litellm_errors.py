"""The table of litellm's exceptions."""

import importlib
import inspect

import pytest

from cadre_kit.errors import CadreError
from cadre_llm_proxy.adapters.litellm_errors import FAILURES, failure_of
from cadre_llm_proxy.domain import facts
from cadre_llm_proxy.domain.calls import Target

TARGET = Target(provider="openai", model="m")


def _exceptions() -> set[str]:
    module = importlib.import_module("litellm.exceptions")
    return {
        name
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, Exception) and cls.__module__ == module.__name__
    }


def test_every_exception_of_litellm_is_in_the_table() -> None:
    assert _exceptions() - FAILURES.keys() == set()


@pytest.mark.parametrize("fact", list(dict.fromkeys(FAILURES.values())))
def test_every_fact_has_words_and_a_kind(fact: type[facts.ProviderFailure]) -> None:
    name = next(name for name, cls in FAILURES.items() if cls is fact)
    error: Exception = type(name, (Exception,), {})("Incorrect key sk-secret")

    failure = failure_of(error, TARGET, seconds=2)

    assert isinstance(failure, CadreError)
    assert failure.code != "INTERNAL"
    assert failure.resolution
    assert "sk-secret" not in f"{failure!r} {failure.metadata} {failure.resolution}"
