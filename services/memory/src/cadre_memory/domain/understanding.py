"""What is searched of items; and of those that another model understood, or none yet, understood anew."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cadre_kit.documents import from_json_text
from cadre_memory.domain.entries import Entry, Searched, cues_of, thread_of
from cadre_memory.domain.items import Item
from cadre_memory.domain.messages import Message, searched_message
from cadre_memory.domain.stores import (
    Embedder,
    Refreshed,
    Stale,
    Store,
    TextRefused,
    micros,
)
from cadre_memory.domain.texts import indexed, searched_text, words_in

# No more than a provider takes in one request: what one answered is kept before the next is asked.
_AT_ONCE = 256
_HARMLESS = "memory"


def searched_value(
    value: object, fields: tuple[str, ...] | None, *, key: str, said: datetime
) -> Searched:
    """What is searched of a document, or of some of its parts, and of its key unless there is no part."""
    text = searched_text(value, fields)
    words = words_in(text)
    signs, first_day, last_day = cues_of(text, words, said=said)
    entry = Entry(
        item_id=0,
        expires=None,
        said=micros(said),
        thread=0,
        position=0,
        speaker="",
        role=0,
        signs=signs,
        first_day=first_day,
        last_day=last_day,
        terms=indexed(words, () if fields == () else words_in(key)),
        embedding=None,
    )
    return Searched(entry=entry, text=text)


@dataclass(frozen=True, kw_only=True)
class Understanding:
    """Brings what is searched up to the embedder's model, while all of it is served."""

    store: Store
    embedder: Embedder

    async def refresh(self) -> int:
        """Understands all that is stale; says how many items. Raises what the embedder and the store raise."""
        refreshed = 0
        while stale := await self.store.stale(limit=_AT_ONCE):
            searched = await asyncio.to_thread(_all_searched, stale)
            await self.store.refresh(await self._understood(stale, searched))
            refreshed += len(stale)
        return refreshed

    async def _understood(
        self, stale: Sequence[Stale], searched: Sequence[Searched]
    ) -> Sequence[Refreshed]:
        """The new entries; texts that some item still has, by this model, are not asked for again."""
        texts = {_digest(each.text): each.text for each in searched}
        known: dict[bytes, bytes | None] = {}
        if self.embedder.costs:
            known |= await self.store.meanings(list(texts))
        missing = [digest for digest in texts if digest not in known]
        bought = await self._bought([texts[digest] for digest in missing])
        known |= dict(zip(missing, bought, strict=True))
        return [
            self._refreshed(old, new.entry, known, _digest(new.text))
            for old, new in zip(stale, searched, strict=True)
        ]

    def _refreshed(
        self, stale: Stale, entry: Entry, known: Mapping[bytes, bytes | None], digest: bytes
    ) -> Refreshed:
        return Refreshed(
            stale=stale,
            entry=entry.meaning(known[digest]),
            digest=digest if self.embedder.costs else b"",
        )

    async def _bought(self, texts: Sequence[str]) -> list[bytes | None]:
        """Their meanings. A text that its model refuses has none: only its words are found."""
        if not texts:
            return []
        try:
            return list(await self.embedder.understand(texts))
        except TextRefused:
            if len(texts) == 1:
                # A model that refuses everything is the one at fault.
                await self.embedder.understand([_HARMLESS])
                return [None]
        half = len(texts) // 2
        return [*await self._bought(texts[:half]), *await self._bought(texts[half:])]


def _all_searched(stale: Sequence[Stale]) -> list[Searched]:
    return [_searched(each.item) for each in stale]


def _searched(item: Item) -> Searched:
    if item.turn is None:
        value = from_json_text(item.value, field="value")
        return searched_value(value, item.fields, key=item.key, said=item.updated)
    searched = searched_message(Message.of(item, item.turn))
    thread = thread_of(item.namespace, item.turn.session)
    entry = searched.entry._replace(thread=thread, position=item.turn.position)
    return Searched(entry=entry, text=searched.text)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
