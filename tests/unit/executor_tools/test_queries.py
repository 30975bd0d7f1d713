"""sql_query, on real databases."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.postgresql import Postgresql
from tests.unit.executor_tools.conftest import Bench, bench_in, context

from cadre_executor.domain.tools import ToolFailed

MAKE = "CREATE TABLE sales (city TEXT, amount INTEGER); INSERT INTO sales VALUES ('Ulm', 3), ('Bonn', 5)"
WRITES = (
    "INSERT INTO sales VALUES ('x', 1)",
    "UPDATE sales SET amount = 0",
    "DELETE FROM sales",
    "DROP TABLE sales",
    "CREATE TABLE more (a int)",
    "WITH gone AS (DELETE FROM sales RETURNING *) SELECT * FROM gone",
    "SELECT 1; DELETE FROM sales",
    "SELECT 1) ; DELETE FROM sales; --",
)
SQLITE_WRITES = (
    *WRITES,
    "ATTACH 'other.db' AS other",
    "PRAGMA query_only = OFF",
    "VACUUM INTO 'copy.db'",
    "SELECT load_extension('x')",
)
DUCKDB_WRITES = (
    *WRITES,
    "ATTACH 'other.db'",
    "COPY sales TO 'out.csv'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SET enable_external_access = true",
    "INSTALL httpfs",
    "LOAD httpfs",
    "EXPORT DATABASE 'out'",
)
POSTGRESQL_WRITES = (
    *WRITES,
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "COPY sales TO PROGRAM 'cat'",
    "COPY sales TO '/tmp/sales'",
    "SELECT 1 INTO more",
)
FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

WIDE = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
    " SELECT replace('----------', '-', '0123456789') AS wide, a.i, b.i FROM n AS a, n AS b"
)


def make_sqlite(path: Path, *, wal: bool = False) -> None:
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(MAKE)
    connection.close()


def make_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(MAKE)


@asynccontextmanager
async def by_address(home: Path, url: str) -> AsyncIterator[Any]:
    """Asks the database at an address that is a secret of the workflow."""
    async with bench_in(home, variables={"SALES": url}) as bench:

        async def ask(query: str, **arguments: Any) -> Any:
            config = {"url_env": "SALES", **arguments.pop("config", {})}
            listed = context(secrets=("SALES",))
            return await bench("sql_query", query=query, config=config, context=listed, **arguments)

        yield ask


@pytest.mark.parametrize("wal", [False, True])
async def test_a_sqlite_file_of_the_run_is_asked(bench: Bench, files: Path, wal: bool) -> None:
    make_sqlite(files / "s.db", wal=wal)

    answer = await bench(
        "sql_query",
        query="SELECT city, amount FROM sales WHERE amount > ? ORDER BY 2",
        parameters=[1],
        config={"database": "s.db"},
    )

    assert answer == {
        "columns": ["city", "amount"],
        "rows": [["Ulm", 3], ["Bonn", 5]],
        "more": False,
    }


@pytest.mark.parametrize("query", SQLITE_WRITES)
async def test_sqlite_refuses_to_write(tmp_path: Path, query: str) -> None:
    make_sqlite(tmp_path / "s.db")
    before = (tmp_path / "s.db").read_bytes()

    async with by_address(tmp_path, f"sqlite:///{tmp_path}/s.db") as ask:
        with pytest.raises(ToolFailed) as refused:
            await ask(query)

    assert refused.value.code == "QUERY_FAILED"
    assert (tmp_path / "s.db").read_bytes() == before
    assert not (tmp_path / "copy.db").exists()


async def test_a_duckdb_file_of_the_run_is_asked(bench: Bench, files: Path) -> None:
    make_duckdb(files / "s.duckdb")

    answer = await bench(
        "sql_query",
        query="SELECT sum(amount) AS total, max(DATE '2026-11-24') AS day, 1.5::DECIMAL(4,2) AS d FROM sales",
        config={"database": "s.duckdb"},
    )

    assert answer["columns"] == ["total", "day", "d"]
    assert answer["rows"] == [[8, "2026-11-24", "1.50"]]


@pytest.mark.parametrize("query", DUCKDB_WRITES)
async def test_duckdb_refuses_to_write_and_to_look_elsewhere(
    bench: Bench, files: Path, query: str
) -> None:
    make_duckdb(files / "s.duckdb")
    before = (files / "s.duckdb").read_bytes()

    with pytest.raises(ToolFailed) as refused:
        await bench("sql_query", query=query, config={"database": "s.duckdb"})

    assert refused.value.code == "QUERY_FAILED"
    assert (files / "s.duckdb").read_bytes() == before
    assert os.listdir(files) == ["s.duckdb"]


@pytest.mark.parametrize("database", ["../s.db", "/etc/passwd", "link.db", "link.duckdb"])
async def test_a_database_outside_the_run_s_files_is_out_of_reach(
    bench: Bench, files: Path, tmp_path: Path, database: str
) -> None:
    make_sqlite(tmp_path / "s.db")
    make_duckdb(tmp_path / "s.duckdb")
    (files / "link.db").symlink_to(tmp_path / "s.db")
    (files / "link.duckdb").symlink_to(tmp_path / "s.duckdb")

    with pytest.raises(ToolFailed) as refused:
        await bench("sql_query", query="SELECT 1", config={"database": database})

    assert refused.value.code in ("PATH_OUTSIDE_WORKSPACE", "PATH_REFUSED")


@pytest.mark.parametrize("database", ["s.db", "s.duckdb"])
async def test_a_file_that_is_no_database_is_said(bench: Bench, files: Path, database: str) -> None:
    (files / database).write_bytes(b"\x00\x01rubbish" * 1000)

    with pytest.raises(ToolFailed, match="the query failed"):
        await bench("sql_query", query="SELECT * FROM sales", config={"database": database})


@pytest.mark.parametrize("database", ["s.db", "s.duckdb"])
async def test_a_query_that_never_ends_is_stopped(bench: Bench, files: Path, database: str) -> None:
    make_sqlite(files / "s.db")
    make_duckdb(files / "s.duckdb")
    began = time.monotonic()

    with pytest.raises(ToolFailed) as late:
        await bench(
            "sql_query",
            query=FOR_EVER,
            config={"database": database, "timeout_seconds": 0.5},
        )
    call = asyncio.create_task(
        bench("sql_query", query=FOR_EVER, config={"database": database}, seconds=60)
    )
    await asyncio.wait([call], timeout=0.3)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, 5)

    assert late.value.code == "QUERY_TIMEOUT"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("database", ["s.db", "s.duckdb"])
async def test_rows_are_bounded_in_number_and_size(
    bench: Bench, files: Path, database: str
) -> None:
    make_sqlite(files / "s.db")
    make_duckdb(files / "s.duckdb")
    config = {"database": database}

    one = await bench("sql_query", query="SELECT * FROM sales", max_rows=1, config=config)
    wide = await bench(
        "sql_query",
        query=WIDE,
        max_rows=10_000,
        config=config,
    )

    assert (len(one["rows"]), one["more"]) == (1, True)
    assert 1000 < len(wide["rows"]) < 10_000
    assert wide["more"]


@pytest.mark.postgresql
async def test_a_postgresql_server_is_asked(postgresql_server: Postgresql, tmp_path: Path) -> None:
    url = postgresql_server.fresh()
    postgresql_server.run(url.rpartition("/")[2], MAKE)

    async with by_address(tmp_path, url) as ask:
        found = await ask(
            "SELECT city FROM sales WHERE amount > $1 AND city <> $2", parameters=[1, "x"]
        )
        many = await ask("SELECT * FROM generate_series(1, 1000000)", max_rows=2)
        kinds = await ask(
            "SELECT now()::date - now()::date, '{\"a\": 1}'::jsonb, 'x'::bytea, 1.10::numeric"
        )

    assert found["rows"] == [["Ulm"], ["Bonn"]]
    assert (many["rows"], many["more"]) == ([[1], [2]], True)
    assert kinds["rows"] == [[0, {"a": 1}, "eA==", "1.10"]]


@pytest.mark.postgresql
@pytest.mark.parametrize("query", POSTGRESQL_WRITES)
async def test_postgresql_refuses_to_write(
    postgresql_server: Postgresql, tmp_path: Path, query: str
) -> None:
    url = postgresql_server.fresh()
    database = url.rpartition("/")[2]
    postgresql_server.run(database, MAKE)

    async with by_address(tmp_path, url) as ask:
        with pytest.raises(ToolFailed) as refused:
            await ask(query)

    assert refused.value.code == "QUERY_FAILED"
    assert postgresql_server.run(database, "SELECT sum(amount) FROM sales") == "8"


@pytest.mark.postgresql
async def test_a_slow_query_ends_at_the_server_too(
    postgresql_server: Postgresql, tmp_path: Path
) -> None:
    url = postgresql_server.fresh()
    async with by_address(tmp_path, url) as ask:
        with pytest.raises(ToolFailed) as late:
            await ask("SELECT pg_sleep(60)", config={"timeout_seconds": 0.5})

    running = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cadre sql_query'"
    deadline = time.monotonic() + 10
    while postgresql_server.run("postgres", running) != "0":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert late.value.code == "QUERY_TIMEOUT"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/x", "DATABASE_UNREACHABLE"),
        ("mysql://me:s3cret@127.0.0.1/x", "DATABASE_NOT_NAMED"),
        ("sqlite:////no/such/s3cret.db", "QUERY_FAILED"),
        ("s3cret", "DATABASE_NOT_NAMED"),
    ],
)
async def test_an_address_that_leads_to_no_database_is_said_without_its_password(
    tmp_path: Path, url: str, code: str
) -> None:
    async with by_address(tmp_path, url) as ask:
        with pytest.raises(ToolFailed) as refused:
            await ask("SELECT 1")

    assert refused.value.code == code
    assert "s3cret" not in refused.value.message + refused.value.resolution


async def test_a_node_that_names_no_database_is_told_to(bench: Bench) -> None:
    with pytest.raises(ToolFailed) as refused:
        await bench("sql_query", query="SELECT 1")

    assert refused.value.code in ("DATABASE_NOT_NAMED", "TOOL_CONFIG_REFUSED")
