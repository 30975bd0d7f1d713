"""Deliveries and triggers to the API's documents."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cadre_gateway.domain import deliveries as domain
from cadre_gateway.domain.connectors import Sample, Trigger
from cadre_gateway.entrypoint import documents as d

__all__ = ["delivery", "hook_path", "sample", "trigger"]


def delivery(
    found: domain.Delivery, posts: Sequence[domain.Post] = (), *, listed: bool = False
) -> d.Delivery:
    """A delivery; without its content in lists."""
    return d.Delivery(
        id=found.id,
        source=found.source,
        key=found.key,
        workflow=found.workflow,
        version=found.version,
        run_id=found.run_id if found.has_run else "",
        batch_id=found.batch_id,
        status=d.DeliveryStatus(found.status.value),
        tries=found.tries,
        received_time=_moment(found.received_time),
        updated_time=_optional_moment(found.updated_time or None),
        next_time=_optional_moment(found.due_time),
        error=_trouble(found.trouble),
        content=None if listed else dict(found.content),
        replies=[_reply(post) for post in posts],
    )


def trigger(found: Trigger) -> d.Trigger:
    """A trigger."""
    return d.Trigger(
        kind=found.kind,
        address=hook_path(found.kind, found.connection or found.workflow),
        workflow=found.workflow,
        version=found.version,
        command=found.command,
        reply=found.reply,
        enabled=found.enabled,
    )


def sample(found: Sample, *, source: str) -> d.Sample:
    """A sample of a delivery."""
    return d.Sample(
        source=source,
        key=found.key,
        path=found.path,
        headers=dict(found.headers),
        body=found.body.decode(),
    )


def hook_path(kind: str, name: str) -> str:
    """Where a provider sends its deliveries."""
    return f"/hooks/{name}" if kind == "webhook" else f"/hooks/{kind}/{name}"


def _reply(post: domain.Post) -> d.Reply:
    return d.Reply(
        id=post.id,
        status=post.status.value,
        tries=post.tries,
        next_time=_optional_moment(post.due_time),
        sent_time=_optional_moment(post.sent_time),
        error=_trouble(post.trouble),
        receipt=post.receipt_status,
    )


def _trouble(found: domain.Trouble | None) -> d.Trouble | None:
    if found is None:
        return None
    return d.Trouble(code=found.code, message=found.message, resolution=found.resolution)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
