"""Groups of models, and what models can do, as the operator wrote them down."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cadre_llm_proxy.domain.calls import Abilities
from cadre_llm_proxy.domain.facts import ModelsFileInvalid
from cadre_llm_proxy.domain.providers import ModelFacts, PublishedModels
from cadre_llm_proxy.domain.routes import Deployment, Group, Limits

__all__ = ["AbleModels", "OwnAbilities", "OwnModels", "read_models"]

_MODEL = r"^[a-z0-9_-]+/\S+$"
_ADDRESS = r"^(https?://[^/\s]+(/\S*)?)?$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OwnAbilities(_Strict):
    """What the file says a model can do by itself; None leaves it as it is published."""

    tools: bool | None = None
    json_schema: bool | None = None
    images: bool | None = None
    reasoning: bool | None = None

    def over(self, published: Abilities) -> Abilities:
        """These abilities, and for those that it does not speak of, the published ones."""
        said = {
            "tools": self.tools,
            "schema": self.json_schema,
            "images": self.images,
            "reasoning": self.reasoning,
        }
        return replace(published, **{name: v for name, v in said.items() if v is not None})


class _Deployment(_Strict):
    model: str = Field(pattern=_MODEL)
    api_base: str = Field("", pattern=_ADDRESS)
    api_key_env: str = ""
    weight: float = Field(1.0, gt=0, le=1_000_000)
    concurrent: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    queue: int = Field(100, ge=0)

    def deployment(self) -> Deployment:
        provider, _, model = self.model.partition("/")
        return Deployment(
            provider=provider,
            model=model,
            api_base=self.api_base,
            api_key_env=self.api_key_env,
            weight=self.weight,
            limits=Limits(
                concurrent=self.concurrent,
                requests_per_minute=self.requests_per_minute,
                tokens_per_minute=self.tokens_per_minute,
                queue=self.queue,
            ),
        )


class _Group(_Strict):
    deployments: list[_Deployment] = Field(min_length=1)
    fallbacks: list[str] = Field(default_factory=list)


class _File(_Strict):
    groups: dict[str, _Group] = Field(default_factory=dict)
    abilities: dict[str, OwnAbilities] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OwnModels:
    """What the file says: groups by name, abilities by PROVIDER/MODEL."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    abilities: Mapping[str, OwnAbilities] = field(default_factory=dict)


def read_models(path: Path | None) -> OwnModels:
    """What the file says; nothing without a file. Raises ModelsFileInvalid."""
    if path is None:
        return OwnModels()
    try:
        file = _File.model_validate(yaml.safe_load(path.read_text()) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise _invalid(path, "it is not a YAML file that can be read") from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _invalid(path, f"at {place}: {first['msg']}") from exc
    _check_fallbacks(path, file)
    return OwnModels(
        groups={name: _group(name, group) for name, group in file.groups.items()},
        abilities=file.abilities,
    )


def _group(name: str, group: _Group) -> Group:
    deployments = tuple(each.deployment() for each in group.deployments)
    return Group(name=name, deployments=deployments, fallbacks=tuple(group.fallbacks))


def _check_fallbacks(path: Path, file: _File) -> None:
    for name, group in file.groups.items():
        for fallback in group.fallbacks:
            if fallback not in file.groups and "/" not in fallback:
                raise _invalid(path, f"group {name!r} falls back on {fallback!r}, which is none")


class AbleModels:
    """What is published of models, with what the operator says they can do."""

    def __init__(self, published: PublishedModels, *, own: Mapping[str, OwnAbilities]) -> None:
        self._published = published
        self._own = own

    def facts(self, provider: str, model: str) -> ModelFacts:
        """What is known of a model."""
        facts = self._published.facts(provider, model)
        own = self._own.get(f"{provider}/{model}")
        return facts if own is None else replace(facts, abilities=own.over(facts.abilities))

    def knows_provider(self, provider: str) -> bool:
        """Whether requests can be put in that provider's words."""
        return self._published.knows_provider(provider)


def _invalid(path: Path, why: str) -> ModelsFileInvalid:
    return ModelsFileInvalid(
        f"the file of models {str(path)!r} cannot be used: {why}",
        resolution="Correct it, or CADRE_LLM_MODELS_FILE; the README of the llm-proxy shows one.",
        metadata={"file": str(path)},
    )
