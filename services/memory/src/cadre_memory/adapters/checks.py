"""Whether what is searched, the versions and the rows of a database agree, and whether the file itself is whole."""

from dataclasses import dataclass

from cadre_kit.databases import database_errors
from cadre_memory.adapters.connections import Connection, SqliteConnection

# Each finds rows that should not be; the count of them is what is wrong.
_CONTRADICTIONS = {
    "items that are not searched": (
        "SELECT count(*) FROM item i LEFT JOIN entry e"
        " ON e.namespace = i.namespace AND e.item_id = i.id WHERE e.item_id IS NULL"
    ),
    "entries of items that are not there": (
        "SELECT count(*) FROM entry e LEFT JOIN item i"
        " ON i.id = e.item_id AND i.namespace = e.namespace WHERE i.id IS NULL"
    ),
    "entries that expire at another time than their items": (
        "SELECT count(*) FROM entry e JOIN item i ON i.id = e.item_id"
        " WHERE coalesce(i.expires, -1) <> coalesce(e.expires, -1)"
    ),
    "entries at another place of a conversation than their messages": (
        "SELECT count(*) FROM entry e JOIN item i ON i.id = e.item_id"
        " WHERE i.position IS NOT NULL AND i.position <> e.position AND e.model <> ''"
    ),
    "versions of items that are not there, or newer than them": (
        "SELECT count(*) FROM version v LEFT JOIN item i ON i.id = v.item_id"
        " WHERE i.id IS NULL OR v.version >= i.version"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong, and with how many rows; 0 for the file as a whole."""

    what: str
    rows: int


def contradictions(connection: Connection) -> list[Finding]:
    """All that does not agree; nothing when all is well. Raises Unavailable and DataLost."""
    with database_errors("memory"):
        found = [
            Finding(what=what, rows=connection.execute(query).fetchone()[0])
            for what, query in _CONTRADICTIONS.items()
        ]
        return [each for each in found if each.rows] + _damages(connection)


def _damages(connection: Connection) -> list[Finding]:
    if not isinstance(connection, SqliteConnection):
        return []
    rows = connection.execute("PRAGMA integrity_check").fetchall()
    return [Finding(what=what, rows=0) for (what,) in rows if what != "ok"]
