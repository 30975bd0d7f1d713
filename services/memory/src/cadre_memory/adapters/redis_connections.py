"""Connections to Redis: how they are made, what they say when they fail, and what a server must not do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

from cadre_kit.databases import DatabaseCorrupt, DatabaseFull, DatabaseUnavailable
from cadre_kit.errors import CadreError, FailedPrecondition, InvalidInput
from cadre_kit.logs import logger

RedisClient: TypeAlias = Any
"""A client, whose annotations say of each answer that it may be bytes or text: these are always bytes."""

_CONNECT_SECONDS = 10
# A long answer, such as a block of entries, takes a busy server a while.
_ANSWER_SECONDS = 30
_CONNECTIONS = 16

log = logger()


class _Connection(Connection):
    """One whose user can be cancelled while it writes: asyncio.wait_for, which it writes with, may lose that before
    Python 3.12, and then whoever waits for the cancelled task waits for ever."""

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """As Connection says."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > before:
            # What is answered to the command would be taken for the answer to the next.
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


class _SslConnection(_Connection, SSLConnection):
    """The same, encrypted."""


def connect_redis(url: str) -> RedisClient:
    """A client for `redis://...`, which connects at its first command. Raises InvalidInput."""
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            # A command whose answer was lost may have been done: whoever asked decides whether to ask again.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError as exc:
        raise InvalidInput(
            f"the address of the memory database cannot be read: {exc}",
            resolution="Set CADRE_MEMORY_DATABASE_URL to redis://HOST:PORT/NUMBER.",
            code="UNKNOWN_DATABASE_URL",
        ) from exc
    # By the address alone redis-py would choose its own.
    encrypted = issubclass(pool.connection_class, SSLConnection)
    pool.connection_class = _SslConnection if encrypted else _Connection
    return Redis.from_pool(pool)


async def check_server(redis: RedisClient, *, kept: bool = True) -> bool:
    """Whether a restart of the server would keep all memories; warns when it would not, and `kept` says that it did
    before. Raises RedisEvicts when it may throw some away."""
    await check_eviction(redis)
    with redis_errors():
        found = await redis.info("persistence")
    keeps = bool(found.get("aof_enabled"))
    if kept and not keeps:
        log.warning(
            "redis_forgets",
            reason="appendonly is off: a restart of Redis loses what it did not yet save",
            resolution="Set appendonly yes in its configuration.",
        )
    return keeps


async def check_eviction(redis: RedisClient) -> None:
    """Raises RedisEvicts when the server may throw memories away."""
    with redis_errors():
        found = await redis.info("memory")
    policy = str(found.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        raise RedisEvicts(policy)


class RedisEvicts(FailedPrecondition):
    """The server would throw memories away to make room for others."""

    code = "REDIS_EVICTS"

    def __init__(self, policy: str) -> None:
        super().__init__(
            f"Redis has the maxmemory-policy {policy}, by which it throws memories away when it is full",
            resolution="Set its maxmemory-policy to noeviction, or keep memories in another Redis.",
            metadata={"policy": policy},
        )


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raises the failures of the client and of the server as the kit's."""
    try:
        yield
    except RedisError as exc:
        raise _translated(exc) from exc
    except OSError as exc:
        raise _unavailable(exc) from exc


def _translated(error: RedisError) -> CadreError:
    match error:
        case OutOfMemoryError():
            return _full("has no memory left", "Raise its maxmemory, or forget something")
        case AuthenticationError() | NoPermissionError():
            return DatabaseUnavailable(
                "Redis refused the user or the password of the memory database",
                resolution="Put those that Redis knows into CADRE_MEMORY_DATABASE_URL.",
                metadata={"database": "memory"},
            )
        case ResponseError() if "OOM" in str(error):
            return _full("has no memory left", "Raise its maxmemory, or forget something")
        case ResponseError() if "MISCONF" in str(error):
            return _full("cannot save to its disk", "Make room on its disk, or look into its log")
        case ResponseError() if "WRONGTYPE" in str(error):
            return DatabaseCorrupt(
                "a key of the memory database in Redis holds something else",
                resolution="Give memories a database number of their own, or put back a copy of it.",
                metadata={"database": "memory"},
            )
        case _:
            return _unavailable(error)


def _full(fact: str, advice: str) -> DatabaseFull:
    return DatabaseFull(
        f"the Redis of the memory database {fact}",
        resolution=f"{advice}; then try again.",
        metadata={"database": "memory"},
    )


def _unavailable(error: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"the memory database failed: {type(error).__name__}",
        resolution="Check that Redis runs and that CADRE_MEMORY_DATABASE_URL names it; then try again.",
        metadata={"database": "memory"},
    )
