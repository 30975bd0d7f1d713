"""Of several gateways one listens to a connection, in SQLite and in PostgreSQL."""

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
