"""What replies that were given again took when they were new."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds a column to the ledger; replies that were reused before count as none."""
    column = sa.Column("saved_tokens", sa.BigInteger, nullable=False, server_default="0")
    op.add_column("calls", column)
