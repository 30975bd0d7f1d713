"""API keys in the database: several gateways may share it, and what one revokes is revoked for all at once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cadre_gateway.adapters.database import API_KEYS
from cadre_gateway.domain.api_keys import (
    Allowance,
    ApiKey,
    KeyExists,
    KeyNotFound,
    NewSecret,
    Rate,
    Scope,
    digest_of,
)
from cadre_kit.transactions import Statements, Transactions

__all__ = ["Keys", "Use"]

_K = API_KEYS.c
# How exactly it is known when a key was used last, in seconds: not worth a write for each request.
_USED_SECONDS = 60.0
_FOUND = (
    sa.select(API_KEYS)
    .where(
        sa.or_(
            _K.digest == sa.bindparam("presented"),
            sa.and_(
                _K.old_digest == sa.bindparam("presented"),
                _K.old_expires_time > sa.bindparam("now"),
            ),
        )
    )
    # Requests at once take their tokens one after another; SQLite has one writer anyway.
    .with_for_update()
)
_USED = (
    sa.update(API_KEYS)
    .where(_K.name == sa.bindparam("its_name"))
    .values(last_used_time=sa.bindparam("used"), full_time=sa.bindparam("full"))
)


@dataclass(frozen=True, kw_only=True)
class Use:
    """A key that a request carries, and where it stands with its rate; None without one."""

    key: ApiKey
    allowance: Allowance | None


class Keys:
    """All keys but the one in CADRE_HOME."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def use(self, presented: str) -> Use | None:
        """The key of a secret, with one request counted against its rate; None when there is no such key."""
        digest, now = digest_of(presented), time.time()
        return await self._database.write_fast(lambda statements: _use(statements, digest, now))

    async def add(self, key: ApiKey, secret: NewSecret) -> None:
        """Stores a key. Raises KeyExists."""
        row = {
            "name": key.name,
            "prefix": secret.prefix,
            "digest": digest_of(secret.secret),
            "scope": key.scope.value,
            "created_time": key.created_time,
            "expires_time": key.expires_time,
            "rate_requests": key.rate.requests if key.rate else None,
            "rate_seconds": key.rate.seconds if key.rate else None,
            "full_time": 0.0,
        }

        def work(connection: sa.Connection) -> None:
            if _row(connection, key.name) is not None:
                raise KeyExists(key.name)
            connection.execute(sa.insert(API_KEYS).values(row))

        await self._database.write(work)

    async def remove(self, name: str) -> None:
        """Takes back a key whose secret nobody was told."""
        gone = sa.delete(API_KEYS).where(_K.name == name)
        await self._database.write(lambda connection: connection.execute(gone).rowcount)

    async def list(self) -> Sequence[ApiKey]:
        """All keys by name, those too that are not valid any more."""
        every = sa.select(API_KEYS).order_by(_K.name)

        def work(connection: sa.Connection) -> list[ApiKey]:
            return [_key(row) for row in connection.execute(every).mappings()]

        return await self._database.read(work)

    async def revoke(self, name: str) -> ApiKey:
        """The key, which opens nothing from now on. Raises KeyNotFound."""

        def work(connection: sa.Connection) -> ApiKey:
            found = _known(connection, name)
            if found.revoked_time is None:
                _change(connection, name, revoked_time=time.time(), old_digest=None)
            return _known(connection, name)

        return await self._database.write(work)

    async def rotate(self, name: str, secret: NewSecret, *, grace_seconds: float) -> ApiKey:
        """The key with another secret; the one before stays valid for a while. Raises KeyNotFound, and why the key is
        not valid any more."""
        now = time.time()

        def work(connection: sa.Connection) -> ApiKey:
            refusal = _known(connection, name).refusal(now)
            if refusal is not None:
                raise refusal
            _change(
                connection,
                name,
                old_digest=_K.digest,
                old_expires_time=now + grace_seconds,
                digest=digest_of(secret.secret),
                prefix=secret.prefix,
            )
            return _known(connection, name)

        return await self._database.write(work)


def _use(statements: Statements, digest: str, now: float) -> Use | None:
    rows = statements.rows(_FOUND, {"presented": digest, "now": now})
    if not rows:
        return None
    row = rows[0]
    key, full = _key(row), float(row["full_time"])
    if key.refusal(now) is not None:
        return Use(key=key, allowance=None)
    allowance, full = (None, full) if key.rate is None else key.rate.take(full, now)
    is_news = now - (key.last_used_time or 0.0) >= _USED_SECONDS
    if is_news or full != row["full_time"]:
        used = now if is_news else key.last_used_time
        statements.change(_USED, {"its_name": key.name, "used": used, "full": full})
    return Use(key=key, allowance=allowance)


def _row(connection: sa.Connection, name: str) -> sa.RowMapping | None:
    one = sa.select(API_KEYS).where(_K.name == name).with_for_update()
    return connection.execute(one).mappings().first()


def _known(connection: sa.Connection, name: str) -> ApiKey:
    row = _row(connection, name)
    if row is None:
        raise KeyNotFound(name)
    return _key(row)


def _change(connection: sa.Connection, name: str, **values: Any) -> None:
    connection.execute(sa.update(API_KEYS).where(_K.name == name).values(values))


def _key(row: Mapping[Any, Any]) -> ApiKey:
    rate = None
    if row["rate_requests"] is not None:
        rate = Rate(requests=row["rate_requests"], seconds=row["rate_seconds"])
    return ApiKey(
        name=row["name"],
        prefix=row["prefix"],
        scope=Scope(row["scope"]),
        created_time=row["created_time"],
        expires_time=row["expires_time"],
        revoked_time=row["revoked_time"],
        last_used_time=row["last_used_time"],
        old_expires_time=row["old_expires_time"],
        rate=rate,
    )
