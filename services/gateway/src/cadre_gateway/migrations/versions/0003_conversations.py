"""Deliveries belong to conversations, and may ask for something else than a run; providers say what became of posts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ADDED = (
    ("deliveries", sa.Column("conversation", sa.String(200), nullable=False, server_default="")),
    ("deliveries", sa.Column("action", sa.Text, nullable=False, server_default='{"kind": "run"}')),
    ("posts", sa.Column("receipt", sa.String(200), nullable=False, server_default="")),
    ("posts", sa.Column("receipt_status", sa.String(16), nullable=False, server_default="")),
)


def upgrade() -> None:
    for table, column in _ADDED:
        op.add_column(table, column)
    op.create_index("deliveries_by_conversation", "deliveries", ["kind", "name", "conversation"])
    op.create_index("posts_by_receipt", "posts", ["kind", "receipt"])
