"""Sessions: what programs leave for the next one, kept within limits, and given back however a session ends."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cadre_kit.errors import InvalidInput, LimitExceeded, NotFound
from cadre_sandbox.domain.answers import KeyReused
from cadre_sandbox.domain.executions import Kernel, LimitOutOfRange, Limits, Mode, RunnerLost

__all__ = ["Lifetime", "Session", "SessionFixed", "SessionNotFound", "Sessions", "lifetime"]

_WAITING = 16
_IDLE_SECONDS, _TOTAL_SECONDS = 600.0, 3600.0


class SessionNotFound(NotFound):
    """No session has the id: it never did, or the session has ended."""

    code = "SESSION_NOT_FOUND"


class TooManySessions(LimitExceeded):
    """As many sessions are open as may be."""

    code = "TOO_MANY_SESSIONS"


class SessionBusy(LimitExceeded):
    """As many calls wait for the session as may."""

    code = "SESSION_BUSY"


class SessionFixed(InvalidInput):
    """A call in a session asks for what was settled when the session was opened."""

    code = "SESSION_FIXED"


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """How long a session may be idle, and how long it lives at most; seconds."""

    idle_seconds: float
    total_seconds: float


def lifetime(idle: float, total: float, most: Lifetime) -> Lifetime:
    """What was asked for, 0 being the default. Raises LimitOutOfRange beyond the operator's ceiling."""
    asked = Lifetime(
        idle_seconds=idle or min(_IDLE_SECONDS, most.idle_seconds),
        total_seconds=total or min(_TOTAL_SECONDS, most.total_seconds),
    )
    for name in ("idle_seconds", "total_seconds"):
        value, ceiling = getattr(asked, name), getattr(most, name)
        if not 1 <= value <= ceiling:
            raise LimitOutOfRange(
                f"{name} is {value:g}; it may be 1 to {ceiling:g}",
                resolution="Ask for less; the operator's ceilings are CADRE_SANDBOX_MAX_SESSION_IDLE_SECONDS"
                " and CADRE_SANDBOX_MAX_SESSION_SECONDS.",
                metadata={"limit": name, "value": f"{value:g}", "ceiling": f"{ceiling:g}"},
            )
    return asked


@dataclass(kw_only=True, eq=False)
class Session:
    """One open session."""

    id: str = field(repr=False)
    mode: Mode
    limits: Limits
    lifetime: Lifetime
    kernel: Kernel = field(repr=False)
    hosts: frozenset[str] = frozenset()
    key: str = field(default="", repr=False)
    opened: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    used: float = 0.0
    calls: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def seconds_left(self) -> float:
        """Until it has to end; a call under way is not idle."""
        now = asyncio.get_running_loop().time()
        total = self.opened + self.lifetime.total_seconds - now
        if self.calls:
            return total
        return min(total, max(self.opened, self.used) + self.lifetime.idle_seconds - now)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Kernel]:
        """The kernel, when it is the caller's turn. Raises SessionBusy, and SessionNotFound when it ends meanwhile."""
        if self.calls > _WAITING:
            raise SessionBusy(
                f"{self.calls} calls are under way in the session",
                resolution="Wait for their answers, or open another session.",
            )
        self.calls += 1
        try:
            async with self.turn:
                if self.kernel.ended.is_set():
                    raise session_not_found()
                yield self.kernel
        except RunnerLost as exc:
            if not self.kernel.ended.is_set():
                raise
            raise session_not_found() from exc
        finally:
            self.calls -= 1
            self.used = asyncio.get_running_loop().time()


def session_not_found() -> SessionNotFound:
    """What there is to say about a session that is not there."""
    return SessionNotFound(
        "there is no such session: it was closed, its time was up, its process died, or the sandbox was restarted",
        resolution="Open another one; what the variables held has to be made again.",
    )


@dataclass(kw_only=True, eq=False)
class _Opening:
    """A session that is being opened, or was, for those who ask with one key."""

    request: bytes
    task: asyncio.Task[Session]
    waiting: int = 0
    given: bool = False
    """Whether anybody has got the session."""


class Sessions:
    """The sessions that are open, `most` of them at once."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._open: dict[str, Session] = {}
        self._opening = 0
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._by_key: dict[str, _Opening] = {}
        self._given_up: set[asyncio.Task[bool]] = set()

    async def open(
        self, key: str, request: bytes, make: Callable[[str], Awaitable[Session]]
    ) -> Session:
        """The session that `make` gives for a new id; or the one that `key` has, as long as that is open.

        One that nobody waits for any more is not opened, or closed at once. Raises KeyReused, TooManySessions, and what
        `make` raises.
        """
        opening = self._by_key.get(key)
        if opening is None or opening.task.cancelling():
            opening = self._begin(key, request, make)
        elif opening.request != request:
            raise KeyReused(
                f"the idempotency key {key!r} came before with another request",
                resolution="Use a new key for a new request.",
                metadata={"key": key},
            )
        return await self._wait(opening)

    def _begin(
        self, key: str, request: bytes, make: Callable[[str], Awaitable[Session]]
    ) -> _Opening:
        opening = _Opening(request=request, task=asyncio.ensure_future(self._made(make, key)))
        if key:
            self._by_key[key] = opening
            opening.task.add_done_callback(lambda _: self._forget_failed(key, opening))
        return opening

    async def _wait(self, opening: _Opening) -> Session:
        opening.waiting += 1
        try:
            session = await asyncio.shield(opening.task)
        except asyncio.CancelledError:
            if opening.waiting == 1 and not opening.given:
                self._give_up(opening.task)
            raise
        finally:
            opening.waiting -= 1
        opening.given = True
        return session

    def _give_up(self, task: asyncio.Task[Session]) -> None:
        if not task.done():
            task.cancel()
        elif not task.cancelled() and task.exception() is None:
            # It was opened in the moment in which nobody wanted it any more.
            self._by_key.pop(task.result().key, None)
            task.result().key = ""
            closing = asyncio.ensure_future(self.close(task.result().id))
            self._given_up.add(closing)
            closing.add_done_callback(self._given_up.discard)

    async def _made(self, make: Callable[[str], Awaitable[Session]], key: str) -> Session:
        if len(self._open) + self._opening >= self._most:
            raise TooManySessions(
                f"{self._most} sessions are open, as many as may be",
                resolution="Close those that are not needed, or raise CADRE_SANDBOX_SESSIONS.",
            )
        self._opening += 1
        try:
            session = await make(secrets.token_urlsafe(24))
        finally:
            self._opening -= 1
        session.key = key
        self._open[session.id] = session
        self._watching[session.id] = asyncio.create_task(self._watch(session))
        return session

    def _forget_failed(self, key: str, opening: _Opening) -> None:
        failed = opening.task.cancelled() or opening.task.exception() is not None
        if failed and self._by_key.get(key) is opening:
            del self._by_key[key]

    def get(self, session_id: str) -> Session:
        """Raises SessionNotFound."""
        session = self._open.get(session_id)
        if session is None or session.kernel.ended.is_set():
            raise session_not_found()
        return session

    async def close(self, session_id: str) -> bool:
        """Ends a session; whether there was one."""
        session = self._open.get(session_id)
        if session is None:
            return False
        self._watching[session_id].cancel()
        await self._end(session)
        return True

    async def close_all(self) -> None:
        """Ends every session."""
        await asyncio.gather(*(self.close(session_id) for session_id in tuple(self._open)))

    async def _watch(self, session: Session) -> None:
        while (seconds := session.seconds_left()) > 0:
            with contextlib.suppress(TimeoutError):
                # Looked at again in time, as a call that is under way now may end at any moment.
                async with asyncio.timeout(min(seconds, session.lifetime.idle_seconds)):
                    await session.kernel.ended.wait()
                    break
        await self._end(session)

    async def _end(self, session: Session) -> None:
        """Gives back what it holds. Who waits for its turn gets SessionNotFound."""
        if self._open.pop(session.id, None) is not None:
            del self._watching[session.id]
            self._by_key.pop(session.key, None)
        await session.kernel.close()
