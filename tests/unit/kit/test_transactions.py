"""Transactions on a real SQLite file: together, alone, beside another writer, and with the disk waited for."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.postgresql import Postgresql

from cadre_kit.databases import DatabaseUnavailable, connect_sqlite, open_postgresql
from cadre_kit.transactions import Statements, Transactions, open_transactions

TABLE = sa.Table("numbers", sa.MetaData(), sa.Column("number", sa.Integer))
ADD = sa.insert(TABLE)
SUM = sa.select(sa.func.sum(TABLE.c.number))


class Refused(Exception):
    """A write's own error."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path}/any.db"
    connection = connect_sqlite(found)
    connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
    connection.close()
    return found


@pytest.fixture(params=[False, True], ids=["normal", "strict"])
async def transactions(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Transactions]:
    found = open_transactions(url, name="any", strict=request.param)
    yield found
    await found.close()


async def add(transactions: Transactions, number: int, error: Exception | None = None) -> int:
    def work(statements: Statements) -> int:
        statements.add(ADD, [{"number": number}])
        if error is not None:
            raise error
        return number

    return await transactions.write_fast(work)


async def total(transactions: Transactions) -> int:
    return await transactions.read(lambda connection: connection.execute(SUM).scalar() or 0)


async def test_writes_that_come_together_are_each_stored(transactions: Transactions) -> None:
    added = await asyncio.gather(*(add(transactions, number) for number in range(1, 301)))

    assert added == list(range(1, 301))
    assert await total(transactions) == sum(range(1, 301))


async def test_of_many_callers_each_commit_stores_several_writes_and_one_alone_is_stored(
    url: str, tmp_path: Path
) -> None:
    transactions = open_transactions(url, name="any", strict=False)
    turns = random.Random(1)

    async def caller(number: int) -> None:
        for each in range(20):
            for _ in range(turns.randint(1, 20)):
                await asyncio.sleep(0)
            await add(transactions, 1 + number * 20 + each)

    await asyncio.gather(*(caller(number) for number in range(20)))
    pages_written = (tmp_path / "any.db-wal").stat().st_size // 4096
    await add(transactions, 401)

    assert pages_written < 100
    assert await total(transactions) == sum(range(1, 402))
    await transactions.close()


async def test_one_that_raises_takes_nothing_back_of_the_others(transactions: Transactions) -> None:
    results = await asyncio.gather(
        add(transactions, 1),
        add(transactions, 2, Refused()),
        add(transactions, 1),
        add(transactions, 3),
        return_exceptions=True,
    )

    assert [type(r) for r in results] == [int, Refused, DatabaseUnavailable, int]
    assert await total(transactions) == 4


async def test_one_that_raises_alone_stores_nothing(transactions: Transactions) -> None:
    with pytest.raises(Refused):
        await add(transactions, 1, Refused())
    await add(transactions, 2)

    assert await total(transactions) == 2


async def test_another_writer_is_waited_for_without_holding_up_the_loop(
    transactions: Transactions, url: str
) -> None:
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    adding = asyncio.gather(*(add(transactions, number) for number in (1, 2)))
    assert await total(transactions) == 0
    assert not adding.done()
    other.execute("COMMIT")
    other.close()

    assert await adding == [1, 2]


async def test_a_caller_that_left_leaves_its_write_done_and_the_others_unharmed(
    transactions: Transactions,
) -> None:
    left = asyncio.create_task(add(transactions, 1))
    await asyncio.sleep(0)
    left.cancel()

    assert await add(transactions, 2) == 2
    assert left.cancelled() or left.done()
    assert await total(transactions) == 3


async def test_a_fast_read_waits_for_no_writer_and_sees_whole_transactions(
    transactions: Transactions, url: str
) -> None:
    await add(transactions, 1)
    with connect_sqlite(url) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO numbers VALUES (2)")

        before = await transactions.read_fast(lambda statements: statements.scalar(SUM, {}))
        other.execute("COMMIT")
        after = await transactions.read_fast(lambda statements: statements.scalar(SUM, {}))

    assert (before, after) == (1, 3)


async def test_a_fast_read_that_fails_is_said_in_our_words_and_the_next_one_works(
    transactions: Transactions,
) -> None:
    missing = sa.text("SELECT anything FROM missing")

    with pytest.raises(DatabaseUnavailable):
        await transactions.read_fast(lambda statements: statements.rows(missing, {}))

    assert await transactions.read_fast(lambda statements: statements.scalar(SUM, {})) is None


async def test_a_log_that_has_grown_long_is_cut_once_nobody_reads_it(
    transactions: Transactions, url: str, tmp_path: Path
) -> None:
    reader = connect_sqlite(url)
    reader.execute("CREATE TABLE texts (text BLOB)")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM numbers").fetchone()
    texts = sa.Table("texts", sa.MetaData(), sa.Column("text", sa.LargeBinary))
    adding = sa.insert(texts)

    async def write(times: int) -> int:
        for _ in range(times):
            await transactions.write_fast(lambda s: s.add(adding, [{"text": bytes(90_000)}]))
        return (tmp_path / "any.db-wal").stat().st_size

    held = await write(510)
    reader.execute("COMMIT")
    reader.close()
    few = []
    for _ in range(100):
        await write(5)
        # It waits behind the moving of the log, so that nothing is written meanwhile.
        await transactions.write(lambda connection: connection.execute(SUM).scalar())
        few.append((tmp_path / "any.db-wal").stat().st_size)

    assert held > 40_000_000
    assert min(few) < 5_000_000
    count = sa.select(sa.func.count()).select_from(texts)
    assert await transactions.read(lambda connection: connection.execute(count).scalar()) == 1010


@pytest.mark.postgresql
async def test_a_client_that_fell_silent_within_a_transaction_holds_nobody_up(
    postgresql_server: Postgresql,
) -> None:
    url = postgresql_server.fresh()
    change = sa.update(TABLE).values(number=2)
    transactions = open_transactions(url, name="any", strict=False)
    silent = open_postgresql(url)
    async with silent.connect() as connection:
        await connection.execute(sa.text("CREATE TABLE numbers AS SELECT 1 AS number"))
        await connection.commit()
        await connection.execute(change)

        changed = await transactions.write(lambda other: other.execute(change).rowcount)
        await connection.invalidate()
    await silent.dispose()
    await transactions.close()

    assert changed == 1
