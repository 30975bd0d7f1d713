"""Budgets that people raise, and the questions that ask for it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("raised", sa.Text))
    op.add_column("questions", sa.Column("raises", sa.Text))
