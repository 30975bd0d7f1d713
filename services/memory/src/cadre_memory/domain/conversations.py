"""What can be done with conversations: messages added to the end, and read from the end."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from cadre_memory.domain.items import FieldInvalid, Item, valid_namespace
from cadre_memory.domain.memories import ANSWER_BYTES, Clock, once_of, within
from cadre_memory.domain.messages import (
    AT_ONCE,
    END,
    Message,
    drafts_after,
    tokens_of,
    understood,
    valid_messages,
)
from cadre_memory.domain.stores import Embedder, Store
from cadre_memory.domain.summaries import SUMMARY_KEY, Summary, summary_of
from cadre_memory.domain.texts import at_once_if_short

DEFAULT_LIMIT = 100
_MOST_TOKENS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Recent:
    """The end of a conversation, or of a part of it, oldest first, whether there is something before, and a summary of
    that, where it was asked for and there is one."""

    messages: tuple[Item, ...]
    more: bool
    summary: Summary | None = None


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """The use cases. Each raises FieldInvalid for what is outside of a limit, and what its store raises."""

    store: Store
    embedder: Embedder
    clock: Clock

    async def append(
        self, *, namespace: tuple[str, ...], messages: Sequence[Message], idempotency_key: str
    ) -> int:
        """Adds messages to the end of a conversation; the position of the first of them."""
        namespace, messages = valid_namespace(namespace), valid_messages(messages)
        parts = (part for message in messages for part in _identity(message))
        once = once_of(idempotency_key, "append", chain(namespace, parts))
        said = await at_once_if_short(
            lambda: understood(messages, embedder=self.embedder),
            texts=[message.text for message in messages],
        )
        return await self.store.append(
            namespace,
            lambda last: drafts_after(last, said, namespace=namespace),
            now=self.clock(),
            once=once,
        )

    async def recent(
        self,
        *,
        namespace: tuple[str, ...],
        limit: int,
        max_tokens: int,
        before: int,
        with_summary: bool = False,
    ) -> Recent:
        """The newest messages before a position (0 for the end), within a number and a number of tokens.

        A summary takes its part of the tokens, at most half, and comes only where there are messages before these.
        """
        namespace = valid_namespace(namespace)
        limit = within("limit", limit, most=AT_ONCE, default=DEFAULT_LIMIT)
        tokens = within("max_tokens", max_tokens, most=_MOST_TOKENS, default=_MOST_TOKENS)
        if before < 0:
            raise FieldInvalid(
                "before_position",
                f"before_position is {before}; 0 and up are allowed",
                code="POSITION_INVALID",
            )
        found = await self.store.messages(
            namespace,
            first=0,
            before=before or END,
            limit=limit + 1,
            max_bytes=ANSWER_BYTES,
            now=self.clock(),
        )
        kept = _within_tokens(found[:limit], tokens)
        summary = None
        if with_summary and (len(kept) < len(found) or await self._is_more(namespace, kept)):
            summary = await self._summary(namespace, tokens // 2)
        if summary is not None:
            kept = _within_tokens(kept, tokens - tokens_of(summary.text))
        # A store that ran out of bytes gave fewer than there are, but never all.
        more = len(kept) < len(found) or await self._is_more(namespace, kept)
        return Recent(messages=tuple(reversed(kept)), more=more, summary=summary)

    async def _summary(self, namespace: tuple[str, ...], tokens: int) -> Summary | None:
        """The conversation's summary, if it has one that is not longer than this."""
        item = await self.store.get(namespace, SUMMARY_KEY, version=0, now=self.clock())
        found = None if item is None else summary_of(item)
        return found if found is not None and tokens_of(found.text) <= tokens else None

    async def _is_more(self, namespace: tuple[str, ...], kept: Sequence[Item]) -> bool:
        if not kept or kept[-1].turn is None:
            return False
        earlier = await self.store.messages(
            namespace,
            first=0,
            before=kept[-1].turn.position,
            limit=1,
            max_bytes=1,
            now=self.clock(),
        )
        return bool(earlier)


def _within_tokens(newest_first: Sequence[Item], tokens: int) -> Sequence[Item]:
    kept: list[Item] = []
    for item in newest_first:
        tokens -= tokens_of(json.loads(item.value))
        if tokens < 0 and kept:
            break
        kept.append(item)
    return kept


def _identity(message: Message) -> Sequence[str]:
    # Without its time: one that the caller left out is another at the repeat.
    return (
        str(int(message.role)),
        message.name,
        message.text,
        message.session,
        message.metadata,
    )
