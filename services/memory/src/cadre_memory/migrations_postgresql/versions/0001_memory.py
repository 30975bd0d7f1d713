"""Memory in PostgreSQL: the tables that SQLite has, whose texts sort by their bytes."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE item (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        namespace TEXT COLLATE "C" NOT NULL,
        key TEXT COLLATE "C" NOT NULL,
        value TEXT NOT NULL,
        version BIGINT NOT NULL,
        created BIGINT NOT NULL,
        updated BIGINT NOT NULL,
        expires BIGINT,
        metadata TEXT NOT NULL,
        tags TEXT NOT NULL,
        position BIGINT,
        role BIGINT,
        name TEXT,
        session TEXT,
        said BIGINT,
        UNIQUE (namespace, key)
    )
    """,
    "CREATE INDEX item_expires ON item (expires) WHERE expires IS NOT NULL",
    "CREATE UNIQUE INDEX item_position ON item (namespace, position) WHERE position IS NOT NULL",
    """
    CREATE TABLE version (
        item_id BIGINT NOT NULL,
        version BIGINT NOT NULL,
        value TEXT NOT NULL,
        metadata TEXT NOT NULL,
        tags TEXT NOT NULL,
        updated BIGINT NOT NULL,
        PRIMARY KEY (item_id, version)
    )
    """,
    """
    CREATE TABLE entry (
        namespace TEXT COLLATE "C" NOT NULL,
        item_id BIGINT NOT NULL,
        expires BIGINT,
        said BIGINT NOT NULL,
        thread BIGINT NOT NULL,
        position BIGINT NOT NULL,
        speaker TEXT NOT NULL,
        role BIGINT NOT NULL,
        signs BIGINT NOT NULL,
        first_day BIGINT NOT NULL,
        last_day BIGINT NOT NULL,
        model TEXT NOT NULL,
        terms BYTEA NOT NULL,
        embedding BYTEA,
        PRIMARY KEY (namespace, item_id)
    )
    """,
    "CREATE INDEX entry_model ON entry (model)",
    """
    CREATE TABLE change (
        sequence BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        item_id BIGINT NOT NULL,
        namespace TEXT COLLATE "C" NOT NULL
    )
    """,
    """
    CREATE TABLE answer (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        idempotency_key TEXT NOT NULL UNIQUE,
        digest BYTEA NOT NULL,
        content TEXT NOT NULL,
        made BIGINT NOT NULL
    )
    """,
    "CREATE INDEX answer_made ON answer (made)",
)


def upgrade() -> None:
    """Makes them."""
    for statement in _STATEMENTS:
        op.execute(statement)
