"""The executor's database: its tables, and how it is opened."""

import asyncio
from pathlib import Path

import sqlalchemy as sa

import cadre_executor
from cadre_kit.databases import migrate
from cadre_kit.transactions import Transactions, open_transactions

__all__ = [
    "AGENTS",
    "BATCHES",
    "BATCH_ROWS",
    "CACHED_RESULTS",
    "CHECKPOINTS",
    "DELEGATIONS",
    "EFFECTS",
    "EVENTS",
    "IDEMPOTENCY_KEYS",
    "QUESTIONS",
    "RUNS",
    "SOURCES",
    "VISIT_WRITES",
    "WORKFLOW_VERSIONS",
    "open_executor_database",
]

_NAME = "executor"
_MIGRATIONS = Path(cadre_executor.__file__).parent / "migrations"
_METADATA = sa.MetaData()

SOURCES = sa.Table("sources", _METADATA, sa.Column("digest", sa.String), sa.Column("text", sa.Text))
WORKFLOW_VERSIONS = sa.Table(
    "workflow_versions",
    _METADATA,
    sa.Column("name", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("digest", sa.String),
    sa.Column("description", sa.Text),
    sa.Column("tags", sa.Text),
    sa.Column("applied_time", sa.Float),
    sa.Column("hidden", sa.Boolean),
)
RUNS = sa.Table(
    "runs",
    _METADATA,
    sa.Column("id", sa.String),
    sa.Column("workflow", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("digest", sa.String),
    sa.Column("status", sa.String),
    sa.Column("inputs", sa.Text),
    sa.Column("outputs", sa.Text),
    sa.Column("usage", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("created_time", sa.Float),
    sa.Column("started_time", sa.Float),
    sa.Column("ended_time", sa.Float),
    sa.Column("trigger", sa.String),
    sa.Column("trace_parent", sa.String),
    sa.Column("last_sequence", sa.Integer),
    sa.Column("lease_owner", sa.String),
    sa.Column("lease_expires", sa.Float),
    sa.Column("forked_from", sa.String),
    sa.Column("paused_seconds", sa.Float),
    sa.Column("waiting_since", sa.Float),
    sa.Column("resumed_sequence", sa.Integer),
    sa.Column("max_concurrent_runs", sa.Integer),
    sa.Column("parent_run_id", sa.String),
    sa.Column("root_run_id", sa.String),
    sa.Column("depth", sa.Integer),
    sa.Column("schedule", sa.String),
    sa.Column("api_key", sa.String),
    sa.Column("batch_id", sa.String),
    sa.Column("batch_row", sa.Integer),
    sa.Column("raised", sa.Text),
    sa.Column("parent_visit", sa.Text),
    sa.Column("busy_visits", sa.Integer),
)
BATCHES = sa.Table(
    "batches",
    _METADATA,
    sa.Column("id", sa.String),
    sa.Column("workflow", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("digest", sa.String),
    sa.Column("fingerprint", sa.String),
    sa.Column("max_concurrent", sa.Integer),
    sa.Column("total", sa.Integer),
    sa.Column("created_time", sa.Float),
    sa.Column("flow_run_id", sa.String),
    sa.Column("launches", sa.Integer),
    sa.Column("driven_time", sa.Float),
    sa.Column("cancelled", sa.Boolean),
    sa.Column("resumed_time", sa.Float),
    sa.Column("api_key", sa.String),
)
BATCH_ROWS = sa.Table(
    "batch_rows",
    _METADATA,
    sa.Column("batch_id", sa.String),
    sa.Column("row", sa.Integer),
    sa.Column("line", sa.Integer),
    sa.Column("inputs", sa.Text),
)
EVENTS = sa.Table(
    "events",
    _METADATA,
    sa.Column("run_id", sa.String),
    sa.Column("sequence", sa.Integer),
    sa.Column("time", sa.Float),
    sa.Column("type", sa.String),
    sa.Column("node", sa.Text),
    sa.Column("iteration", sa.Integer),
    sa.Column("attempt", sa.Integer),
    sa.Column("duration_ms", sa.Integer),
    sa.Column("data", sa.Text),
    sa.Column("usage", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("item", sa.Integer),
)
CHECKPOINTS = sa.Table(
    "checkpoints",
    _METADATA,
    sa.Column("run_id", sa.String),
    sa.Column("step", sa.Integer),
    sa.Column("time", sa.Float),
    sa.Column("nodes", sa.Text),
    sa.Column("document", sa.Text),
)
VISIT_WRITES = sa.Table(
    "visit_writes",
    _METADATA,
    sa.Column("run_id", sa.String),
    sa.Column("node", sa.Text),
    sa.Column("iteration", sa.Integer),
    sa.Column("document", sa.Text),
)
EFFECTS = sa.Table(
    "effects",
    _METADATA,
    sa.Column("run_id", sa.String),
    sa.Column("key", sa.String),
    sa.Column("document", sa.Text),
)
CACHED_RESULTS = sa.Table(
    "cached_results",
    _METADATA,
    sa.Column("digest", sa.String),
    sa.Column("document", sa.Text),
    sa.Column("expires_time", sa.Float),
)
# `due` is the deadline while nobody has answered.
QUESTIONS = sa.Table(
    "questions",
    _METADATA,
    sa.Column("run_id", sa.String),
    sa.Column("node", sa.Text),
    sa.Column("iteration", sa.Integer),
    sa.Column("message", sa.Text),
    sa.Column("choices", sa.Text),
    sa.Column("asked_time", sa.Float),
    sa.Column("deadline", sa.Float),
    sa.Column("on_timeout", sa.Text),
    sa.Column("due", sa.Float),
    sa.Column("choice", sa.Text),
    sa.Column("comment", sa.Text),
    sa.Column("answered_by", sa.Text),
    sa.Column("answered_time", sa.Float),
    sa.Column("raises", sa.Text),
)
IDEMPOTENCY_KEYS = sa.Table(
    "idempotency_keys",
    _METADATA,
    sa.Column("key", sa.String),
    sa.Column("fingerprint", sa.String),
    sa.Column("run_id", sa.String),
)


# `card` is the agent's own document; `checked_time` is when it was read last, or an executor set out to.
AGENTS = sa.Table(
    "agents",
    _METADATA,
    sa.Column("name", sa.String),
    sa.Column("card", sa.Text),
    sa.Column("card_url", sa.Text),
    sa.Column("secret", sa.String),
    sa.Column("ttl_seconds", sa.Float),
    sa.Column("registered_time", sa.Float),
    sa.Column("last_seen_time", sa.Float),
    sa.Column("expires_time", sa.Float),
    sa.Column("checked_time", sa.Float),
    sa.Column("trouble", sa.Text),
)
DELEGATIONS = sa.Table(
    "delegations",
    _METADATA,
    sa.Column("key", sa.String),
    sa.Column("run_id", sa.String),
    sa.Column("agent", sa.String),
    sa.Column("begun_time", sa.Float),
    sa.Column("task_id", sa.Text),
    sa.Column("context_id", sa.Text),
    sa.Column("answered", sa.Text),
)


async def open_executor_database(url: str, *, strict: bool = False) -> Transactions:
    """The database, brought to the newest schema. `strict`: see `open_transactions`."""
    await asyncio.to_thread(migrate, url, migrations=_MIGRATIONS, name=_NAME)
    return open_transactions(url, name=_NAME, strict=strict)
