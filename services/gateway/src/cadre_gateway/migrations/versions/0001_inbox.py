"""Deliveries that were accepted, what is to be sent for them, and receivers that want nothing more."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("workflow", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("trigger", sa.Integer),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("back", sa.Text, nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("notify", sa.Text, nullable=False),
        sa.Column("secrets", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False, unique=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_time", sa.Float),
        sa.Column("received_time", sa.Float, nullable=False),
        sa.Column("updated_time", sa.Float, nullable=False),
        sa.Column("trouble", sa.Text),
        sa.UniqueConstraint("kind", "name", "key"),
    )
    op.create_index("deliveries_by_due_time", "deliveries", ["due_time"])
    op.create_index("deliveries_by_status", "deliveries", ["status", "id"])
    op.create_table(
        "posts",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column(
            "delivery_id",
            sa.String(26),
            sa.ForeignKey("deliveries.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_time", sa.Float),
        sa.Column("sent_time", sa.Float),
        sa.Column("trouble", sa.Text),
    )
    op.create_index("posts_by_due_time", "posts", ["due_time"])
    op.create_index("posts_by_delivery", "posts", ["delivery_id", "position"])
    op.create_table(
        "gone_endpoints",
        sa.Column("endpoint", sa.String(64), primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
    )
