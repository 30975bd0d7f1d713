"""A ledger that cannot be written, and ledgers of earlier releases."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from tests.fakes.providers import ProviderServer, openai_reply, openai_stream

from cadre_kit.errors import DeadlineExceeded, Unavailable
from cadre_llm_proxy.adapters.sql_ledger import MIGRATIONS


def refuse(path: Path, *, change: str) -> None:
    """Lets the database fail, as a full disk does, at each `change` of the ledger: INSERT or UPDATE."""
    with closing(sqlite3.connect(path)) as connection:
        full = "SELECT RAISE(ABORT, 'database or disk is full')"
        connection.execute(f"CREATE TRIGGER no_room BEFORE {change} ON calls BEGIN {full}; END")


def accept(path: Path) -> None:
    """Takes that back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER no_room")


async def test_a_call_that_cannot_be_written_down_is_not_sent_with_a_key_or_without(
    start: Any, provider: ProviderServer, tmp_path: Path
) -> None:
    async with start() as proxy:
        refuse(tmp_path / "llm-proxy.db", change="INSERT")
        for key in ("", "k"):
            with pytest.raises(Unavailable) as caught:
                await proxy.ask(key=key)
            assert caught.value.code == "DATABASE_FULL"
        accept(tmp_path / "llm-proxy.db")

        reply = await proxy.ask(key="k")

    assert reply.content == "hello"
    assert len(provider.asked) == 1


async def test_a_reply_that_cannot_be_settled_yet_is_settled_later_and_stops_further_calls(
    start: Any, provider: ProviderServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with start() as proxy:
        provider.will(openai_stream(["Hello"], stall=True))
        parts = proxy.stream()
        assert (await anext(parts)).delta == "Hello"
        refuse(tmp_path / "llm-proxy.db", change="UPDATE")
        await parts.aclose()
        await until_refused(proxy)
        asked = len(provider.asked)
        for _ in range(5):
            with pytest.raises(Unavailable) as caught:
                await proxy.ask()
        accept(tmp_path / "llm-proxy.db")
        async with asyncio.timeout(30):
            while (await proxy.sums()).total_details.open_calls:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.1)

        total = (await proxy.sums()).total

    assert caught.value.code == "DATABASE_FULL"
    assert len(provider.asked) == asked
    assert total.output_tokens == 1
    # Not with each try: the log may be on the disk that is full. A slow machine may miss a sign of life meanwhile.
    said = capfd.readouterr().out.splitlines()
    waits = [s.partition("waiting=")[2] for s in said if "ledger_waits" in s]
    waits = [waiting for waiting in waits if "sign of life" not in waiting]
    # A call that was sent before it was known that the first waits may wait too.
    assert 1 <= len(waits) == len(set(waits)) <= 2


async def test_a_call_is_taken_as_soon_as_there_is_room_again(
    start: Any, provider: ProviderServer, tmp_path: Path
) -> None:
    async with start() as proxy:
        provider.will(openai_stream(["Hello"], stall=True))
        parts = proxy.stream()
        await anext(parts)
        refuse(tmp_path / "llm-proxy.db", change="UPDATE")
        await parts.aclose()
        await until_refused(proxy)
        provider.will(openai_reply("Hello"))
        accept(tmp_path / "llm-proxy.db")

        reply = await proxy.ask()

    assert reply.content == "Hello"


async def until_refused(proxy: Any) -> None:
    """Waits until a call is refused: the one before could not be settled."""
    async with asyncio.timeout(10):
        while True:
            try:
                await proxy.ask(timeout_seconds=0.2)
            except Unavailable:
                return
            except DeadlineExceeded:
                await asyncio.sleep(0.05)


async def test_a_ledger_of_the_first_release_keeps_its_sums(start: Any, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/llm-proxy.db")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO calls VALUES ('01A', '2026-11-22T14:03:05.123456Z', '', 'd', 'greet', 1, 'r1', 'n', "
            "'openai', 'm', 10, 5, 0, 0, 0, '0.4', '1.6', '0.000012', 3, 'succeeded', '')"
        )
    engine.dispose()

    async with start() as proxy:
        sums = await proxy.sums(run_id="r1")
        await proxy.ask()

    assert (sums.total.calls, sums.total.cost_usd) == (1, "0.000012")
