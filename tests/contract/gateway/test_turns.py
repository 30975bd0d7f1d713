"""Of several gateways one listens to a connection, in SQLite and in PostgreSQL."""

import subprocess
import sys

import pytest

from cadre_gateway.adapters import turns
from cadre_gateway.adapters.turns import Turns
from cadre_kit.transactions import Transactions


async def test_a_connection_is_one_gateway_s_until_it_ends_its_turn(database: Transactions) -> None:
    one, other = Turns(database), Turns(database)

    first = [
        await one.take("telegram/a"),
        await other.take("telegram/a"),
        await one.take("telegram/a"),
    ]
    elsewhere = await other.take("telegram/b")
    await other.end("telegram/a")
    still = await other.take("telegram/a")
    await one.end("telegram/a")

    assert (first, elsewhere, still) == ([True, False, True], True, False)
    assert await other.take("telegram/a")


def name_of_a_process_that_ended() -> str:
    program = "from cadre_kit.processes import own_name; print(own_name())"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


async def test_the_turn_of_a_gateway_that_was_killed_is_over(
    database: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = name_of_a_process_that_ended()
    with monkeypatch.context() as patched:
        patched.setattr(turns, "own_name", lambda: ended)
        killed = Turns(database)
    assert await killed.take("telegram/a")

    assert await Turns(database).take("telegram/a")
