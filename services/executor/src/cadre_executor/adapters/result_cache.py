"""Results of nodes that may be taken again, in the executor's database."""

from typing import Any

import sqlalchemy as sa

from cadre_executor.adapters.database import CACHED_RESULTS
from cadre_executor.adapters.documents import loaded
from cadre_kit.documents import json_text
from cadre_kit.transactions import Transactions

__all__ = ["SqlResultCache"]


_KEPT = CACHED_RESULTS.c.digest == sa.bindparam("kept")
_TOO_OLD = CACHED_RESULTS.c.expires_time <= sa.bindparam("now")
_FIND = sa.select(CACHED_RESULTS.c.document).where(_KEPT, sa.not_(_TOO_OLD))
_DROP = sa.delete(CACHED_RESULTS).where(sa.or_(_KEPT, _TOO_OLD))


class SqlResultCache:
    """Results by digest, each until its time is over."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    async def find(self, digest: str, *, now: float) -> Any | None:
        """The document kept under a digest, if it is not too old."""
        values = {"kept": digest, "now": now}
        text = await self._database.read(lambda c: c.execute(_FIND, values).scalar())
        return loaded(text)

    async def keep(self, digest: str, document: object, *, now: float, expires: float) -> None:
        """Keeps a document in place of an earlier one; drops what is too old."""
        row = {"digest": digest, "document": json_text(document), "expires_time": expires}

        def work(connection: sa.Connection) -> None:
            connection.execute(_DROP, {"kept": digest, "now": now})
            connection.execute(sa.insert(CACHED_RESULTS), row)

        await self._database.write(work)
