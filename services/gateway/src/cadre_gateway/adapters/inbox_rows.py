"""Deliveries and posts as rows."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from cadre_gateway.domain.actions import action_document, action_of
from cadre_gateway.domain.deliveries import Delivery, DeliveryStatus, Post, PostStatus, Trouble
from cadre_kit.documents import json_text

__all__ = ["delivery_of", "delivery_row", "post_of", "post_row", "trouble_text"]


def delivery_row(delivery: Delivery) -> dict[str, Any]:
    """The row of a delivery."""
    row = {name: getattr(delivery, name) for name in _PLAIN_OF_DELIVERIES}
    return row | {
        "status": delivery.status.value,
        "content": json_text(delivery.content),
        "back": json_text(delivery.back),
        "action": json_text(action_document(delivery.action)),
        "secrets": json_text(delivery.secrets),
        "trouble": trouble_text(delivery.trouble),
    }


def delivery_of(row: sa.RowMapping) -> Delivery:
    """The delivery of a row."""
    return Delivery(
        **{name: row[name] for name in _PLAIN_OF_DELIVERIES},
        status=DeliveryStatus(row["status"]),
        content=json.loads(row["content"]),
        back=json.loads(row["back"]),
        action=action_of(json.loads(row["action"])),
        secrets=tuple(json.loads(row["secrets"])),
        trouble=_trouble(row),
    )


def post_row(post: Post) -> dict[str, Any]:
    """The row of a post."""
    row = {name: getattr(post, name) for name in _PLAIN_OF_POSTS}
    return row | {
        "status": post.status.value,
        "document": json_text(post.document),
        "trouble": trouble_text(post.trouble),
    }


def post_of(row: sa.RowMapping) -> Post:
    """The post of a row."""
    return Post(
        **{name: row[name] for name in _PLAIN_OF_POSTS},
        status=PostStatus(row["status"]),
        document=json.loads(row["document"]),
        trouble=_trouble(row),
    )


def trouble_text(trouble: Trouble | None) -> str | None:
    """How trouble is stored."""
    return None if trouble is None else json_text(asdict(trouble))


def _trouble(row: Mapping[Any, Any]) -> Trouble | None:
    return None if row["trouble"] is None else Trouble(**json.loads(row["trouble"]))


_PLAIN_OF_DELIVERIES = (
    "id",
    "kind",
    "name",
    "key",
    "workflow",
    "version",
    "trigger",
    "run_id",
    "reply",
    "conversation",
    "notify",
    "tries",
    "due_time",
    "received_time",
    "updated_time",
)
_PLAIN_OF_POSTS = (
    "id",
    "delivery_id",
    "kind",
    "position",
    "endpoint",
    "tries",
    "due_time",
    "sent_time",
    "receipt",
    "receipt_status",
)
