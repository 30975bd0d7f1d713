"""Questions to people, a history of checkpoints, resumed and forked runs."""

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("forked_from", sa.String(26), nullable=False, server_default=""))
        runs.add_column(sa.Column("paused_seconds", sa.Float, nullable=False, server_default="0"))
        runs.add_column(sa.Column("waiting_since", sa.Float))
        runs.add_column(sa.Column("max_concurrent_runs", sa.Integer))
        runs.add_column(
            sa.Column("resumed_sequence", sa.Integer, nullable=False, server_default="0")
        )
    _keep_checkpoints()
    op.drop_table("step_writes")
    op.create_table(
        "visit_writes",
        sa.Column("run_id", sa.String(26), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "questions",
        sa.Column("run_id", sa.String(26), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("iteration", sa.Integer, primary_key=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("choices", sa.Text, nullable=False),
        sa.Column("asked_time", sa.Float, nullable=False),
        sa.Column("deadline", sa.Float),
        sa.Column("on_timeout", sa.Text, nullable=False),
        sa.Column("due", sa.Float),
        sa.Column("choice", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("answered_by", sa.Text),
        sa.Column("answered_time", sa.Float),
    )
    op.create_index("questions_by_due", "questions", ["due"])


def _keep_checkpoints() -> None:
    """Runs under way go on from the step before; what was done since is asked again with the same keys."""
    connection = op.get_bind()
    found = connection.execute(sa.text("SELECT run_id, document FROM checkpoints")).all()
    op.drop_table("checkpoints")
    checkpoints = op.create_table(
        "checkpoints",
        sa.Column("run_id", sa.String(26), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("nodes", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    for run_id, document in found:
        values = json.loads(document)[0]["channel_values"]
        progress = {**values["progress"], "asked": {}}
        fields = {k.removeprefix("field:"): v for k, v in values.items() if k.startswith("field:")}
        row = {
            "run_id": run_id,
            "step": sum(progress["visits"].values()),
            "time": time.time(),
            "nodes": "[]",
            "document": json.dumps({"fields": fields, "progress": progress}),
        }
        connection.execute(sa.insert(checkpoints), row)
