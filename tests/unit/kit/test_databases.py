"""Databases opened and migrated: real SQLite files, whole ones and broken ones."""

import sqlite3
from pathlib import Path

import pytest

from cadre_kit.databases import DatabaseCorrupt, connect_sqlite, database_errors, migrate

ENVIRONMENT = """
from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
"""
BREAKS_IN_THE_MIDDLE = """
from alembic import op

revision, down_revision = "1", None

def upgrade():
    op.execute("CREATE TABLE first (id INTEGER)")
    op.execute("CREATE TABLE first (id INTEGER)")
"""


def test_a_migration_that_breaks_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    (tmp_path / "versions" / "one.py").write_text(BREAKS_IN_THE_MIDDLE)
    url = f"sqlite:///{tmp_path}/any.db"

    with pytest.raises(Exception, match="any"):
        migrate(url, migrations=tmp_path, name="any")

    connection = connect_sqlite(url)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()


def test_a_plain_connection_says_that_its_file_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "any.db").write_bytes(b"garbage" * 1000)

    with pytest.raises(DatabaseCorrupt) as caught, database_errors("any"):
        connect_sqlite(f"sqlite:///{tmp_path}/any.db")

    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert caught.value.metadata == {"database": "any"}
