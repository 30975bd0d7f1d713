"""Of several gateways one listens to a connection."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "listening",
        sa.Column("source", sa.String(130), primary_key=True),
        sa.Column("gateway", sa.Text, nullable=False),
        sa.Column("until_time", sa.Float, nullable=False),
    )
