"""API keys, what was answered to requests that may be repeated, and who did what."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("old_digest", sa.String(64), unique=True),
        sa.Column("old_expires_time", sa.Float),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("created_time", sa.Float, nullable=False),
        sa.Column("expires_time", sa.Float),
        sa.Column("revoked_time", sa.Float),
        sa.Column("last_used_time", sa.Float),
        sa.Column("rate_requests", sa.Integer),
        sa.Column("rate_seconds", sa.Float),
        sa.Column("full_time", sa.Float, nullable=False),
    )
    op.create_table(
        "answers",
        sa.Column("caller", sa.String(63), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("token", sa.String(26), nullable=False),
        sa.Column("held_until", sa.Float, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("media_type", sa.String(100)),
        sa.Column("location", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.Column("begun_time", sa.Float, nullable=False),
    )
    op.create_index("answers_by_begun_time", "answers", ["begun_time"])
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(26), primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("ids", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("code", sa.String(100), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
    )
    op.create_index("audit_log_by_key", "audit_log", ["key", "id"])
