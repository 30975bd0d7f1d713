"""One call at a time for each idempotency key: the others wait, and find its reply stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cadre_llm_proxy.domain.facts import KeyReused

__all__ = ["Turns", "key_reused"]


@dataclass(kw_only=True)
class _Turn:
    digest: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """Turns within this process; holds nothing for a key that no call uses."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def of(self, key: str, digest: str) -> AsyncIterator[None]:
        """Waits for its turn. Raises KeyReused at once while the key is in use for another request."""
        turn = self._turns.setdefault(key, _Turn(digest=digest))
        if turn.digest != digest:
            raise key_reused(key)
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]


def key_reused(key: str) -> KeyReused:
    """The fact that the key came before, with another request."""
    return KeyReused(
        f"the idempotency key {key!r} was used for another request",
        resolution="Send the same request again, or use a new key.",
        metadata={"key": key},
    )
