"""The ledger of requests to providers, and the replies kept for idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates both tables."""
    op.create_table(
        "calls",
        sa.Column("id", sa.String(26), primary_key=True),
        # UTC as 2026-11-22T14:03:05.123456Z: of one width, so that text order is time order.
        sa.Column("time", sa.String(27), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("workflow_version", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        # Null where nobody knows what was used.
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cache_read_tokens", sa.BigInteger),
        sa.Column("cache_write_tokens", sa.BigInteger),
        sa.Column("estimated", sa.Boolean, nullable=False),
        # Decimals as text: neither database's numbers keep every digit. Null where the price is unknown.
        sa.Column("input_usd_per_million", sa.Text),
        sa.Column("output_usd_per_million", sa.Text),
        sa.Column("cost_usd", sa.Text),
        sa.Column("latency_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error_code", sa.String(63), nullable=False),
    )
    op.create_index("calls_time", "calls", ["time"])
    op.create_index("calls_run_id", "calls", ["run_id"])
    op.create_index("calls_workflow", "calls", ["workflow", "time"])
    op.create_table(
        "replies",
        sa.Column("idempotency_key", sa.String(255), primary_key=True),
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("time", sa.String(27), nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
    )
    op.create_index("replies_time", "replies", ["time"])
