"""Statements that are put into words once: SQLAlchemy's own way to execute one takes five times as long."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

__all__ = ["Prepared"]

_DIALECTS: Mapping[str, sa.Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": psycopg.dialect(),  # type: ignore[no-untyped-call]  # of SQLAlchemy
}


class Prepared:
    """A statement with named parameters and an `ending` in plain SQL, for both databases. Values pass as the driver has
    them, unconverted."""

    def __init__(self, statement: sa.sql.ClauseElement, *, ending: str = "") -> None:
        self._texts = {
            name: f"{statement.compile(dialect=dialect)} {ending}"
            for name, dialect in _DIALECTS.items()
        }

    def __call__(
        self, connection: sa.Connection, values: Mapping[str, Any] | None = None
    ) -> sa.CursorResult[Any]:
        """Executes it."""
        text = self._texts[connection.dialect.name]
        return connection.exec_driver_sql(text, dict(values or {}))
