"""Messages with what a model makes of them afterwards."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.items import LABELS, FieldInvalid
from cadre_memory.domain.learning import parts_to_learn
from cadre_memory.domain.messages import Message
from cadre_memory.domain.models import Asker
from cadre_memory.domain.work import Job, Kind, Queue, job_id

_LEAST_TOKENS, _MOST_TOKENS = 100, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What is made of a conversation: a summary above so many tokens (0 for none), facts from the new messages."""

    asker: Asker
    summary_tokens: int = 0
    learn: bool = False


@dataclass(frozen=True, kw_only=True)
class Upkeeps:
    """The use case. Work is stored after the messages and before the answer: who got none asks again, by the same
    idempotency key, and then both are there."""

    conversations: Conversations
    queue: Queue

    async def append(
        self,
        *,
        namespace: tuple[str, ...],
        messages: Sequence[Message],
        upkeep: Upkeep | None,
        idempotency_key: str,
    ) -> int:
        """Adds messages to the end of a conversation; the position of the first of them. Raises FieldInvalid."""
        if upkeep is not None:
            _check(upkeep, namespace)
        first = await self.conversations.append(
            namespace=namespace, messages=messages, idempotency_key=idempotency_key
        )
        if upkeep is not None and upkeep.learn:
            for part in parts_to_learn(messages):
                learn = Job(
                    id=job_id(_part_of(idempotency_key, part.start)),
                    kind=Kind.LEARN,
                    namespace=namespace,
                    asker=upkeep.asker,
                    first=first + part.start,
                    last=first + part.stop - 1,
                )
                await self.queue.add(learn)
        if upkeep is not None and upkeep.summary_tokens:
            summarize = Job(
                # One at a time for each conversation.
                id=job_id(json.dumps(namespace)),
                kind=Kind.SUMMARIZE,
                namespace=namespace,
                asker=upkeep.asker,
                tokens=upkeep.summary_tokens,
            )
            await self.queue.add_one(summarize)
        return first


def _part_of(idempotency_key: str, start: int) -> str:
    return f"{idempotency_key}/{start}" if idempotency_key and start else idempotency_key


def _check(upkeep: Upkeep, namespace: tuple[str, ...]) -> None:
    tokens = upkeep.summary_tokens
    if tokens and not _LEAST_TOKENS <= tokens <= _MOST_TOKENS:
        raise FieldInvalid(
            "upkeep.summary_tokens",
            f"upkeep.summary_tokens is {tokens}; {_LEAST_TOKENS} to {_MOST_TOKENS} are allowed, or 0 for no summary",
            code="SUMMARY_TOKENS_INVALID",
        )
    if upkeep.learn and len(namespace) >= LABELS:
        raise FieldInvalid(
            "namespace",
            f"namespace has {len(namespace)} segments; facts are kept one below it, where {LABELS} are allowed",
            code="NAMESPACE_INVALID",
        )
