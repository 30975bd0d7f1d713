"""Prices and limits of models that the operator wrote down; they go before those that are published."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # PyYAML ships no annotations
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cadre_llm_proxy.domain.facts import PricesFileInvalid
from cadre_llm_proxy.domain.prices import Price, Tier
from cadre_llm_proxy.domain.providers import ModelFacts, PublishedModels

__all__ = ["OwnPrice", "PricedModels", "read_prices"]


class _Amounts(BaseModel):
    """US dollars per million tokens, best as quoted decimals."""

    model_config = ConfigDict(extra="forbid")

    input: Decimal = Field(ge=0, allow_inf_nan=False)
    output: Decimal = Field(ge=0, allow_inf_nan=False)
    cache_read: Decimal | None = Field(None, ge=0, allow_inf_nan=False)
    cache_write: Decimal | None = Field(None, ge=0, allow_inf_nan=False)

    def price(self) -> Price:
        """The price."""
        return Price(
            input=self.input,
            output=self.output,
            cache_read=self.cache_read,
            cache_write=self.cache_write,
        )


class _OwnTier(_Amounts):
    """The price of requests to another service of the provider, or with more than so many tokens of input."""

    service: str = ""
    above_tokens: int = Field(0, ge=0)


class OwnPrice(_Amounts):
    """What the file says of one model."""

    max_output_tokens: int | None = Field(None, ge=1)
    tiers: list[_OwnTier] = []

    def price(self) -> Price:
        """The price, with that of other requests."""
        tiers = [
            Tier(price=each.price(), service=each.service, above_tokens=each.above_tokens)
            for each in self.tiers
        ]
        return replace(super().price(), tiers=tuple(tiers))


_FILE = TypeAdapter(dict[str, OwnPrice])


def read_prices(path: Path | None) -> Mapping[str, OwnPrice]:
    """What the file says, by PROVIDER/MODEL; nothing without a file. Raises PricesFileInvalid."""
    if path is None:
        return {}
    try:
        return _FILE.validate_python(yaml.safe_load(path.read_text()) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise _invalid(path, "it is not a YAML file that can be read") from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise _invalid(path, f"at {place}: {first['msg']}") from exc


class PricedModels:
    """What is published of models, with the operator's own prices."""

    def __init__(self, published: PublishedModels, *, own: Mapping[str, OwnPrice]) -> None:
        self._published = published
        self._own = own

    def facts(self, provider: str, model: str) -> ModelFacts:
        """What is known of a model."""
        facts = self._published.facts(provider, model)
        own = self._own.get(f"{provider}/{model}")
        if own is None:
            return facts
        limit = own.max_output_tokens or facts.max_output_tokens
        return replace(facts, price=own.price(), max_output_tokens=limit)

    def knows_provider(self, provider: str) -> bool:
        """Whether requests can be put in that provider's words."""
        return self._published.knows_provider(provider)


def _invalid(path: Path, why: str) -> PricesFileInvalid:
    return PricesFileInvalid(
        f"the file of prices {str(path)!r} cannot be used: {why}",
        resolution='Correct it, or CADRE_PRICES_FILE. Each entry is PROVIDER/MODEL: {input: "0.4", output: "1.6"}.',
        metadata={"file": str(path)},
    )
