"""Runs name the schedule that started them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    schedule = sa.Column("schedule", sa.String(100), nullable=False, server_default="")
    op.add_column("runs", schedule)
    # Most runs are of none.
    some = sa.text("schedule <> ''")
    op.create_index(
        "runs_by_schedule", "runs", ["schedule", "id"], sqlite_where=some, postgresql_where=some
    )
