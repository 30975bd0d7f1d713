"""What the gateway asks of its inbox and outbox, held to by SQLite and by PostgreSQL."""

import asyncio
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import cadre_gateway
from cadre_gateway.adapters.database import open_gateway_database
from cadre_gateway.adapters.inbox import LEASE_SECONDS, Inbox
from cadre_gateway.adapters.outbox import Outbox
from cadre_gateway.domain.actions import (
    Action,
    AnswerQuestion,
    CancelRun,
    Say,
    ShowStatus,
    StartRun,
)
from cadre_gateway.domain.deliveries import (
    Delivery,
    DeliveryNotFound,
    DeliveryStatus,
    EndpointGone,
    NotParked,
    Post,
    PostStatus,
    Receipt,
    Trouble,
)
from cadre_kit.databases import migrate
from cadre_kit.errors import InvalidInput
from cadre_kit.ids import new_id
from cadre_kit.transactions import Transactions

MIGRATIONS = Path(cadre_gateway.__file__).parent / "migrations"
WHY = Trouble(code="UNDELIVERABLE", message="no")


@pytest.fixture
def inbox(database: Transactions) -> Inbox:
    return Inbox(database)


@pytest.fixture
def outbox(database: Transactions) -> Outbox:
    return Outbox(database)


def a_delivery(key: str = "k", **more: Any) -> Delivery:
    made = Delivery(
        id=new_id(),
        kind="slack",
        name="helper",
        key=key,
        workflow="triage",
        version=2,
        trigger=0,
        content={"text": "ünicode \u0000 ☃", "body": {"n": 2**70}},
        back={"channel": "C1"},
        run_id=new_id(),
        received_time=time.time(),
        reply="answer",
        secrets=("A", "B"),
    )
    return replace(made, **more)


def a_picture(name: str, text: str = "") -> Delivery:
    return a_delivery(f"update {name}", content={"text": text, "files": [{"id": name, "size": 1}]})


async def test_an_album_is_gathered_until_it_is_begun(inbox: Inbox, database: Transactions) -> None:
    one, two = a_picture("one"), a_picture("two", "both")

    told = [await inbox.gather(each, "album 7") for each in (one, two, one)]
    await database.write(lambda c: c.execute(sa.text("UPDATE deliveries SET due_time = 1")))
    (begun,) = await inbox.claim(limit=9)
    known = await inbox.gather(a_picture("two"), "album 7")
    late = await inbox.gather(a_picture("three"), "album 7")

    assert [each and (each.id, each.is_new) for each in told] == [
        (one.id, True),
        (one.id, True),
        (one.id, False),
    ]
    assert begun.content == {
        "text": "both",
        "files": [{"id": "one", "size": 1}, {"id": "two", "size": 1}],
    }
    assert known is not None
    assert (known.id, known.is_new, late) == (one.id, False, None)


def a_post(delivery: Delivery, number: int, **more: Any) -> Post:
    made = Post(
        id=f"msg_{delivery.id}_{number}",
        delivery_id=delivery.id,
        kind="slack",
        document={"text": str(number)},
        due_time=time.time(),
    )
    return replace(made, **more)


async def started(inbox: Inbox, key: str = "k") -> Delivery:
    delivery = a_delivery(key)
    await inbox.accept([delivery])
    await inbox.settle(delivery, DeliveryStatus.STARTED)
    return replace(delivery, status=DeliveryStatus.STARTED)


async def test_what_is_accepted_is_kept_whole(inbox: Inbox) -> None:
    delivery = a_delivery()
    (accepted,) = await inbox.accept([delivery])

    kept, posts = await inbox.get(delivery.id)

    assert (accepted.is_new, accepted.run_id, posts) == (True, delivery.run_id, [])
    assert replace(kept, tries=0, due_time=None) == delivery
    assert await inbox.expects(delivery.run_id)
    with pytest.raises(DeliveryNotFound):
        await inbox.get("none")


async def test_of_many_repetitions_at_once_one_is_new_and_all_are_told_the_same(
    inbox: Inbox,
) -> None:
    told = await asyncio.gather(*(inbox.accept([a_delivery()]) for _ in range(20)))
    other = await inbox.accept([a_delivery(name="another"), a_delivery(name="another")])

    assert len({each.run_id for (each,) in told}) == 1
    assert [each.is_new for (each,) in told].count(True) == 1
    assert [each.is_new for each in other] == [True, False]


async def test_a_delivery_is_with_one_gateway_at_a_time_until_its_lease_is_over(
    inbox: Inbox,
) -> None:
    await inbox.accept([a_delivery(str(n), received_time=0.0) for n in range(10)])

    claims = await asyncio.gather(*(inbox.claim(limit=5) for _ in range(4)))
    await inbox.release_all()
    again = await inbox.claim(limit=100)

    keys = [delivery.key for claimed in claims for delivery in claimed]
    assert sorted(keys) == sorted(set(keys))
    assert len(again) == 10
    assert {delivery.tries for delivery in again} == {0}
    assert await inbox.claim(limit=100) == []
    assert all((d.due_time or 0) > time.time() + LEASE_SECONDS - 10 for d in again)


async def test_only_tries_that_were_begun_are_counted(inbox: Inbox) -> None:
    await inbox.accept([a_delivery(str(n), received_time=0.0) for n in range(2)])
    begun, waiting = await inbox.claim(limit=2)

    tried = await inbox.begin(begun)
    await inbox.release_all()
    again = {delivery.id: delivery.tries for delivery in await inbox.claim(limit=2)}

    assert tried.tries == 1
    assert again == {begun.id: 1, waiting.id: 0}


async def test_who_comes_too_late_changes_nothing(inbox: Inbox) -> None:
    delivery = await started(inbox)
    await inbox.settle(delivery, DeliveryStatus.PARKED, trouble=WHY)
    await inbox.settle(delivery, DeliveryStatus.STARTED, due_time=1.0)

    kept, _ = await inbox.get(delivery.id)

    assert (kept.status, kept.trouble, kept.due_time) == (DeliveryStatus.PARKED, WHY, None)


async def test_posts_are_put_down_once_and_claimed_in_order(inbox: Inbox, outbox: Outbox) -> None:
    delivery = await started(inbox)
    posts = [a_post(delivery, 0), a_post(delivery, 1)]
    await outbox.put(delivery, posts, ends=False)
    await outbox.put(delivery, [*posts, a_post(delivery, 2)], ends=True)

    (first,) = await outbox.claim(limit=10)
    nothing_yet = await outbox.claim(limit=10)
    await outbox.sent(first)
    (second,) = await outbox.claim(limit=10)
    kept, all_posts = await inbox.get(delivery.id)

    assert ((first.document, first.tries), nothing_yet) == (({"text": "0"}, 1), [])
    assert second.document == {"text": "1"}
    assert kept.status is DeliveryStatus.ENDED
    assert [post.status for post in all_posts] == [PostStatus.SENT, *[PostStatus.PENDING] * 2]


async def test_a_post_that_is_parked_holds_what_follows_until_a_replay(
    inbox: Inbox, outbox: Outbox
) -> None:
    delivery = await started(inbox)
    posts = [a_post(delivery, 0, endpoint="e"), a_post(delivery, 1, endpoint="e")]
    await outbox.put(delivery, posts, ends=True)
    (first,) = await outbox.claim(limit=10)
    await outbox.park(first, replace(WHY, code=EndpointGone.code))
    gone, parked = await outbox.is_gone("e"), (await inbox.get(delivery.id))[0]

    nothing = await outbox.claim(limit=10)
    await inbox.replay(parked)
    (again,) = await outbox.claim(limit=10)

    assert (gone, parked.status, nothing) == (True, DeliveryStatus.PARKED, [])
    assert (again.id, again.tries, again.trouble) == (first.id, 1, None)
    assert not await outbox.is_gone("e")
    with pytest.raises(NotParked):
        await inbox.replay(parked)


async def test_lists_are_narrowed_and_go_on_from_page_to_page(inbox: Inbox) -> None:
    made = [a_delivery(str(n)) for n in range(3)]
    await inbox.accept(made)
    await inbox.settle(made[0], DeliveryStatus.PARKED, trouble=WHY)

    async def ids(**how: Any) -> list[str]:
        asked: dict[str, Any] = {"status": None, "source": "", "key": "", "before": "", "limit": 9}
        return [each.key for each in (await inbox.list(**{**asked, **how})).deliveries]

    assert await ids() == ["2", "1", "0"]
    assert await ids(limit=2, before=made[2].id) == ["1", "0"]
    assert await ids(status=DeliveryStatus.PARKED) == ["0"]
    assert await ids(source="slack/helper", key="1") == ["1"]
    assert await ids(source="slack/other") == []


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_nul_is_its_sender_s_mistake_and_not_the_database_s(inbox: Inbox) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        await inbox.list(status=None, source="", key="\0", before="", limit=9)


async def test_what_is_done_is_forgotten_after_its_time_and_nothing_else(
    inbox: Inbox, outbox: Outbox
) -> None:
    done, parked, open_ = [await started(inbox, key) for key in "abc"]
    await outbox.put(done, [a_post(done, 0, status=PostStatus.SENT, due_time=None)], ends=True)
    await inbox.settle(parked, DeliveryStatus.PARKED, trouble=WHY)
    await outbox.put(open_, [a_post(open_, 0)], ends=True)

    forgotten = await inbox.sweep(keep_days=-1)
    kept = await inbox.list(status=None, source="", key="", limit=9, before="")

    assert forgotten == 1
    assert {each.key for each in kept.deliveries} == {"b", "c"}


async def test_the_last_run_of_a_conversation_is_that_conversation_s(inbox: Inbox) -> None:
    earlier = a_delivery("1", conversation="42")
    later = a_delivery("2", conversation="42", received_time=earlier.received_time + 9)
    asking = a_delivery("3", conversation="42", action=ShowStatus(), workflow="")
    elsewhere = a_delivery("4", conversation="43")
    for each in (earlier, later, asking, elsewhere):
        await inbox.accept([each])

    found = await inbox.last_run(asking)
    own = await inbox.of_run(earlier.run_id)
    kept, _ = await inbox.get(asking.id)

    assert (found and found.id, own and own.id) == (later.id, earlier.id)
    assert (kept.action, kept.conversation) == (ShowStatus(), "42")
    assert await inbox.last_run(replace(asking, name="another")) is None
    assert await inbox.of_run("none") is None
    assert await inbox.last_heard("slack", "helper", "42") == later.received_time
    assert await inbox.last_heard("slack", "helper", "44") is None


@pytest.mark.parametrize(
    "action",
    [
        StartRun(),
        Say(text="ünicode ☃"),
        CancelRun(),
        AnswerQuestion(run_id="r", mark="m", iteration=3, choice=0),
        AnswerQuestion(run_id="r", words="yes"),
    ],
)
async def test_what_is_asked_for_is_kept(inbox: Inbox, action: Action) -> None:
    delivery = a_delivery(action=action)
    await inbox.accept([delivery])

    assert (await inbox.get(delivery.id))[0].action == action


async def test_what_a_provider_says_of_a_post_is_kept_and_its_failure_parks(
    inbox: Inbox, outbox: Outbox
) -> None:
    delivery = await started(inbox)
    await outbox.put(delivery, [a_post(delivery, 0)], ends=True)
    (post,) = await outbox.claim(limit=9)
    await outbox.sent(post, receipt="wamid.1")

    read = Receipt(receipt="wamid.1", status="read")
    await outbox.note("slack", [Receipt(receipt="wamid.2", status="read", trouble=WHY), read])
    known, (shown,) = await inbox.get(delivery.id)
    await outbox.note("slack", [Receipt(receipt="wamid.1", status="failed", trouble=WHY)])
    parked, (failed,) = await inbox.get(delivery.id)

    assert (known.status, shown.receipt_status) == (DeliveryStatus.ENDED, "read")
    assert (parked.status, parked.trouble) == (DeliveryStatus.PARKED, WHY)
    assert (failed.status, failed.receipt_status) == (PostStatus.PARKED, "failed")


async def test_what_asks_for_no_run_ends_with_what_is_said_to_it(
    inbox: Inbox, outbox: Outbox
) -> None:
    delivery = a_delivery(action=Say(text="hi"), workflow="")
    await inbox.accept([delivery])
    for _ in range(2):
        await outbox.put(delivery, [a_post(delivery, 0)], ends=True)

    kept, posts = await inbox.get(delivery.id)

    assert (kept.status, len(posts)) == (DeliveryStatus.ENDED, 1)


async def test_deliveries_of_the_first_release_are_still_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gateway.db"
    first = tmp_path / "first"
    shutil.copytree(MIGRATIONS, first, ignore=shutil.ignore_patterns("000[2-9]*", "__pycache__"))
    migrate(url, migrations=first, name="gateway")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(_OLD_DELIVERY))
        connection.execute(sa.text(_OLD_POST))
    engine.dispose()

    database = await open_gateway_database(url)
    kept, (post,) = await Inbox(database).get("d1")
    await database.close()

    assert (kept.action, kept.conversation, kept.content) == (StartRun(), "", {"text": "hi"})
    assert (post.receipt, post.receipt_status, post.document) == ("", "", {"text": "yes"})


_OLD_DELIVERY = """
INSERT INTO deliveries (id, kind, name, key, workflow, version, content, back, reply, notify, secrets, run_id, status,
  tries, received_time, updated_time)
VALUES ('d1', 'slack', 'helper', 'k', 'w', 1, '{"text": "hi"}', '{}', 'answer', '', '[]', 'r1', 'ended', 0, 1.0, 1.0)
"""
_OLD_POST = """
INSERT INTO posts (id, delivery_id, kind, position, document, endpoint, status, tries)
VALUES ('p1', 'd1', 'slack', 0, '{"text": "yes"}', '', 'sent', 1)
"""
