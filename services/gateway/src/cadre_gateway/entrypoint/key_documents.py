"""What the API takes and answers about its keys and its audit log."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, StrictFloat, StrictInt

from cadre_gateway.domain.api_keys import ApiKey, Caller, Rate, Scope
from cadre_gateway.domain.audit import AuditEntry
from cadre_gateway.entrypoint.documents import Answer, Asked, Text
from cadre_gateway.entrypoint.usage_documents import BudgetPeriod, Usd

__all__ = [
    "AuditPage",
    "AuditRecord",
    "Key",
    "KeyBudget",
    "KeyRotation",
    "Keys",
    "MadeKey",
    "NewKey",
    "WhoAmI",
    "audit_record",
    "key",
    "who_am_i",
]

_YEARS_SECONDS = 10 * 365 * 86_400


class KeyRate(Asked):
    """A token bucket: so many requests at once, which come back evenly within the time."""

    requests: StrictInt = Field(ge=1, le=1_000_000)
    seconds: StrictFloat = Field(gt=0, le=86_400)


class KeyBudget(Asked):
    """What model calls for the key may use. It is kept as the budget `key.NAME`."""

    usd: Usd | None = Field(None, description="US dollars as a decimal.")
    tokens: StrictInt | None = Field(None, ge=1, le=2**62, description="Input and output together.")
    period: BudgetPeriod = Field(description="It begins anew with each.")


class NewKey(Asked):
    """A key to make."""

    name: Text = Field(
        max_length=63, description="Small letters, digits, '.', '_' and '-'; never used again."
    )
    scope: Scope = Field(description="What it may do; each includes those before it.")
    expires_seconds: StrictFloat | None = Field(
        None, gt=0, le=_YEARS_SECONDS, description="From now on; null means never."
    )
    rate: KeyRate | None = Field(None, description="Null means no limit.")
    budget: KeyBudget | None = Field(None, description="Null means none of its own.")


class KeyRotation(Asked):
    """How a key gets another secret."""

    grace_seconds: StrictFloat = Field(
        0.0, ge=0, le=30 * 86_400, description="For how long the secret before stays valid too."
    )


class Key(Answer):
    """A key, without its secret."""

    name: str
    prefix: str = Field(description="What its secret begins with.")
    scope: Scope
    status: Literal["active", "expired", "revoked"]
    created_time: datetime
    expires_time: datetime | None = Field(description="Null means never.")
    revoked_time: datetime | None
    last_used_time: datetime | None = Field(description="To the minute; null before the first use.")
    old_secret_expires_time: datetime | None = Field(
        description="Until when the secret before the last rotation was, or is, valid too."
    )
    rate: KeyRate | None


class Keys(Answer):
    """Keys by name."""

    keys: list[Key]


class MadeKey(Answer):
    """A key with its secret, which is not stored and never shown again."""

    secret: str = Field(description="What goes into `Authorization: Bearer`.")
    key: Key


class WhoAmI(Answer):
    """Whose key this request carries."""

    name: str
    prefix: str
    scope: Scope


class AuditRecord(Answer):
    """A request that changed something or was refused."""

    id: str
    time: datetime
    key: str = Field(
        description="The name of the key; empty when the request carried none that is known."
    )
    prefix: str = Field(
        description="What the key's secret begins with; empty for the one in CADRE_HOME."
    )
    address: str = Field(description="Where the request came from.")
    method: str
    route: str = Field(description="The path's template.")
    ids: dict[str, str] = Field(
        description="What stood in the template's places; `created` is where what was made is."
    )
    status: int
    code: str = Field(description="Why it was refused; empty when it was not.")
    request_id: str


class AuditPage(Answer):
    """Records, newest first."""

    entries: list[AuditRecord]
    next_page_token: str = Field(description="Names the next page; empty on the last one.")


def key(found: ApiKey) -> Key:
    """A key as it stands now."""
    expired = found.expires_time is not None and found.expires_time <= time.time()
    return Key(
        name=found.name,
        prefix=found.prefix,
        scope=found.scope,
        status="revoked" if found.revoked_time is not None else "expired" if expired else "active",
        created_time=_moment(found.created_time),
        expires_time=_moment_or_none(found.expires_time),
        revoked_time=_moment_or_none(found.revoked_time),
        last_used_time=_moment_or_none(found.last_used_time),
        old_secret_expires_time=_moment_or_none(found.old_expires_time),
        rate=_rate(found.rate),
    )


def who_am_i(caller: Caller) -> WhoAmI:
    """A caller."""
    return WhoAmI(name=caller.name, prefix=caller.prefix, scope=caller.scope)


def audit_record(entry: AuditEntry) -> AuditRecord:
    """An entry of the audit log."""
    return AuditRecord(
        id=entry.id,
        time=_moment(entry.time),
        key=entry.key,
        prefix=entry.prefix,
        address=entry.address,
        method=entry.method,
        route=entry.route,
        ids=dict(entry.ids),
        status=entry.status,
        code=entry.code,
        request_id=entry.request_id,
    )


def _rate(rate: Rate | None) -> KeyRate | None:
    return None if rate is None else KeyRate(requests=rate.requests, seconds=rate.seconds)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
