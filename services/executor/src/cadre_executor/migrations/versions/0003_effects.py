"""What is done within visits, runs as steps of runs, items of events, and results that are taken again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "effects",
        sa.Column("run_id", sa.String(26), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "cached_results",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("expires_time", sa.Float, nullable=False),
    )
    op.create_index("cached_results_by_expiry", "cached_results", ["expires_time"])
    op.add_column("runs", _text("parent_run_id"))
    op.add_column("runs", _text("root_run_id"))
    op.add_column("runs", sa.Column("depth", sa.Integer, nullable=False, server_default="0"))
    op.create_index("runs_by_parent", "runs", ["parent_run_id"])
    op.add_column("events", sa.Column("item", sa.Integer, nullable=False, server_default="0"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(26), nullable=False, server_default="")
