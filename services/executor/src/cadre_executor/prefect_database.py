"""Lets several write to Prefect's SQLite database at once, as a plug-in that the database's URL names.

Prefect 3.8.8 begins most of what it writes with BEGIN DEFERRED and reads first. When another connection writes in
between, SQLite refuses the write at once ("database is locked"), and Prefect answers 503: with six callers to five
requests of six. The statement that failed stays in its exception until the garbage collector comes by, in the thread of
the event loop, and there its end waits for its connection, which by then may serve another request that waits for
the write lock, up to Prefect's 60 seconds, while the transaction that has the lock waits for the event loop: nothing
at all is answered meanwhile. With BEGIN IMMEDIATE the second waits for the first, and nothing fails.
"""

from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import CreateEnginePlugin

__all__ = ["Immediate"]

_PLUGIN = "cadre_prefect"


class Immediate(CreateEnginePlugin):
    """Begins every transaction with the right to write. Named by `plugin=cadre_prefect` in the URL."""

    def update_url(self, url: URL) -> URL:
        """The URL that SQLAlchemy connects to."""
        return url.difference_update_query(["plugin"])

    def engine_created(self, engine: Engine) -> None:
        """Changes what the engine begins its transactions with."""
        event.listen(engine, "before_cursor_execute", _immediately, retval=True)


def _immediately(
    _connection: Any,
    _cursor: Any,
    statement: str,
    parameters: Any,
    _context: Any,
    _executemany: bool,
) -> tuple[str, Any]:
    return "BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement, parameters
