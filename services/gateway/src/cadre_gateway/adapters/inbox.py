"""Deliveries in the database: accepted once, each with one gateway at a time, and looked at by people."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from cadre_gateway.adapters.database import DELIVERIES, GONE_ENDPOINTS, POSTS
from cadre_gateway.adapters.inbox_rows import (
    delivery_of,
    delivery_row,
    post_of,
    trouble_text,
)
from cadre_gateway.domain.deliveries import (
    Delivery,
    DeliveryNotFound,
    DeliveryPage,
    DeliveryStatus,
    NotParked,
    Post,
    PostStatus,
    Trouble,
)
from cadre_kit.documents import json_text
from cadre_kit.transactions import Statements, Transactions

__all__ = ["LEASE_SECONDS", "Accepted", "Inbox"]

LEASE_SECONDS = 30.0
"""For how long a delivery is with the gateway that took it; then another one may."""

_D, _P = DELIVERIES.c, POSTS.c
_PARKED_DAYS = 30.0
_SWEPT_AT_ONCE = 5_000
_KNOWN = sa.select(_D.id + "/" + _D.run_id).where(
    _D.kind == sa.bindparam("its_kind"),
    _D.name == sa.bindparam("its_name"),
    _D.key == sa.bindparam("its_key"),
)
_ALBUM = (
    sa.select(_D.id, _D.run_id, _D.status, _D.tries, _D.trouble, _D.content, _D.due_time)
    .where(
        _D.kind == sa.bindparam("its_kind"),
        _D.name == sa.bindparam("its_name"),
        _D.key == sa.bindparam("its_key"),
    )
    .with_for_update()
)
_ADD_TO_ALBUM = (
    sa.update(DELIVERIES)
    .where(_D.id == sa.bindparam("its_id"))
    .values(content=sa.bindparam("more"), due_time=sa.bindparam("due"))
)
# An album comes as one message for each picture, within a second or so.
_ALBUM_SECONDS = 2.0
_ADD = sa.insert(DELIVERIES)
_EXPECTED = sa.select(sa.literal(1)).where(
    _D.run_id == sa.bindparam("run"), _D.status == DeliveryStatus.RECEIVED.value
)
_SETTLE = (
    sa.update(DELIVERIES)
    .where(_D.id == sa.bindparam("its_id"), _D.status == sa.bindparam("was"))
    .values(
        status=sa.bindparam("becomes"),
        tries=sa.bindparam("tried"),
        due_time=sa.bindparam("due"),
        updated_time=sa.bindparam("now"),
        trouble=sa.bindparam("why"),
    )
)
_BEGIN = (
    sa.update(DELIVERIES).where(_D.id == sa.bindparam("its_id")).values(tries=sa.bindparam("tried"))
)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What the sender of a delivery is told; the same for each repetition. `is_new` the first time."""

    id: str
    run_id: str
    is_new: bool


class Inbox:
    """All deliveries. Several gateways may share one database."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def accept(self, deliveries: Sequence[Delivery]) -> Sequence[Accepted]:
        """Stores what is new, in one commit; when this returns it is not lost any more. It is with this gateway, which
        begins with it at once."""
        taken = [replace(one, due_time=one.received_time + LEASE_SECONDS) for one in deliveries]

        def work(statements: Statements) -> list[Accepted]:
            return [_accept(statements, delivery) for delivery in taken]

        return await self._database.write_fast(work)

    async def gather(self, delivery: Delivery, album: str) -> Accepted | None:
        """Stores a delivery as one of an album, whose run is started once nothing more has come for two seconds; None,
        with nothing stored, when it was begun already, and knows nothing of this one."""
        now = time.time()
        first = replace(delivery, key=album, due_time=now + _ALBUM_SECONDS)

        def work(statements: Statements) -> Accepted | None:
            source = {"its_kind": first.kind, "its_name": first.name, "its_key": album}
            found = statements.rows(_ALBUM, source)
            if not found:
                statements.add(_ADD, [delivery_row(first)])
                return Accepted(id=first.id, run_id=first.run_id, is_new=True)
            return _added(statements, found[0], first)

        return await self._database.write_fast(work)

    async def expects(self, run_id: str) -> bool:
        """Whether a run that is not there yet is about to be started."""

        def work(connection: sa.Connection) -> bool:
            return connection.execute(_EXPECTED, {"run": run_id}).first() is not None

        return await self._database.read(work)

    async def of_run(self, run_id: str) -> Delivery | None:
        """The delivery that a run was started for."""

        def work(connection: sa.Connection) -> Delivery | None:
            its = sa.select(DELIVERIES).where(_D.run_id == run_id)
            row = connection.execute(its).mappings().first()
            return None if row is None else delivery_of(row)

        return await self._database.read(work)

    async def statuses(self, kind: str, name: str, prefix: str) -> Sequence[DeliveryStatus]:
        """How those of a source stand whose keys begin so."""
        its = sa.select(_D.status).where(
            _D.kind == kind, _D.name == name, _D.key.startswith(prefix, autoescape=True)
        )

        def work(connection: sa.Connection) -> list[DeliveryStatus]:
            return [DeliveryStatus(each) for each in connection.execute(its).scalars()]

        return await self._database.read(work)

    async def last_run(self, asking: Delivery) -> Delivery | None:
        """The newest delivery of a conversation that asked for a run."""
        runs = sa.select(DELIVERIES).where(*_same_conversation(asking), _D.workflow != "")
        newest = runs.order_by(_D.id.desc()).limit(1)

        def work(connection: sa.Connection) -> Delivery | None:
            row = connection.execute(newest).mappings().first()
            return None if row is None else delivery_of(row)

        return await self._database.read(work)

    async def move_conversation(self, moved: Delivery, former: str) -> None:
        """Has all of the conversation that was called `former` belong to that of `moved`."""
        its = (_D.kind == moved.kind, _D.name == moved.name, _D.conversation == former)
        move = sa.update(DELIVERIES).where(*its).values(conversation=moved.conversation)
        await self._database.write(lambda connection: connection.execute(move))

    async def last_heard(self, kind: str, name: str, conversation: str) -> float | None:
        """When something came last from a conversation, in unix seconds."""
        last = sa.select(sa.func.max(_D.received_time)).where(
            _D.kind == kind, _D.name == name, _D.conversation == conversation
        )
        return await self._database.read(lambda connection: connection.execute(last).scalar())

    async def claim(self, *, limit: int) -> Sequence[Delivery]:
        """Deliveries that are due, longest first; they are not due again for LEASE_SECONDS."""
        now = time.time()
        due = sa.select(_D.id).where(_D.due_time <= now).order_by(_D.due_time).limit(limit)
        if not await self._database.read(lambda connection: connection.execute(due).first()):
            return []

        def work(connection: sa.Connection) -> list[Delivery]:
            ids = connection.execute(due.with_for_update(skip_locked=True)).scalars().all()
            taken = (
                sa.update(DELIVERIES)
                .where(_D.id.in_(ids))
                .values(due_time=now + LEASE_SECONDS)
                .returning(DELIVERIES)
            )
            return [delivery_of(row) for row in connection.execute(taken).mappings()]

        return await self._database.write(work)

    async def begin(self, delivery: Delivery) -> Delivery:
        """Counts a try before it is made: one that takes its gateway down must not do so for ever, and one that only
        waited in a gateway that was killed was not tried."""
        values = {"its_id": delivery.id, "tried": delivery.tries + 1}
        await self._database.write_fast(lambda statements: statements.change(_BEGIN, values))
        return replace(delivery, tries=delivery.tries + 1)

    async def release_all(self) -> None:
        """Makes everything that is not done due now: to start a run twice starts it once, and no gateway of this
        database has to wait for the lease of one that was killed."""
        now = time.time()
        due = sa.update(DELIVERIES).where(_D.due_time > now).values(due_time=now)
        await self._database.write(lambda connection: connection.execute(due).rowcount)

    async def settle(
        self,
        delivery: Delivery,
        status: DeliveryStatus,
        *,
        due_time: float | None = None,
        tries: int = 0,
        trouble: Trouble | None = None,
    ) -> None:
        """Writes down where a delivery stands now, unless somebody has moved it meanwhile."""
        values = {
            "its_id": delivery.id,
            "was": delivery.status.value,
            "becomes": status.value,
            "tried": tries,
            "due": due_time,
            "now": time.time(),
            "why": trouble_text(trouble),
        }
        await self._database.write_fast(lambda statements: statements.change(_SETTLE, values))

    async def get(self, delivery_id: str) -> tuple[Delivery, Sequence[Post]]:
        """A delivery, and what is sent for it. Raises DeliveryNotFound."""
        return await self._database.read(lambda connection: _get(connection, delivery_id))

    async def list(
        self, *, status: DeliveryStatus | None, source: str, key: str, limit: int, before: str
    ) -> DeliveryPage:
        """Deliveries, newest first; `before` is the last id of the page before."""
        statement = sa.select(DELIVERIES).order_by(_D.id.desc()).limit(limit + 1)
        if status is not None:
            statement = statement.where(_D.status == status.value)
        if source:
            kind, _, name = source.partition("/")
            statement = statement.where(_D.kind == kind, _D.name == name)
        if key:
            statement = statement.where(_D.key == key)
        if before:
            statement = statement.where(_D.id < before)

        def work(connection: sa.Connection) -> DeliveryPage:
            found = [delivery_of(row) for row in connection.execute(statement).mappings()]
            return DeliveryPage(deliveries=found[:limit], more=len(found) > limit)

        return await self._database.read(work)

    async def replay(self, renewed: Delivery) -> None:
        """Lets a parked delivery go on from where it failed, with the trigger that `renewed` has. Raises
        DeliveryNotFound, NotParked."""
        now = time.time()

        def work(connection: sa.Connection) -> None:
            _, posts = _parked(connection, renewed.id)
            failed = [post for post in posts if post.status is PostStatus.PARKED]
            again = replace(
                renewed,
                # Something to send is there only once the run was started.
                status=DeliveryStatus.STARTED if failed else DeliveryStatus.RECEIVED,
                tries=0,
                trouble=None,
                due_time=now,
                updated_time=now,
            )
            row = delivery_row(again)
            connection.execute(sa.update(DELIVERIES).where(_D.id == renewed.id).values(row))
            for post in failed:
                _clear_endpoint(connection, post.endpoint)
            connection.execute(_posts_of(renewed.id, PostStatus.PARKED).values(_pending(now)))

        await self._database.write(work)

    async def discard(self, delivery_id: str) -> None:
        """Gives a parked delivery up. Raises DeliveryNotFound, NotParked."""

        def work(connection: sa.Connection) -> None:
            _parked(connection, delivery_id)
            given_up = {"status": DeliveryStatus.DISCARDED.value, "updated_time": time.time()}
            connection.execute(sa.update(DELIVERIES).where(_D.id == delivery_id).values(given_up))
            unsent = {"status": PostStatus.DISCARDED.value, "due_time": None}
            connection.execute(_posts_of(delivery_id, PostStatus.PARKED).values(unsent))

        await self._database.write(work)

    async def sweep(self, *, keep_days: float) -> int:
        """Forgets what is done for so long, and what is parked for 30 days at least; how many."""
        now = time.time()
        done = now - keep_days * 86_400
        parked = now - max(keep_days, _PARKED_DAYS) * 86_400
        unsent = sa.exists().where(_P.delivery_id == _D.id, _P.status == PostStatus.PENDING.value)
        is_parked = _D.status == DeliveryStatus.PARKED.value
        old = (
            sa.select(_D.id)
            .where(
                _D.due_time.is_(None), _D.updated_time < sa.case((is_parked, parked), else_=done)
            )
            .where(~unsent)
            .limit(_SWEPT_AT_ONCE)
        )

        def work(connection: sa.Connection) -> int:
            ids = connection.execute(old).scalars().all()
            connection.execute(sa.delete(POSTS).where(_P.delivery_id.in_(ids)))
            return connection.execute(sa.delete(DELIVERIES).where(_D.id.in_(ids))).rowcount

        return await self._database.write(work)


def _accept(statements: Statements, delivery: Delivery) -> Accepted:
    source = {"its_kind": delivery.kind, "its_name": delivery.name, "its_key": delivery.key}
    known = statements.scalar(_KNOWN, source)
    if known is not None:
        first, _, run_id = str(known).partition("/")
        return Accepted(id=first, run_id=run_id, is_new=False)
    statements.add(_ADD, [delivery_row(delivery)])
    return Accepted(id=delivery.id, run_id=delivery.run_id, is_new=True)


def _added(statements: Statements, album: Mapping[str, Any], delivery: Delivery) -> Accepted | None:
    content = json.loads(album["content"])
    known = {file["id"] for file in content["files"]}
    more = [file for file in delivery.content["files"] if file["id"] not in known]
    accepted = Accepted(id=album["id"], run_id=album["run_id"], is_new=bool(more))
    if not more:
        return accepted
    # One that a gateway has taken is due later, and what is added then is not seen there.
    is_free = (album["due_time"] or 0) <= (delivery.due_time or 0)
    untouched = is_free and album["tries"] == 0 and album["trouble"] is None
    if album["status"] != DeliveryStatus.RECEIVED.value or not untouched:
        return None
    content["files"] += more
    content["text"] = content["text"] or delivery.content["text"]
    values = {"its_id": album["id"], "more": json_text(content), "due": delivery.due_time}
    statements.change(_ADD_TO_ALBUM, values)
    return accepted


def _same_conversation(delivery: Delivery) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _D.kind == delivery.kind,
        _D.name == delivery.name,
        _D.conversation == delivery.conversation,
    )


def _get(connection: sa.Connection, delivery_id: str) -> tuple[Delivery, Sequence[Post]]:
    one = sa.select(DELIVERIES).where(_D.id == delivery_id)
    row = connection.execute(one).mappings().first()
    if row is None:
        raise DeliveryNotFound(delivery_id)
    its = sa.select(POSTS).where(_P.delivery_id == delivery_id).order_by(_P.position)
    return delivery_of(row), [post_of(each) for each in connection.execute(its).mappings()]


def _parked(connection: sa.Connection, delivery_id: str) -> tuple[Delivery, Sequence[Post]]:
    delivery, posts = _get(connection, delivery_id)
    if delivery.status is not DeliveryStatus.PARKED:
        raise NotParked(delivery_id, delivery.status.value)
    return delivery, posts


def _posts_of(delivery_id: str, status: PostStatus) -> sa.Update:
    return sa.update(POSTS).where(_P.delivery_id == delivery_id, _P.status == status.value)


def _pending(now: float) -> dict[str, Any]:
    return {"status": PostStatus.PENDING.value, "tries": 0, "due_time": now, "trouble": None}


def _clear_endpoint(connection: sa.Connection, endpoint: str) -> None:
    gone = sa.delete(GONE_ENDPOINTS).where(GONE_ENDPOINTS.c.endpoint == endpoint)
    connection.execute(gone)
