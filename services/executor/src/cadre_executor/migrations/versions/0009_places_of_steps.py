"""Runs that are steps of others say of which visit, so that what they ask can be asked at the top."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("parent_visit", sa.Text, nullable=False, server_default=""))
    connection = op.get_bind()
    names = ("id", "parent_run_id", "parent_visit", "ended_time")
    runs = sa.table("runs", *map(sa.column, names))
    keys = sa.table("idempotency_keys", sa.column("key"), sa.column("run_id"))
    steps = sa.select(runs.c.id, keys.c.key).join(keys, keys.c.run_id == runs.c.id)
    steps = steps.where(runs.c.parent_run_id != "", runs.c.ended_time.is_(None))
    for run_id, key in connection.execute(steps).all():
        # child/RUN/NODE/VISIT/TRY/STEP
        place = key.split("/", 2)[2].rsplit("/", 2)[0]
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(parent_visit=place))
