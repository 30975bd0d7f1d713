"""What is to be sent for deliveries: put down once, sent in order, tried again, parked."""

import time
from collections.abc import Sequence

import sqlalchemy as sa

from cadre_gateway.adapters.database import DELIVERIES, GONE_ENDPOINTS, POSTS
from cadre_gateway.adapters.inbox import LEASE_SECONDS
from cadre_gateway.adapters.inbox_rows import post_of, post_row, trouble_text
from cadre_gateway.domain.deliveries import (
    Delivery,
    DeliveryStatus,
    EndpointGone,
    Post,
    PostStatus,
    Receipt,
    Trouble,
)
from cadre_kit.transactions import Transactions

__all__ = ["Outbox"]

_D, _P = DELIVERIES.c, POSTS.c
_EARLIER = POSTS.alias("earlier")
_LATER = {"sent": ("delivered", "read", "failed"), "delivered": ("read", "failed")}


class Outbox:
    """All posts. Several gateways may share one database."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def put(self, delivery: Delivery, posts: Sequence[Post], *, ends: bool) -> None:
        """Puts down what is not there yet, and with `ends` that what the delivery asked for is done, in one
        transaction."""
        now = time.time()

        def work(connection: sa.Connection) -> None:
            for post in posts:
                _put(connection, post)
            if ends:
                ended = {
                    "status": DeliveryStatus.ENDED.value,
                    "due_time": None,
                    "tries": 0,
                    "updated_time": now,
                }
                unmoved = sa.and_(_D.id == delivery.id, _D.status == delivery.status.value)
                connection.execute(sa.update(DELIVERIES).where(unmoved).values(ended))

        await self._database.write(work)

    async def claim(self, *, limit: int) -> Sequence[Post]:
        """Posts that are due, each after those of its delivery that go before it; they are not due again for
        LEASE_SECONDS."""
        now = time.time()
        waits = sa.exists().where(
            _EARLIER.c.delivery_id == _P.delivery_id,
            _EARLIER.c.position < _P.position,
            _EARLIER.c.status == PostStatus.PENDING.value,
        )
        due = (
            sa.select(_P.id)
            .where(_P.due_time <= now, ~waits)
            .order_by(_P.due_time, _P.position)
            .limit(limit)
        )
        if not await self._database.read(lambda connection: connection.execute(due).first()):
            return []

        def work(connection: sa.Connection) -> list[Post]:
            locked = due.with_for_update(skip_locked=True, of=POSTS)
            ids = connection.execute(locked).scalars().all()
            taken = (
                sa.update(POSTS)
                .where(_P.id.in_(ids))
                .values(due_time=now + LEASE_SECONDS, tries=_P.tries + 1)
                .returning(POSTS)
            )
            return [post_of(row) for row in connection.execute(taken).mappings()]

        return await self._database.write(work)

    async def sent(self, post: Post, *, receipt: str = "") -> None:
        """It arrived; the provider calls it `receipt`."""
        now = time.time()
        values = {
            "status": PostStatus.SENT.value,
            "due_time": None,
            "sent_time": now,
            "receipt": receipt,
        }
        await self._change(post, {**values, "trouble": None})

    async def again(self, post: Post, *, due_time: float, trouble: Trouble) -> None:
        """It did not arrive, and is sent again."""
        await self._change(post, {"due_time": due_time, "trouble": trouble_text(trouble)})

    async def park(self, post: Post, trouble: Trouble) -> None:
        """It will not arrive: its delivery waits for a person, with all that was to follow."""
        now, why = time.time(), trouble_text(trouble)

        def work(connection: sa.Connection) -> None:
            parked = {"status": PostStatus.PARKED.value, "due_time": None, "trouble": why}
            unsent = sa.and_(
                _P.delivery_id == post.delivery_id, _P.status == PostStatus.PENDING.value
            )
            connection.execute(sa.update(POSTS).where(unsent).values(parked))
            waits = {"status": DeliveryStatus.PARKED.value, "trouble": why, "updated_time": now}
            delivery = sa.update(DELIVERIES).where(_D.id == post.delivery_id)
            connection.execute(delivery.values({**waits, "due_time": None}))
            if trouble.code == EndpointGone.code and post.endpoint:
                _note_gone(connection, post.endpoint, now)

        await self._database.write(work)

    async def note(self, kind: str, receipts: Sequence[Receipt]) -> None:
        """Writes down what a provider says of posts that it took, and parks the deliveries of those that it could not
        bring home. What is known of none of ours is passed over."""

        def work(connection: sa.Connection) -> None:
            for each in receipts:
                _note(connection, kind, each)

        await self._database.write(work)

    async def is_gone(self, endpoint: str) -> bool:
        """Whether a receiver has said that it wants nothing more."""
        gone = sa.select(GONE_ENDPOINTS.c.time).where(GONE_ENDPOINTS.c.endpoint == endpoint)
        return await self._database.read(lambda c: c.execute(gone).first() is not None)

    async def _change(self, post: Post, values: dict[str, object]) -> None:
        pending = sa.and_(_P.id == post.id, _P.status == PostStatus.PENDING.value)
        change = sa.update(POSTS).where(pending).values(values)
        await self._database.write(lambda connection: connection.execute(change).rowcount)


def _put(connection: sa.Connection, post: Post) -> None:
    if connection.execute(sa.select(_P.id).where(_P.id == post.id)).first() is not None:
        return
    last = sa.select(sa.func.max(_P.position)).where(_P.delivery_id == post.delivery_id)
    position = connection.execute(last).scalar()
    row = post_row(post) | {"position": 0 if position is None else position + 1}
    connection.execute(sa.insert(POSTS), row)


def _note(connection: sa.Connection, kind: str, said: Receipt) -> None:
    its = sa.and_(_P.kind == kind, _P.receipt == said.receipt)
    about = sa.select(_P.id, _P.delivery_id, _P.receipt_status).where(its)
    post = connection.execute(about).first()
    # They come in any order.
    if post is None or post.receipt_status in _LATER.get(said.status, ()):
        return
    values: dict[str, object] = {"receipt_status": said.status}
    if said.trouble is not None:
        why = trouble_text(said.trouble)
        values |= {"status": PostStatus.PARKED.value, "trouble": why}
        waits = {"status": DeliveryStatus.PARKED.value, "trouble": why, "due_time": None}
        delivery = sa.update(DELIVERIES).where(_D.id == post.delivery_id)
        connection.execute(delivery.values(waits | {"updated_time": time.time()}))
    connection.execute(sa.update(POSTS).where(_P.id == post.id).values(values))


def _note_gone(connection: sa.Connection, endpoint: str, now: float) -> None:
    known = sa.select(GONE_ENDPOINTS.c.time).where(GONE_ENDPOINTS.c.endpoint == endpoint)
    if connection.execute(known).first() is None:
        connection.execute(sa.insert(GONE_ENDPOINTS), {"endpoint": endpoint, "time": now})
