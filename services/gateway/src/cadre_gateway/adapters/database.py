"""The gateway's database: its tables, and how it is opened."""

import asyncio
from pathlib import Path

import sqlalchemy as sa

import cadre_gateway
from cadre_kit.databases import migrate
from cadre_kit.transactions import Transactions, open_transactions

__all__ = [
    "ANSWERS",
    "API_KEYS",
    "AUDIT_LOG",
    "DELIVERIES",
    "GONE_ENDPOINTS",
    "LISTENING",
    "POSTS",
    "open_gateway_database",
]

_NAME = "gateway"
_MIGRATIONS = Path(cadre_gateway.__file__).parent / "migrations"
_METADATA = sa.MetaData()

DELIVERIES = sa.Table(
    "deliveries",
    _METADATA,
    sa.Column("id", sa.String),
    sa.Column("kind", sa.String),
    sa.Column("name", sa.String),
    sa.Column("key", sa.String),
    sa.Column("workflow", sa.String),
    sa.Column("version", sa.Integer),
    sa.Column("trigger", sa.Integer),
    sa.Column("content", sa.Text),
    sa.Column("back", sa.Text),
    sa.Column("reply", sa.Text),
    sa.Column("notify", sa.Text),
    sa.Column("secrets", sa.Text),
    sa.Column("conversation", sa.String),
    sa.Column("action", sa.Text),
    sa.Column("run_id", sa.String),
    sa.Column("status", sa.String),
    sa.Column("tries", sa.Integer),
    sa.Column("due_time", sa.Float),
    sa.Column("received_time", sa.Float),
    sa.Column("updated_time", sa.Float),
    sa.Column("trouble", sa.Text),
)
POSTS = sa.Table(
    "posts",
    _METADATA,
    sa.Column("id", sa.String),
    sa.Column("delivery_id", sa.String),
    sa.Column("kind", sa.String),
    sa.Column("position", sa.Integer),
    sa.Column("document", sa.Text),
    sa.Column("endpoint", sa.Text),
    sa.Column("status", sa.String),
    sa.Column("tries", sa.Integer),
    sa.Column("due_time", sa.Float),
    sa.Column("sent_time", sa.Float),
    sa.Column("receipt", sa.String),
    sa.Column("receipt_status", sa.String),
    sa.Column("trouble", sa.Text),
)
GONE_ENDPOINTS = sa.Table(
    "gone_endpoints",
    _METADATA,
    sa.Column("endpoint", sa.String),
    sa.Column("time", sa.Float),
)
API_KEYS = sa.Table(
    "api_keys",
    _METADATA,
    sa.Column("name", sa.String),
    sa.Column("prefix", sa.String),
    sa.Column("digest", sa.String),
    sa.Column("old_digest", sa.String),
    sa.Column("old_expires_time", sa.Float),
    sa.Column("scope", sa.String),
    sa.Column("created_time", sa.Float),
    sa.Column("expires_time", sa.Float),
    sa.Column("revoked_time", sa.Float),
    sa.Column("last_used_time", sa.Float),
    sa.Column("rate_requests", sa.Integer),
    sa.Column("rate_seconds", sa.Float),
    sa.Column("full_time", sa.Float),
)
ANSWERS = sa.Table(
    "answers",
    _METADATA,
    sa.Column("caller", sa.String),
    sa.Column("key", sa.String),
    sa.Column("fingerprint", sa.String),
    sa.Column("token", sa.String),
    sa.Column("held_until", sa.Float),
    sa.Column("status", sa.Integer),
    sa.Column("media_type", sa.String),
    sa.Column("location", sa.Text),
    sa.Column("body", sa.LargeBinary),
    sa.Column("begun_time", sa.Float),
)
AUDIT_LOG = sa.Table(
    "audit_log",
    _METADATA,
    sa.Column("id", sa.String),
    sa.Column("time", sa.Float),
    sa.Column("key", sa.String),
    sa.Column("prefix", sa.String),
    sa.Column("address", sa.String),
    sa.Column("method", sa.String),
    sa.Column("route", sa.String),
    sa.Column("ids", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("code", sa.String),
    sa.Column("request_id", sa.String),
)
LISTENING = sa.Table(
    "listening",
    _METADATA,
    sa.Column("source", sa.String),
    sa.Column("gateway", sa.String),
    sa.Column("until_time", sa.Float),
)


async def open_gateway_database(url: str, *, strict: bool = False) -> Transactions:
    """The database, brought to the newest schema. `strict`: see `open_transactions`."""
    await asyncio.to_thread(migrate, url, migrations=_MIGRATIONS, name=_NAME)
    return open_transactions(url, name=_NAME, strict=strict)
