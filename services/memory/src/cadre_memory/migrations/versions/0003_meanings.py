"""What is searched of an item, how long it is there from each reading on, and what providers said that it means."""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = (
    # Microseconds; of items only whose time may begin anew.
    "ALTER TABLE item ADD COLUMN ttl INTEGER",
    # Which parts of the value are searched, a JSON list; all of it when there is none.
    "ALTER TABLE item ADD COLUMN fields TEXT",
    # So that no text is sent to a provider twice. They go with their items.
    """
    CREATE TABLE meaning (
        item_id INTEGER NOT NULL,
        model TEXT NOT NULL,
        digest BLOB NOT NULL,
        embedding BLOB NOT NULL,
        PRIMARY KEY (item_id, model)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX meaning_digest ON meaning (model, digest)",
)


def upgrade() -> None:
    """Makes them."""
    for statement in _STATEMENTS:
        op.execute(statement)
