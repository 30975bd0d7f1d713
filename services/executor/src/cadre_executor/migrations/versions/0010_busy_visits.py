"""Runs say how many of their nodes are under way beside those that wait for runs below them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    busy_visits = sa.Column("busy_visits", sa.Integer, nullable=False, server_default="0")
    op.add_column("runs", busy_visits)
