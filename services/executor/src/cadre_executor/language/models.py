"""Compiles which model a node asks: its own choice over its provider's defaults over the file's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cadre_executor.domain.workflows import ModelChoice
from cadre_executor.language.node_shapes import LlmDefaultsShape, LlmOptionsShape, ModelShape
from cadre_executor.language.positions import Path
from cadre_executor.language.reports import Report, shown

KNOWN_PROVIDERS = ("openai", "anthropic", "google", "ollama", "embedded", "openai_compatible")

_OF_ANY_PROVIDER = frozenset({"temperature", "max_tokens", "top_p", "seed", "stop"})
_MODEL_FIELDS = frozenset(field.name for field in fields(ModelChoice)) - {"fallbacks"}


@dataclass(frozen=True, kw_only=True)
class ModelCompiler:
    """Compiles the choices of models of one file, whose defaults are `shared`."""

    shared: LlmDefaultsShape | None
    report: Report

    def choice(self, shape: LlmOptionsShape | None, path: Path) -> ModelChoice:
        """The choice of one node, with what is asked when its model cannot answer."""
        merged = self._merged(_given(shape), _given(self.shared))
        at: Path = (*path, "llm") if shape is not None else ("config", "llm")
        self._check_provider(merged, at)
        listed: LlmOptionsShape | None = shape
        if listed is None or listed.fallbacks is None:
            listed, at = self.shared, ("config", "llm")
        fallbacks = [] if listed is None else listed.fallbacks or []
        return _choice(
            merged,
            tuple(
                self._fallback(each, merged, (*at, "fallbacks", index))
                for index, each in enumerate(fallbacks)
            ),
        )

    def _merged(self, own: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
        provider = own.get("provider", shared.get("provider", ""))
        if provider != shared.get("provider", "") and "provider" in own:
            shared = _portable(shared)
        of_provider: dict[str, Any] = {}
        if self.shared is not None and self.shared.providers:
            of_provider = _given(self.shared.providers.get(str(provider)))
        return {**shared, **of_provider, **own}

    def _fallback(
        self, shape: str | ModelShape, first: Mapping[str, Any], path: Path
    ) -> ModelChoice:
        """A model asked later: what suits any provider is taken over from the first, the rest is its own."""
        own = _named(shape) if isinstance(shape, str) else _given(shape)
        if not own.get("model") and not own.get("provider"):
            self.report.error(
                "MISSING_FIELD",
                path,
                "a fallback names a provider, a model or both",
                "write provider/model, or {provider: ..., model: ...}",
            )
        if "provider" not in own and "provider" in first:
            own = {**first, **own}
        merged = self._merged(own, _portable(first))
        self._check_provider(merged, path)
        return _choice(merged, ())

    def _check_provider(self, merged: Mapping[str, object], path: Path) -> None:
        provider = str(merged.get("provider", ""))
        if provider == "openai_compatible" and "api_base" not in merged:
            self.report.error(
                "MISSING_FIELD",
                path,
                "provider openai_compatible needs `api_base`",
                "add api_base: http://host:port/v1",
            )
        if provider and provider not in KNOWN_PROVIDERS:
            near = self.report.nearest(provider, KNOWN_PROVIDERS)
            if near and near[:1] == provider[:1]:
                self.report.note(
                    "UNUSUAL_PROVIDER",
                    (*path, "provider"),
                    f"{shown(provider)} is none of the usual providers",
                    f"did you mean `{near}`?",
                )


def _given(shape: ModelShape | None) -> dict[str, Any]:
    """What a block says, nothing else."""
    if shape is None:
        return {}
    values = {
        name: getattr(shape, name) for name in shape.model_fields_set if name in _MODEL_FIELDS
    }
    return {name: value for name, value in values.items() if value is not None}


def _named(text: str) -> dict[str, Any]:
    """What `provider/model` says; without a slash it is a model of the same provider."""
    provider, slash, model = text.strip().partition("/")
    return {"provider": provider, "model": model} if slash else {"model": provider}


def _portable(options: Mapping[str, Any]) -> dict[str, Any]:
    """What means the same to every provider."""
    return {name: value for name, value in options.items() if name in _OF_ANY_PROVIDER}


def _choice(options: Mapping[str, Any], fallbacks: tuple[ModelChoice, ...]) -> ModelChoice:
    stop = options.get("stop", ())
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    return ModelChoice(**{**options, "stop": stops, "fallbacks": fallbacks})
