"""litellm, imported once and in the background: it takes five seconds of CPU, and no one shall wait for it to serve."""

import asyncio
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from cadre_llm_proxy.domain.calls import Abilities
from cadre_llm_proxy.domain.prices import Price, Tier
from cadre_llm_proxy.domain.providers import ModelFacts

__all__ = ["REQUEST", "LitellmLibrary", "PublishedByLitellm", "Request", "litellm_provider"]

# What litellm calls the providers that we call otherwise. Its hosted_vllm is any server that speaks OpenAI's words, at
# two thirds of the CPU of its openai, and without the rules that it has for models of OpenAI's names.
_NAMES = {
    "google": "gemini",
    # Not litellm's own: that asks the server about the model after each call, and blocks the event loop meanwhile.
    "ollama": "hosted_vllm",
    "embedded": "hosted_vllm",
    "openai_compatible": "hosted_vllm",
}


@dataclass(kw_only=True)
class Request:
    """A request that litellm makes: how long it waits for a connection, the status of its answer (0: none yet), and
    whether that is a page for people."""

    connect_seconds: float = 10.0
    status: int = 0
    is_page: bool = False


REQUEST: ContextVar[Request] = ContextVar("REQUEST", default=Request())  # noqa: B039 - nobody reads the default's status
"""That of the present context."""

_TABLE = "model_prices_and_context_window_backup.json"
_MILLION = Decimal(1_000_000)
_MODELS_REMEMBERED = 500
# The columns of long requests, and of other services than the standard one.
_TIER = re.compile(
    r"input_cost_per_token(?P<suffix>(?:_above_(?P<above>\d+)k_tokens)?"
    r"(?:_(?P<service>flex|priority|ultrafast))?)(?<!token)"
)
# What is billed beside tokens of text, and is not counted here.
_NOT_BY_TOKEN = ("input_cost_per_request", "citation_cost_per_token")
_SEARCHES = re.compile(r"-search-|deep-research")


def litellm_provider(provider: str) -> str:
    """What litellm calls one of our providers."""
    return _NAMES.get(provider, provider)


class LitellmLibrary:
    """The imported module. `begin` starts the import, `loaded` waits for it."""

    def __init__(self) -> None:
        self._import: asyncio.Future[ModuleType] | None = None

    def begin(self) -> None:
        """Starts the import, if it has not begun."""
        if self._import is None:
            loop = asyncio.get_running_loop()
            self._import = loop.create_future()
            # A daemon: a stop does not wait for an import under way, as it would for an executor's thread.
            threading.Thread(
                target=_import_for, args=(loop, self._import), name="import-litellm", daemon=True
            ).start()

    async def loaded(self) -> Any:
        """The module."""
        self.begin()
        assert self._import is not None
        return await asyncio.shield(self._import)

    async def close(self) -> None:
        """Closes the connections that litellm keeps; does not wait for an import under way."""
        if self._import is not None and self._import.done() and not self._import.cancelled():
            litellm: Any = self._import.result()
            await litellm.close_litellm_async_clients()
            # Gemini's streams go over this one, which is not among them; closed as a whole, it could not be used again.
            await litellm.module_level_aclient.client._transport.aclose()
            # It would go on handing out the closed ones.
            litellm.in_memory_llm_clients_cache.flush_cache()


class PublishedByLitellm:
    """What litellm's bundled table says of models; read from its file, as importing litellm takes seconds."""

    def __init__(self) -> None:
        folder = _package_folder()
        self._rows: dict[str, Any] = json.loads((folder / _TABLE).read_bytes())
        in_table = {str(row.get("litellm_provider")) for row in self._rows.values()}
        with_code = {each.name for each in (folder / "llms").iterdir() if each.is_dir()}
        self._providers = in_table | with_code
        self._found = lru_cache(_MODELS_REMEMBERED)(self._read)

    def knows_provider(self, provider: str) -> bool:
        """Whether litellm knows it."""
        return provider in self._providers

    def facts(self, provider: str, model: str) -> ModelFacts:
        """Price and context; unknown for a model that is not in the table, and for a price that is not by token."""
        return self._found(provider, model)

    def _read(self, provider: str, model: str) -> ModelFacts:
        row = self._row(litellm_provider(provider), model)
        if row is None:
            return ModelFacts()
        return ModelFacts(
            price=_price(model, row),
            context_tokens=int(row.get("max_input_tokens") or 0),
            max_output_tokens=int(row.get("max_output_tokens") or 0),
            abilities=_abilities(row),
        )

    def _row(self, provider: str, model: str) -> dict[str, Any] | None:
        for key in (f"{provider}/{model}", model):
            row: dict[str, Any] | None = self._rows.get(key)
            if row is not None and row.get("litellm_provider") == provider:
                return row
        return None


def _package_folder() -> Path:
    found = find_spec("litellm")
    assert found is not None, "litellm is installed with this service"
    assert found.submodule_search_locations, "litellm is a package"
    return Path(found.submodule_search_locations[0])


def _abilities(row: dict[str, Any]) -> Abilities:
    return Abilities(
        tools=bool(row.get("supports_function_calling")),
        schema=bool(row.get("supports_response_schema")),
        images=bool(row.get("supports_vision")),
        reasoning=bool(row.get("supports_reasoning")),
        embeddings=row.get("mode") == "embedding",
    )


def _price(key: str, row: dict[str, Any]) -> Price | None:
    if any(row.get(column) for column in _NOT_BY_TOKEN) or _always_searches(key, row):
        return None
    thought = row.get("output_cost_per_reasoning_token")
    if thought is not None and thought != row.get("output_cost_per_token"):
        return None
    basic = _priced(row, "")
    return basic and replace(basic, tiers=tuple(_tiers(row)))


def _always_searches(key: str, row: dict[str, Any]) -> bool:
    """Whether a model looks things up for each reply, which is billed by the search."""
    is_made_for_it = row.get("litellm_provider") == "perplexity" or _SEARCHES.search(key)
    return bool(row.get("search_context_cost_per_query") and is_made_for_it)


def _tiers(row: dict[str, Any]) -> Iterator[Tier]:
    for column in row:
        if found := _TIER.fullmatch(column):
            price = _priced(row, found["suffix"])
            if price is not None:
                above = int(found["above"] or 0) * 1000
                yield Tier(price=price, service=found["service"] or "", above_tokens=above)


def _priced(row: dict[str, Any], suffix: str) -> Price | None:
    prompt = _per_million(row, f"input_cost_per_token{suffix}")
    reply = _per_million(row, f"output_cost_per_token{suffix}")
    if reply is None and row.get("mode") == "embedding":
        # There is none: vectors are no tokens.
        reply = Decimal(0)
    if prompt is None or reply is None:
        return None
    return Price(
        input=prompt,
        output=reply,
        cache_read=_per_million(row, f"cache_read_input_token_cost{suffix}"),
        cache_write=_per_million(row, f"cache_creation_input_token_cost{suffix}"),
    )


def _per_million(row: dict[str, Any], column: str) -> Decimal | None:
    per_token = row.get(column)
    # The table has floats; their shortest text is what its authors wrote.
    return None if per_token is None else (Decimal(str(per_token)) * _MILLION).normalize()


def _import_for(loop: asyncio.AbstractEventLoop, future: asyncio.Future[ModuleType]) -> None:
    # The loop is closed when the service was stopped meanwhile.
    with suppress(RuntimeError):
        try:
            module = _imported()
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a thread; whoever waits gets it
            loop.call_soon_threadsafe(future.set_exception, exc)
        else:
            loop.call_soon_threadsafe(future.set_result, module)


def _imported() -> ModuleType:
    # Without these the import fetches a price list, and the first call to Anthropic another; each waits for some
    # seconds where there is no network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    # Its events quote prompts, and addresses of images; what goes wrong is told by our errors.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    from cadre_llm_proxy.adapters.litellm_endings import keep_endings
    from cadre_llm_proxy.adapters.litellm_transport import bound_requests

    bound_requests()
    keep_endings()
    return litellm
