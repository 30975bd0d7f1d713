"""Runs and batches name the API key that started them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("runs", "batches"):
        api_key = sa.Column("api_key", sa.String(100), nullable=False, server_default="")
        op.add_column(table, api_key)
