"""Answers to requests with an idempotency key, so that a repeated request gets the first one's answer."""

import time
from dataclasses import dataclass

import sqlalchemy as sa

from cadre_gateway.adapters.database import ANSWERS
from cadre_kit.errors import Conflict
from cadre_kit.ids import new_id
from cadre_kit.transactions import Transactions

__all__ = ["Answer", "Answers", "Hold", "KeyReused"]

_A = ANSWERS.c


class KeyReused(Conflict):
    """The idempotency key came with another request before."""

    code = "IDEMPOTENCY_KEY_REUSED"


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A request that is being answered for the first time. `fingerprint` is equal for equal requests; `token` is that
    of whoever answers it."""

    caller: str
    key: str
    fingerprint: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request was answered with."""

    status: int
    media_type: str
    location: str
    body: bytes


class Answers:
    """All answers that are kept. Several gateways may share one database.

    Whoever begins with a request holds it for `hold_seconds`, longer than any of them takes; of one whose gateway died
    the next repetition is the first request again.
    """

    def __init__(self, database: Transactions, *, hold_seconds: float) -> None:
        self._database = database
        self._hold_seconds = hold_seconds

    async def begin(self, caller: str, key: str, fingerprint: str) -> Hold | Answer | None:
        """The first request's answer; a hold for the first request itself; None while another one holds it. Raises
        KeyReused for a request that differs from the first."""
        hold = Hold(caller=caller, key=key, fingerprint=fingerprint, token=new_id())
        return await self._database.write(lambda connection: self._begin(connection, hold))

    def _begin(self, connection: sa.Connection, hold: Hold) -> Hold | Answer | None:
        now = time.time()
        mine = sa.and_(_A.caller == hold.caller, _A.key == hold.key)
        row = (
            connection.execute(sa.select(ANSWERS).where(mine).with_for_update()).mappings().first()
        )
        held = {"token": hold.token, "held_until": now + self._hold_seconds}
        if row is None:
            first = {
                "caller": hold.caller,
                "key": hold.key,
                "fingerprint": hold.fingerprint,
                "begun_time": now,
            }
            connection.execute(sa.insert(ANSWERS).values(first | held))
            return hold
        if row["fingerprint"] != hold.fingerprint:
            raise KeyReused(
                "the idempotency key came with another request before",
                resolution="Send another Idempotency-Key with each request that is not a repetition.",
            )
        if row["status"] is not None:
            return Answer(
                status=row["status"],
                media_type=row["media_type"],
                location=row["location"],
                body=row["body"],
            )
        if row["held_until"] > now:
            return None
        connection.execute(sa.update(ANSWERS).where(mine).values(held))
        return hold

    async def keep(self, hold: Hold, answer: Answer) -> None:
        """Stores the first request's answer, unless another took its place meanwhile."""
        values = {
            "status": answer.status,
            "media_type": answer.media_type,
            "location": answer.location,
            "body": answer.body,
        }
        kept = sa.update(ANSWERS).where(*_held_by(hold)).values(values)
        await self._database.write(lambda connection: connection.execute(kept).rowcount)

    async def release(self, hold: Hold) -> None:
        """Lets a repetition be the first request again, since this one changed nothing that is known of."""
        gone = sa.delete(ANSWERS).where(*_held_by(hold))
        await self._database.write(lambda connection: connection.execute(gone).rowcount)

    async def sweep(self, *, keep_days: float) -> int:
        """Forgets what is older; how many."""
        old = sa.delete(ANSWERS).where(_A.begun_time < time.time() - keep_days * 86_400)
        return await self._database.write(lambda connection: connection.execute(old).rowcount)


def _held_by(hold: Hold) -> tuple[sa.ColumnElement[bool], ...]:
    return _A.caller == hold.caller, _A.key == hold.key, _A.token == hold.token
