"""Replies that are given again: to the same idempotency key always, to the same request where a cache was asked for."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol

from cadre_kit.ids import new_id
from cadre_llm_proxy.domain.calls import CompletionRequest, Reply, Usage
from cadre_llm_proxy.domain.entries import Entry, EntryStatus, StoredReply
from cadre_llm_proxy.domain.facts import CallUnderWay
from cadre_llm_proxy.domain.metering import Call
from cadre_llm_proxy.domain.prices import FREE, Tokens, cost_of
from cadre_llm_proxy.domain.turns import Turns, key_reused

__all__ = ["Claim", "Replies", "Shelf", "cache_key"]

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who answers an idempotency key now: we, when it `is_ours`, or another process with a request of that digest."""

    request_digest: str
    is_ours: bool


class Shelf(Protocol):
    """Where replies are kept, for all processes of one database."""

    async def claim(self, key: str, digest: str) -> StoredReply | Claim:
        """The reply kept for a key, or else the claim to it, which is ours if nobody alive has it."""
        ...

    async def release(self, key: str) -> None:
        """Gives our claim up, so that others may answer the key. Keeping a reply for the key does so, too."""
        ...

    async def cached(self, key: str, *, since: datetime) -> Reply | None:
        """The reply cached under a key at that time or later."""
        ...

    async def note_reuse(self, entry: Entry) -> None:
        """Adds the entry of a reply that is given again, in its own time."""
        ...


class Replies:
    """Finds replies that can be given again, and lets one call at a time answer an idempotency key."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._turns = Turns()

    @asynccontextmanager
    async def of_key(
        self, request: CompletionRequest, key: str, digest: str
    ) -> AsyncIterator[Reply | None]:
        """The reply that the key has. Without one the key is ours within the block: nobody else answers it meanwhile.

        Raises KeyReused when it came with another request, CallUnderWay when another process is too long at it.
        """
        if not key:
            yield None
            return
        async with self._turns.of(key, digest):
            stored = await self._claimed(request, key, digest)
            if stored is not None:
                await self._note(request, key, stored, EntryStatus.REPLAYED)
                yield replace(stored.reply, replayed=True)
                return
            try:
                yield None
            except BaseException:
                await self._shelf.release(key)
                raise

    async def cached(self, call: Call) -> Reply | None:
        """A reply to the same request that is young enough."""
        seconds = call.request.cache_seconds
        if not seconds:
            return None
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        found = await self._shelf.cached(cache_key(call), since=since)
        if found is None:
            return None
        if call.key:
            await self._shelf.release(call.key)
        stored = StoredReply(request_digest=call.digest, model=call.target.model, reply=found)
        await self._note(call.request, call.key, stored, EntryStatus.CACHED)
        return replace(found, cached=True, usage=Usage(), warnings=())

    async def _claimed(
        self, request: CompletionRequest, key: str, digest: str
    ) -> StoredReply | None:
        give_up, pause = monotonic() + request.timeout_seconds, _FIRST_PAUSE_SECONDS
        while True:
            found = await self._shelf.claim(key, digest)
            if found.request_digest != digest:
                raise key_reused(key)
            if isinstance(found, StoredReply):
                return found
            if found.is_ours:
                return None
            if monotonic() > give_up:
                raise _under_way(key)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _note(
        self, request: CompletionRequest, key: str, stored: StoredReply, status: EntryStatus
    ) -> None:
        reply = stored.reply
        await self._shelf.note_reuse(
            Entry(
                id=new_id(),
                time=datetime.now(UTC),
                idempotency_key=key,
                request_digest=stored.request_digest,
                attribution=request.attribution,
                provider=reply.provider,
                model=stored.model,
                price=None,
                reserved_usd=None,
                reserved_tokens=0,
                status=status,
                tokens=Tokens(),
                cost_usd=cost_of(Tokens(), FREE),
                saved_usd=reply.usage.cost_usd,
                saved_tokens=reply.usage.input_tokens + reply.usage.output_tokens,
            )
        )


def cache_key(call: Call) -> str:
    """What its reply is cached under; empty when it shall not be. Workflows do not see each other's replies."""
    if not call.request.cache_seconds:
        return ""
    said = [call.request.attribution.workflow, call.target.provider, call.target.model, call.digest]
    return hashlib.sha256("\0".join(said).encode(errors="surrogatepass")).hexdigest()


def _under_way(key: str) -> CallUnderWay:
    return CallUnderWay(
        f"another llm-proxy is still at work on the call with the idempotency key {key!r}",
        resolution="Ask again with the same key; the reply is kept for it.",
        metadata={"key": key},
    )
