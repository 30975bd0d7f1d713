"""What the gateway asks of its keys, kept answers and audit log, held to by SQLite and by PostgreSQL."""

import asyncio
import time
from typing import Any

import pytest
import sqlalchemy as sa

from cadre_gateway.adapters.answers import Answer, Answers, Hold, KeyReused
from cadre_gateway.adapters.audit_log import AuditLog
from cadre_gateway.adapters.database import API_KEYS
from cadre_gateway.adapters.keys import Keys
from cadre_gateway.domain.api_keys import (
    ApiKey,
    KeyExists,
    KeyExpired,
    KeyNotFound,
    KeyRevoked,
    NewSecret,
    Rate,
    Scope,
    new_secret,
)
from cadre_gateway.domain.audit import AuditEntry, AuditQuery
from cadre_kit.ids import new_id
from cadre_kit.transactions import Transactions


@pytest.fixture
def keys(database: Transactions) -> Keys:
    return Keys(database)


async def added(keys: Keys, name: str = "ci", **more: Any) -> NewSecret:
    secret = new_secret()
    values = {"scope": Scope.RUN, "created_time": time.time(), **more}
    await keys.add(ApiKey(name=name, prefix=secret.prefix, **values), secret)
    return secret


def answers_of(database: Transactions, *, hold_seconds: float = 60.0) -> Answers:
    return Answers(database, hold_seconds=hold_seconds)


def an_entry(**more: Any) -> AuditEntry:
    values: dict[str, Any] = {
        "id": new_id(),
        "time": time.time(),
        "key": "ci",
        "prefix": "cadre_x",
        "address": "127.0.0.1",
        "method": "POST",
        "route": "/api/v1/runs",
        "ids": {"created": "/api/v1/runs/1"},
        "status": 202,
        "code": "",
        "request_id": "r",
    }
    return AuditEntry(**(values | more))


async def test_a_key_is_found_by_its_secret_and_by_nothing_else(keys: Keys) -> None:
    secret = await added(keys, scope=Scope.WRITE)

    found = await keys.use(secret.secret)

    assert found is not None
    assert (found.key.name, found.key.scope, found.allowance) == ("ci", Scope.WRITE, None)
    for wrong in ("", secret.prefix, secret.secret[:-1], secret.secret + "x"):
        assert await keys.use(wrong) is None


async def test_nothing_that_is_stored_opens_anything(keys: Keys, database: Transactions) -> None:
    secret = await added(keys)

    stored = await database.read(lambda c: c.execute(sa.select(API_KEYS)).mappings().one())

    assert secret.secret not in str(dict(stored))
    assert secret.secret.removeprefix(secret.prefix + "_") not in str(dict(stored))
    assert await keys.use(stored["digest"]) is None


async def test_a_name_is_given_once(keys: Keys) -> None:
    await added(keys)
    await keys.revoke("ci")

    with pytest.raises(KeyExists):
        await added(keys)


async def test_a_revoked_key_and_an_expired_one_say_so(keys: Keys) -> None:
    revoked, expired = await added(keys, "a"), await added(keys, "b", expires_time=time.time() - 1)
    await keys.revoke("a")

    uses = [await keys.use(each.secret) for each in (revoked, expired)]

    refusals = [use.key.refusal(time.time()) for use in uses if use]
    assert [type(each) for each in refusals] == [KeyRevoked, KeyExpired]


async def test_a_key_with_a_new_secret_lets_the_old_one_live_as_long_as_asked(keys: Keys) -> None:
    first, second, third = await added(keys), new_secret(), new_secret()

    await keys.rotate("ci", second, grace_seconds=60)
    assert all([await keys.use(first.secret), await keys.use(second.secret)])
    rotated = await keys.rotate("ci", third, grace_seconds=0)

    assert rotated.prefix == third.prefix
    found = [await keys.use(each.secret) for each in (first, second, third)]
    assert [use.key.name if use else None for use in found] == [None, None, "ci"]


async def test_what_is_not_valid_gets_no_new_secret(keys: Keys) -> None:
    await added(keys)
    await keys.revoke("ci")

    with pytest.raises(KeyRevoked):
        await keys.rotate("ci", new_secret(), grace_seconds=0)
    with pytest.raises(KeyNotFound):
        await keys.rotate("nobody", new_secret(), grace_seconds=0)


async def test_requests_at_once_get_no_more_than_the_rate(keys: Keys) -> None:
    # An hour: none comes back while the test runs, however long that takes.
    secret = await added(keys, rate=Rate(requests=10, seconds=36_000))

    uses = await asyncio.gather(*(keys.use(secret.secret) for _ in range(40)))

    allowances = [use.allowance for use in uses if use and use.allowance]
    allowed = [each for each in allowances if each.retry_seconds == 0]
    assert sorted(each.remaining for each in allowed) == list(range(10))
    refused = [each for each in allowances if each.retry_seconds > 0]
    assert len(refused) == 30
    assert all(0 < each.retry_seconds <= 3600 for each in refused)


async def test_tokens_come_back_evenly(keys: Keys) -> None:
    secret = await added(keys, rate=Rate(requests=2, seconds=0.4))

    async def allowed() -> bool:
        use = await keys.use(secret.secret)
        return bool(use and use.allowance and use.allowance.retry_seconds == 0)

    async with asyncio.timeout(10):
        while await allowed():
            pass
        while not await allowed():  # noqa: ASYNC110 - nobody tells when a token is back
            await asyncio.sleep(0.05)


async def test_the_last_use_is_known_to_the_minute(keys: Keys) -> None:
    secret = await added(keys)
    before = time.time()

    await keys.use(secret.secret)
    first = (await keys.list())[0].last_used_time
    await keys.use(secret.secret)

    assert first is not None
    assert before <= first <= time.time()
    assert (await keys.list())[0].last_used_time == first


async def test_the_first_request_is_held_and_a_repetition_gets_its_answer(
    database: Transactions,
) -> None:
    answers = answers_of(database)
    answer = Answer(status=202, media_type="application/json", location="/x", body=b"{}")

    hold = await answers.begin("ci", "k", "f")
    twin = await answers.begin("ci", "k", "f")
    assert isinstance(hold, Hold)
    await answers.keep(hold, answer)

    assert twin is None
    assert await answers.begin("ci", "k", "f") == answer
    assert isinstance(await answers.begin("ann", "k", "f"), Hold)
    with pytest.raises(KeyReused):
        await answers.begin("ci", "k", "another")


async def test_of_requests_at_once_one_is_first(database: Transactions) -> None:
    answers = answers_of(database)

    begun = await asyncio.gather(*(answers.begin("ci", "k", "f") for _ in range(20)))

    assert sum(isinstance(each, Hold) for each in begun) == 1


async def test_a_request_whose_gateway_died_is_the_first_again_and_only_once(
    database: Transactions,
) -> None:
    dead, alive = answers_of(database, hold_seconds=0.0), answers_of(database)
    late = await dead.begin("ci", "k", "f")

    begun = [await alive.begin("ci", "k", "f") for _ in range(2)]

    assert isinstance(late, Hold)
    assert isinstance(begun[0], Hold)
    assert begun[1] is None
    # Whoever was too late does not decide any more.
    await alive.keep(late, Answer(status=200, media_type="", location="", body=b"late"))
    await alive.release(late)
    assert await alive.begin("ci", "k", "f") is None


async def test_a_released_request_may_come_again_and_old_answers_are_forgotten(
    database: Transactions,
) -> None:
    answers = answers_of(database)
    hold = await answers.begin("ci", "k", "f")
    assert isinstance(hold, Hold)

    await answers.release(hold)
    assert isinstance(await answers.begin("ci", "k", "other"), Hold)

    assert await answers.sweep(keep_days=-1) == 1
    assert isinstance(await answers.begin("ci", "k", "f"), Hold)


async def test_the_audit_log_is_read_from_its_end_by_what_is_asked(database: Transactions) -> None:
    log = AuditLog(database)
    entries = [
        an_entry(key="ci"),
        an_entry(key="ann", method="DELETE", status=403, code="SCOPE_MISSING"),
        an_entry(key="ci", route="/api/v1/budgets", time=time.time() - 3600),
    ]
    for entry in entries:
        await log.add(entry)

    async def found(**wanted: Any) -> list[int]:
        page = await log.list(AuditQuery(limit=50, **wanted))
        return [entries.index(entry) for entry in page.entries]

    assert await found() == [2, 1, 0]
    assert await found(key="ci") == [2, 0]
    assert await found(method="delete") == [1]
    assert await found(route="/api/v1/budgets") == [2]
    assert await found(refused=True) == [1]
    assert await found(refused=False) == [2, 0]
    assert await found(since=time.time() - 60) == [1, 0]
    assert await found(until=time.time() - 60) == [2]
    page = await log.list(AuditQuery(limit=2))
    assert page.more
    assert await found(before=page.entries[-1].id) == [0]


async def test_the_audit_log_forgets_by_age_and_by_number(database: Transactions) -> None:
    log = AuditLog(database)
    old, *newer = [an_entry(time=time.time() - 10 * 86_400), *(an_entry() for _ in range(4))]
    for entry in (old, *newer):
        await log.add(entry)

    assert await log.sweep(keep_days=5, most=1000) == 1
    assert await log.sweep(keep_days=5, most=3) == 1

    page = await log.list(AuditQuery(limit=50))
    assert list(page.entries) == newer[:0:-1]
