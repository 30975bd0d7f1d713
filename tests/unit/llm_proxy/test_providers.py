"""Which model is meant, and which key goes where."""

from pathlib import Path

import pytest

from cadre_llm_proxy.domain.calls import Options
from cadre_llm_proxy.domain.facts import KeyMissing, KeyVariableRefused
from cadre_llm_proxy.domain.prices import FREE
from cadre_llm_proxy.domain.providers import ModelFacts, Providers
from cadre_llm_proxy.settings import ProcessEnvironment, SecretFileUnreadable


class Nothing:
    """Knows no model."""

    def facts(self, provider: str, model: str) -> ModelFacts:
        return ModelFacts()

    def knows_provider(self, provider: str) -> bool:
        return provider == "mistral"


def providers(default_model: str = "", **variables: str) -> Providers:
    return Providers(
        environment=ProcessEnvironment(variables), published=Nothing(), default_model=default_model
    )


@pytest.mark.parametrize(
    ("variables", "provider"),
    [
        ({}, "embedded"),
        ({"GOOGLE_API_KEY": "k"}, "google"),
        ({"ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k"}, "anthropic"),
        ({"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}, "openai"),
    ],
)
def test_the_default_is_the_first_provider_with_a_key(
    variables: dict[str, str], provider: str
) -> None:
    assert providers(**variables).target(Options()).provider == provider


def test_the_default_can_be_set() -> None:
    chosen = providers("gemini/gemini-2.5-pro", OPENAI_API_KEY="k", GEMINI_API_KEY="g")

    target = chosen.target(Options())

    assert (target.provider, target.model) == ("google", "gemini-2.5-pro")


def test_a_providers_default_model_can_be_set() -> None:
    target = providers(OPENAI_API_KEY="k", CADRE_OPENAI_MODEL="gpt-9").target(
        Options(provider="openai")
    )

    assert target.model == "gpt-9"


def test_a_key_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")

    target = providers(OPENAI_API_KEY_FILE=str(tmp_path / "key")).target(Options())

    assert target.api_key is not None
    assert target.api_key.get_secret_value() == "sk-1"
    assert "sk-1" not in repr(target)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretFileUnreadable, match="OPENAI_API_KEY_FILE"):
        providers(OPENAI_API_KEY_FILE=str(tmp_path / "none")).target(Options())


def test_a_missing_key_names_its_variable() -> None:
    with pytest.raises(KeyMissing, match="ANTHROPIC_API_KEY"):
        providers().target(Options(provider="anthropic"))


@pytest.mark.parametrize("variable", ["PATH", "CADRE_API_KEY", "OPENAI_API_KEY", "DATABASE_URL"])
def test_other_secrets_are_not_carried_to_an_address_that_a_workflow_names(variable: str) -> None:
    options = Options(
        provider="openai_compatible", model="m", api_base="http://e.test/v1", api_key_env=variable
    )

    with pytest.raises(KeyVariableRefused):
        providers(**{variable: "secret"}).target(options)


def test_a_local_model_is_free() -> None:
    assert providers().target(Options(provider="ollama")).price == FREE


def test_what_can_be_used_now_is_listed_as_such() -> None:
    listed = {model.provider: model for model in providers(OPENAI_API_KEY="k").listed()}

    assert listed["embedded"].unavailable_reason == ""
    assert listed["openai"].unavailable_reason == ""
    assert "ANTHROPIC_API_KEY" in listed["anthropic"].unavailable_reason
    assert [m.provider for m in providers().listed() if m.default] == ["embedded"]
