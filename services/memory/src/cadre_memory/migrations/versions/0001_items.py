"""Items, their words, their vectors, and what keeps those true."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = (
    # Times are microseconds since 1970. A namespace is its labels, each ended by U+001F. Ids are never used again: what
    # holds one may be late, and must not find another item under it.
    """
    CREATE TABLE item (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        expires INTEGER,
        UNIQUE (namespace, key)
    )
    """,
    "CREATE INDEX item_expires ON item (expires) WHERE expires IS NOT NULL",
    # `scopes` holds a word for the namespace and for each above it: a condition, which is worth nothing in the rank.
    """
    CREATE VIRTUAL TABLE word USING fts5 (
        scopes, key, body, tokenize = 'porter unicode61 remove_diacritics 2'
    )
    """,
    "INSERT INTO word (word, rank) VALUES ('rank', 'bm25(0.0, 0.5, 1.0)')",
    # Ordered by namespace, so that reading all of one is one pass; 512 bytes a vector keep a row within its page.
    """
    CREATE TABLE vector (
        namespace TEXT NOT NULL,
        item_id INTEGER NOT NULL,
        expires INTEGER,
        embedding BLOB NOT NULL,
        PRIMARY KEY (namespace, item_id)
    ) WITHOUT ROWID
    """,
    # What was written last, for whoever holds copies. Only the newest part is kept.
    """
    CREATE TABLE change (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        item_id INTEGER NOT NULL,
        namespace TEXT NOT NULL
    )
    """,
    # What requests with an idempotency key were answered.
    """
    CREATE TABLE answer (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        idempotency_key TEXT NOT NULL UNIQUE,
        digest BLOB NOT NULL,
        content TEXT NOT NULL,
        made INTEGER NOT NULL
    )
    """,
    "CREATE INDEX answer_made ON answer (made)",
)


def upgrade() -> None:
    """Makes them."""
    for statement in _STATEMENTS:
        op.execute(statement)
