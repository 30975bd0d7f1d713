"""Every provider's models: each asked in the way that suits it, the embedded ones in this machine."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace

from cadre_llm_proxy.adapters.embedded import EmbeddedModel
from cadre_llm_proxy.adapters.litellm_models import LitellmModels
from cadre_llm_proxy.adapters.openai_http import OpenAiHttp
from cadre_llm_proxy.adapters.picture_fetching import PictureFetching
from cadre_llm_proxy.adapters.taken_params import refuse_unknown_params
from cadre_llm_proxy.adapters.word_vectors import WordVectors
from cadre_llm_proxy.domain.calls import Answer, Ask, Delta, EmbedAsk, Embeddings, Options
from cadre_llm_proxy.domain.facts import ProviderTimeout
from cadre_llm_proxy.domain.providers import EMBEDDED, OLLAMA, OPENAI, OPENAI_COMPATIBLE
from cadre_llm_proxy.domain.schemas import bounded

__all__ = ["AnyModels"]

_SPEAK_OPENAI = frozenset({OPENAI, OLLAMA, OPENAI_COMPATIBLE})
# For the others litellm would: without judging addresses, and some of it while everything else waits.
_FETCH_PICTURES = frozenset({OPENAI, OPENAI_COMPATIBLE})
_EMBEDDED_TEXT_TOKENS = 256
_EMBEDDED_JSON_TOKENS = 512


class AnyModels:
    """Asks straight over HTTP whoever speaks OpenAI's format, and the others through litellm."""

    def __init__(
        self,
        *,
        direct: OpenAiHttp,
        litellm: LitellmModels,
        embedded: EmbeddedModel,
        vectors: WordVectors,
        pictures: PictureFetching,
    ) -> None:
        self._direct = direct
        self._litellm = litellm
        self._embedded = embedded
        self._vectors = vectors
        self._pictures = pictures

    async def ask(self, ask: Ask) -> Answer:
        """One answer. Raises a ProviderFailure; cancelling closes the connection."""
        refuse_unknown_params(ask)
        if ask.target.provider != EMBEDDED:
            shown = await self._pictures.shown(ask) if _needs_pictures(ask) else ask
            return await self._way(ask.target.provider).ask(shown)
        async with self._embedded_place(ask) as placed:
            return await self._direct.ask(placed)

    def stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        """Text as it is written, then the whole answer. Raises a ProviderFailure; closing closes the connection."""
        refuse_unknown_params(ask)
        if ask.target.provider == EMBEDDED:
            return self._embedded_stream(ask)
        if _needs_pictures(ask):
            return self._shown_stream(ask)
        return self._way(ask.target.provider).stream(ask)

    async def _shown_stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        shown = await self._pictures.shown(ask)
        async with aclosing(self._way(ask.target.provider).stream(shown)) as parts:
            async for part in parts:
                yield part

    async def _embedded_stream(self, ask: Ask) -> AsyncGenerator[Delta | Answer]:
        async with (
            self._embedded_place(ask) as placed,
            aclosing(self._direct.stream(placed)) as parts,
        ):
            async for part in parts:
                yield part

    async def embed(self, ask: EmbedAsk) -> Embeddings:
        """Vectors of texts. Raises a ProviderFailure."""
        if ask.target.provider == EMBEDDED:
            return await self._vectors.embed(ask)
        return await self._way(ask.target.provider).embed(ask)

    def _way(self, provider: str) -> OpenAiHttp | LitellmModels:
        return self._direct if provider in _SPEAK_OPENAI else self._litellm

    @asynccontextmanager
    async def _embedded_place(self, ask: Ask) -> AsyncIterator[Ask]:
        """The request as the embedded model takes it, once there is a place for it. Raises ProviderTimeout."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(ask.seconds):
                    endpoint = await stack.enter_async_context(self._embedded.slot())
            except TimeoutError as exc:
                raise ProviderTimeout(
                    f"no place at the embedded model came free within {ask.seconds:.1f} s",
                    resolution="Try again later, or give the node a longer timeout.",
                ) from exc
            target = replace(ask.target, api_base=endpoint.api_base, api_key=endpoint.api_key)
            yield replace(
                ask,
                target=target,
                options=_embedded_options(ask),
                output_schema=None if ask.output_schema is None else bounded(ask.output_schema),
            )


def _needs_pictures(ask: Ask) -> bool:
    """Whether there are addresses of pictures that the provider does not fetch."""
    if ask.target.provider in _FETCH_PICTURES:
        return False
    return any(image.url for message in ask.messages for image in message.images)


def _embedded_options(ask: Ask) -> Options:
    """A small model rambles: it is kept short and to what is likeliest, where the caller said nothing."""
    options = ask.options
    default = _EMBEDDED_TEXT_TOKENS if ask.output_schema is None else _EMBEDDED_JSON_TOKENS
    return replace(
        options,
        temperature=0.0 if options.temperature is None else options.temperature,
        max_tokens=default if options.max_tokens is None else options.max_tokens,
    )
