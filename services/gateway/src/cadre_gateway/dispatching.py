"""Takes deliveries from the inbox to their end: starts their runs, follows those that somebody is told of, sends what
is to be told. Whatever is not done is in the database, and due again."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cadre_gateway.adapters.inbox import Inbox
from cadre_gateway.adapters.outbox import Outbox
from cadre_gateway.adapters.runs import news_of, news_of_batch, start_run
from cadre_gateway.adapters.services import Executor
from cadre_gateway.answering import Answering
from cadre_gateway.domain.connectors import (
    FILES_TOO_LARGE,
    FILES_UNREADABLE,
    WORK_TICK_SECONDS,
    AttachmentTooLarge,
    Connector,
)
from cadre_gateway.domain.deliveries import (
    Delivery,
    DeliveryStatus,
    EndpointGone,
    Post,
    RunNews,
    RunQuestion,
    Trouble,
    TryAgain,
    Undeliverable,
)
from cadre_gateway.domain.retries import MOST_TRIES, due_again, start_again_seconds
from cadre_gateway.entrypoint.metrics import Metrics
from cadre_kit.errors import CadreError, Internal, Kind
from cadre_kit.logs import logger

__all__ = ["Dispatcher"]

log = logger()

# What may be otherwise at the next try; all else is the delivery's own fault.
_PASSING = frozenset(
    {
        Kind.UNAVAILABLE,
        Kind.DEADLINE_EXCEEDED,
        Kind.LIMIT_EXCEEDED,
        Kind.CANCELLED,
        Kind.INTERNAL,
        Kind.DATA_LOST,
    }
)
_WORKERS = 12
_SENDERS = 16
_QUEUED = 1_000
_CLAIMED_AT_ONCE = 100
_LOOK_SECONDS = 0.2
_PAUSE_AFTER_TROUBLE_SECONDS = 1.0
_LAST_SENDS_SECONDS = 2.0
# So often a delivery may take its gateway down with it, or fail by a mistake of ours, before it is parked.
_MOST_TRIES = 5
_LONGEST_WAIT_SECONDS = 86_400.0
_FIRST_LOOK_SECONDS = 0.2
_LONGEST_LOOK_SECONDS = 30.0
# For so long a run's sender is shown that it goes on; it would only be noise afterwards.
_SHOWN_SECONDS = 600.0


_Found = TypeVar("_Found", Delivery, Post)


@dataclass(frozen=True, kw_only=True)
class Dispatcher:
    """Works in the background while `running` is entered."""

    inbox: Inbox
    outbox: Outbox
    executor: Executor
    connectors: Mapping[str, Connector]
    metrics: Metrics
    queue: "asyncio.Queue[Delivery]" = field(default_factory=lambda: asyncio.Queue(maxsize=_QUEUED))
    sending: "set[asyncio.Task[None]]" = field(default_factory=set)
    showing: "set[asyncio.Task[None]]" = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works until the block is left; what is under way then is done again later."""
        await self.inbox.release_all()
        tasks = [asyncio.create_task(self._work()) for _ in range(_WORKERS)]
        tasks.append(asyncio.create_task(self._look()))
        try:
            yield
        finally:
            await _ended(tasks)
            if self.sending:
                # What is cut off now would be sent again at the next start.
                await asyncio.wait(self.sending, timeout=_LAST_SENDS_SECONDS)
            await _ended([*self.sending, *self.showing])

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Begins with deliveries that were just accepted; those that find no room are found when they are due."""
        for delivery in deliveries:
            with suppress(asyncio.QueueFull):
                self.queue.put_nowait(delivery)

    async def _look(self) -> None:
        """Finds what is due."""
        while True:
            pause = _LOOK_SECONDS
            try:
                await self._find_due()
            except CadreError as error:
                log.warning("inbox_unreadable", code=error.code, reason=error.message)
                pause = _PAUSE_AFTER_TROUBLE_SECONDS
            await asyncio.sleep(pause)

    async def _find_due(self) -> None:
        if self.queue.qsize() < _QUEUED // 2:
            for delivery in await self.inbox.claim(limit=_CLAIMED_AT_ONCE):
                await self.queue.put(delivery)
        # No more than can be sent now: one that waited here for longer than its lease would be sent twice.
        free = _SENDERS - len(self.sending)
        for post in await self.outbox.claim(limit=free) if free else ():
            task = asyncio.create_task(self._guarded(post, self._send))
            self.sending.add(task)
            task.add_done_callback(self.sending.discard)

    async def _work(self) -> None:
        while True:
            await self._guarded(await self.queue.get(), self._advance)

    async def _guarded(self, found: _Found, step: Callable[[_Found], Awaitable[None]]) -> None:
        """Takes a step; what was not written down is due again."""
        try:
            await step(found)
        except CadreError as error:
            log.warning("delivery_not_settled", id=found.id, code=error.code, reason=error.message)
        except Exception as exc:
            log.error("delivery_failed", id=found.id, exc_info=exc)

    async def _advance(self, delivery: Delivery) -> None:
        """One step of a delivery."""
        delivery = await self.inbox.begin(delivery)
        try:
            if delivery.tries > _MOST_TRIES:
                raise _GivenUp(delivery)
            if not (delivery.has_run or delivery.batch_id):
                await self._answer(delivery)
            elif delivery.starts_a_run and delivery.status is DeliveryStatus.RECEIVED:
                await start_run(self.executor, delivery, await self._completed(delivery))
                await self._started(delivery)
            else:
                await self._follow(delivery)
        except CadreError as error:
            await self._failed(delivery, error)

    async def _completed(self, delivery: Delivery) -> Mapping[str, object]:
        """The content with its files. Whoever sent them is told when they are too large, or are not given."""
        connector = self.connectors[delivery.kind]
        try:
            return await connector.complete(delivery)
        except (AttachmentTooLarge, Undeliverable) as error:
            is_large = isinstance(error, AttachmentTooLarge)
            words = FILES_TOO_LARGE if is_large else FILES_UNREADABLE
            said = _posts(delivery, "said", connector.say(delivery, words))
            await self.outbox.put(delivery, said, ends=False)
            raise

    async def _answer(self, delivery: Delivery) -> None:
        """Does what a delivery asks for, and puts down what is said to it, once."""
        posts: list[Post] = []
        if delivery.status is DeliveryStatus.RECEIVED:
            words = await Answering(inbox=self.inbox, executor=self.executor).words(delivery)
            documents = self.connectors[delivery.kind].say(delivery, words)
            posts = _posts(delivery, "said", documents)
        await self.outbox.put(delivery, posts, ends=True)

    async def _started(self, delivery: Delivery) -> None:
        if delivery.awaits_end:
            self._show_work(delivery, tick=0)
        due = time.time() + _FIRST_LOOK_SECONDS if delivery.awaits_end else None
        await self.inbox.settle(delivery, DeliveryStatus.STARTED, due_time=due)

    async def _follow(self, delivery: Delivery) -> None:
        news = await self._news(delivery)
        if news is not None:
            ends = news.status != "waiting"
            await self.outbox.put(delivery, self._news_posts(delivery, news), ends=ends)
            if ends:
                return
        else:
            self._show_that_it_goes_on(delivery)
        age = time.time() - delivery.received_time
        longest = WORK_TICK_SECONDS if age < _SHOWN_SECONDS else _LONGEST_LOOK_SECONDS
        pause = min(max(_FIRST_LOOK_SECONDS, age * 0.2), longest)
        await self.inbox.settle(delivery, DeliveryStatus.STARTED, due_time=time.time() + pause)

    async def _news(self, delivery: Delivery) -> RunNews | None:
        if delivery.batch_id:
            return await news_of_batch(self.executor, delivery.batch_id)
        return await news_of(self.executor, delivery.run_id)

    def _show_that_it_goes_on(self, delivery: Delivery) -> None:
        """Shows it once in each tick since the run was begun: `updated_time` is when it was looked at last."""
        last, now = (
            int((moment - delivery.received_time) // WORK_TICK_SECONDS)
            for moment in (delivery.updated_time, time.time())
        )
        if now > last:
            self._show_work(delivery, tick=now)

    def _show_work(self, delivery: Delivery, *, tick: int) -> None:
        """Beside the work itself, and left out when much is to be shown: it is a courtesy."""
        if len(self.showing) >= _SENDERS or tick * WORK_TICK_SECONDS > _SHOWN_SECONDS:
            return
        task = asyncio.create_task(self._shown(delivery, tick))
        self.showing.add(task)
        task.add_done_callback(self.showing.discard)

    async def _shown(self, delivery: Delivery, tick: int) -> None:
        try:
            await self.connectors[delivery.kind].show_work(delivery, tick=tick)
        except CadreError as error:
            log.debug("work_not_shown", id=delivery.id, code=error.code, reason=error.message)
        except Exception as exc:
            log.error("work_not_shown", id=delivery.id, exc_info=exc)

    def _news_posts(self, delivery: Delivery, news: RunNews) -> list[Post]:
        """What the connector has to say; the same news gives the same ids, so that it is said once."""
        connector = self.connectors[delivery.kind]
        if news.status != "waiting":
            return _posts(delivery, "end", connector.reply(delivery, news))
        # Each question by itself: it is not asked again when another is answered, or asked beside it.
        posts: list[Post] = []
        for each in news.questions:
            asked = replace(news, questions=[each])
            posts += _posts(delivery, _about(each), connector.reply(delivery, asked))
        return posts

    async def _failed(self, delivery: Delivery, error: CadreError) -> None:
        """Tries again later, or leaves it to a person."""
        age = time.time() - delivery.received_time
        passing = error.kind in _PASSING and not isinstance(error, _GivenUp)
        # A run that was started may wait for a person for as long as it takes.
        too_old = delivery.status is DeliveryStatus.RECEIVED and age > _LONGEST_WAIT_SECONDS
        if not passing or too_old:
            log.warning("delivery_parked", id=delivery.id, code=error.code, reason=error.message)
            self.metrics.delivery(delivery.kind, "parked")
            await self.inbox.settle(
                delivery, DeliveryStatus.PARKED, tries=delivery.tries, trouble=Trouble.of(error)
            )
            return
        # A service that is away is no fault of the delivery's; a mistake of ours may be brought out by it.
        counts = error.kind in (Kind.INTERNAL, Kind.DATA_LOST)
        await self.inbox.settle(
            delivery,
            delivery.status,
            due_time=time.time() + start_again_seconds(age),
            tries=delivery.tries if counts else 0,
            trouble=Trouble.of(error),
        )

    async def _send(self, post: Post) -> None:
        """One try of a post."""
        try:
            if post.tries > MOST_TRIES:
                raise Undeliverable("it was begun too often, and never came to an end")
            if post.endpoint and await self.outbox.is_gone(post.endpoint):
                raise EndpointGone(
                    "the receiver answered 410 before: it wants nothing more",
                    resolution="Replay this once the receiver is back, or apply the workflow anew.",
                )
            connector = self.connectors[post.kind]
            receipt = await connector.send(post.document, post_id=post.id, now=time.time())
        except CadreError as error:
            await self._unsent(post, error)
        else:
            self.metrics.post(post.kind, "sent")
            await self.outbox.sent(post, receipt=receipt)

    async def _unsent(self, post: Post, error: CadreError) -> None:
        asked = error.after_seconds if isinstance(error, TryAgain) else None
        pause = due_again(post.tries, after_seconds=asked) if error.kind in _PASSING else None
        self.metrics.post(post.kind, "failed" if pause is not None else "parked")
        if pause is None:
            log.warning("post_parked", id=post.id, code=error.code, reason=error.message)
            await self.outbox.park(post, Trouble.of(error))
            return
        await self.outbox.again(post, due_time=time.time() + pause, trouble=Trouble.of(error))


class _GivenUp(Internal):
    """A delivery was begun several times, and never came to an end."""

    code = "DELIVERY_GIVEN_UP"

    def __init__(self, delivery: Delivery) -> None:
        last = delivery.trouble.message if delivery.trouble else "the gateway ended each time"
        super().__init__(
            f"the delivery was begun {_MOST_TRIES} times and never came to an end: {last}",
            resolution="Look for its id in the gateway's log, then replay or discard it.",
            metadata={"delivery": delivery.id},
        )


def _posts(delivery: Delivery, about: str, documents: Sequence[Mapping[str, object]]) -> list[Post]:
    """Things to send, named after what they are about."""
    now = time.time()
    return [
        Post(
            id=f"msg_{delivery.id}_{about}_{number}",
            delivery_id=delivery.id,
            kind=delivery.kind,
            document=document,
            endpoint=_endpoint(document),
            due_time=now,
        )
        for number, document in enumerate(documents)
    ]


def _about(question: RunQuestion) -> str:
    """What a post is named after that asks a question."""
    return hashlib.sha256(f"{question.node}/{question.iteration}".encode()).hexdigest()[:16]


async def _ended(tasks: "Sequence[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _endpoint(document: Mapping[str, object]) -> str:
    """Whom a document goes to, short enough for a key."""
    named = document.get("endpoint")
    return hashlib.sha256(str(named).encode()).hexdigest() if named else ""
