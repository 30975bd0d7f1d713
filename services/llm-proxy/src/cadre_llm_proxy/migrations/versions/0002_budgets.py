"""Entries from before they are sent, budgets with what they used, claims to keys, cached replies, living processes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NEW_COLUMNS = (
    sa.Column("root_run_id", sa.Text, nullable=False, server_default=""),
    sa.Column("schedule", sa.Text, nullable=False, server_default=""),
    sa.Column("api_key", sa.Text, nullable=False, server_default=""),
    sa.Column("reasoning_tokens", sa.BigInteger),
    sa.Column("cache_read_usd_per_million", sa.Text),
    sa.Column("cache_write_usd_per_million", sa.Text),
    # The worst case: null where the price, or the length of a reply, is unknown.
    sa.Column("reserved_usd", sa.Text),
    sa.Column("reserved_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("first_token_ms", sa.BigInteger),
    sa.Column("saved_usd", sa.Text),
    # Which process sent it; empty for entries that were added when they had ended.
    sa.Column("process_id", sa.String(26), nullable=False, server_default=""),
)


def upgrade() -> None:
    """Adds to the ledger what is known of an entry before it ends, and creates the tables around it."""
    for column in _NEW_COLUMNS:
        op.add_column("calls", column)
    op.execute("UPDATE calls SET root_run_id = run_id")
    op.create_index("calls_root_run_id", "calls", ["root_run_id"])
    op.create_index("calls_api_key", "calls", ["api_key", "time"])
    under_way = sa.text("status = 'sent'")
    op.create_index(
        "calls_sent", "calls", ["process_id"], sqlite_where=under_way, postgresql_where=under_way
    )
    _create_budgets()
    _create_replies()
    op.create_table(
        "processes",
        sa.Column("id", sa.String(26), primary_key=True),
        # Where the process can be looked for: empty where nobody but the process itself can tell.
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("began", sa.Text, nullable=False),
        sa.Column("seen_time", sa.String(27), nullable=False),
    )


def _create_budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("period", sa.String(16), nullable=False),
        sa.Column("usd", sa.Text),
        sa.Column("tokens", sa.BigInteger),
        sa.Column("warn_percent", sa.Integer, nullable=False),
        sa.Column("on_exceed", sa.String(16), nullable=False),
        sa.Column("downgrade_to", sa.Text, nullable=False),
    )
    # Sums of the ledger that are kept, one for each period of each budget; one that is missing is added up anew.
    op.create_table(
        "accounts",
        sa.Column("budget", sa.Text, primary_key=True),
        sa.Column("period", sa.Text, primary_key=True),
        sa.Column("used_usd", sa.Text, nullable=False),
        sa.Column("used_tokens", sa.BigInteger, nullable=False),
        sa.Column("warned", sa.Boolean, nullable=False),
        sa.Column("time", sa.String(27), nullable=False),
    )


def _create_replies() -> None:
    op.create_table(
        "claims",
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("process_id", sa.String(26), nullable=False),
    )
    op.create_table(
        "cached_replies",
        sa.Column("cache_key", sa.String(64), primary_key=True),
        sa.Column("time", sa.String(27), nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
    )
    op.create_index("cached_replies_time", "cached_replies", ["time"])
