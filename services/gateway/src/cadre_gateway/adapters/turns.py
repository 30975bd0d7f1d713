"""Which of several gateways on one database listens to a connection: a provider gives each message to one who asks."""

import time

import sqlalchemy as sa

from cadre_gateway.adapters.database import LISTENING
from cadre_kit.processes import own_name, process_is_dead
from cadre_kit.transactions import Transactions

__all__ = ["Turns"]

# Longer than a listener may wait for messages, and take to store them.
_TURN_SECONDS = 120.0
_L = LISTENING.c


class Turns:
    """The turns of one gateway."""

    def __init__(self, database: Transactions) -> None:
        self._database = database
        self._gateway = own_name()

    async def take(self, source: str) -> bool:
        """Begins or goes on with listening for two minutes; False while it is another gateway's turn, which ends
        at once where its process is known to have."""
        now = time.time()
        turn = {"gateway": self._gateway, "until_time": now + _TURN_SECONDS}
        its = sa.select(LISTENING).where(_L.source == source).with_for_update()

        def work(connection: sa.Connection) -> bool:
            row = connection.execute(its).mappings().first()
            if row is None:
                connection.execute(sa.insert(LISTENING).values(source=source, **turn))
                return True
            is_others = row["gateway"] != self._gateway and row["until_time"] > now
            if is_others and not process_is_dead(row["gateway"]):
                return False
            connection.execute(sa.update(LISTENING).where(_L.source == source).values(turn))
            return True

        return await self._database.write(work)

    async def end(self, source: str) -> None:
        """Lets another gateway listen at once."""
        mine = sa.and_(_L.source == source, _L.gateway == self._gateway)
        gone = sa.delete(LISTENING).where(mine)
        await self._database.write(lambda connection: connection.execute(gone).rowcount)
