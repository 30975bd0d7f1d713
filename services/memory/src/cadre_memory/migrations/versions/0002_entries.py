"""Versions, metadata, tags and messages; and one entry for an item's words and vector, whose ranking is in memory."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    "ALTER TABLE item ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE item ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
    # Of messages only.
    "ALTER TABLE item ADD COLUMN position INTEGER",
    "ALTER TABLE item ADD COLUMN role INTEGER",
    "ALTER TABLE item ADD COLUMN name TEXT",
    "ALTER TABLE item ADD COLUMN session TEXT",
    "ALTER TABLE item ADD COLUMN said INTEGER",
    """
    CREATE UNIQUE INDEX item_position ON item (namespace, position) WHERE position IS NOT NULL
    """,
    # The versions before the newest.
    """
    CREATE TABLE version (
        item_id INTEGER NOT NULL,
        version INTEGER NOT NULL,
        value TEXT NOT NULL,
        metadata TEXT NOT NULL,
        tags TEXT NOT NULL,
        updated INTEGER NOT NULL,
        PRIMARY KEY (item_id, version)
    ) WITHOUT ROWID
    """,
    # What is searched. Ordered by namespace, so that reading all of one is one pass.
    """
    CREATE TABLE entry (
        namespace TEXT NOT NULL,
        item_id INTEGER NOT NULL,
        expires INTEGER,
        said INTEGER NOT NULL,
        thread INTEGER NOT NULL,
        position INTEGER NOT NULL,
        speaker TEXT NOT NULL,
        role INTEGER NOT NULL,
        signs INTEGER NOT NULL,
        first_day INTEGER NOT NULL,
        last_day INTEGER NOT NULL,
        model TEXT NOT NULL,
        terms BLOB NOT NULL,
        embedding BLOB,
        PRIMARY KEY (namespace, item_id)
    ) WITHOUT ROWID
    """,
    # No model made these: the service reads the items again, and fills them.
    """
    INSERT INTO entry
    SELECT namespace, id, expires, updated, 0, 0, '', 0, 0, 0, 0, '', x'', NULL FROM item
    """,
    "CREATE INDEX entry_model ON entry (model)",
    # An answer is a list now, of one answer for each value of its request.
    "UPDATE answer SET content = '[' || content || ']'",
    "DROP TABLE word",
    "DROP TABLE vector",
)


def upgrade() -> None:
    """Makes them."""
    for statement in _STATEMENTS:
        op.execute(statement)
