"""Batches with their rows, and the runs of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("batch_id", sa.String(26), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("batch_row", sa.Integer, nullable=False, server_default="0"))
    # Most runs are of none. What the counts of a batch need is in the index.
    some = sa.text("batch_id <> ''")
    op.create_index(
        "runs_by_batch",
        "runs",
        ["batch_id", "status", "batch_row", "ended_time"],
        sqlite_where=some,
        postgresql_where=some,
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("workflow", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), sa.ForeignKey("sources.digest"), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("max_concurrent", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("created_time", sa.Float, nullable=False),
        sa.Column("flow_run_id", sa.String(36), nullable=False),
        sa.Column("launches", sa.Integer, nullable=False),
        sa.Column("driven_time", sa.Float),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.Column("resumed_time", sa.Float, nullable=False),
    )
    op.create_index("batches_by_fingerprint", "batches", ["fingerprint", "id"])
    op.create_table(
        "batch_rows",
        sa.Column("batch_id", sa.String(26), sa.ForeignKey("batches.id"), primary_key=True),
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
    )
