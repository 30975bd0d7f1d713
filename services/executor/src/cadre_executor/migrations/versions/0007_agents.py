"""Remote agents, and what was handed to them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("card", sa.Text, nullable=False),
        sa.Column("card_url", sa.Text, nullable=False),
        sa.Column("secret", sa.String(100), nullable=False),
        sa.Column("ttl_seconds", sa.Float, nullable=False),
        sa.Column("registered_time", sa.Float, nullable=False),
        sa.Column("last_seen_time", sa.Float, nullable=False),
        sa.Column("expires_time", sa.Float),
        sa.Column("checked_time", sa.Float, nullable=False),
        sa.Column("trouble", sa.Text, nullable=False),
    )
    op.create_table(
        "delegations",
        sa.Column("key", sa.String(500), primary_key=True),
        sa.Column("run_id", sa.String(26), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("agent", sa.String(100), nullable=False),
        sa.Column("begun_time", sa.Float, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("context_id", sa.Text, nullable=False),
        sa.Column("answered", sa.Text, nullable=False),
    )
    op.create_index("delegations_by_run", "delegations", ["run_id"])
