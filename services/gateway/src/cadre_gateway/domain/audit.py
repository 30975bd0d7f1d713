"""Who did what: one entry for each request that changed something or was refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["AuditEntry", "AuditPage", "AuditQuery"]


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """A request. `key` is the name of the caller's key, empty when it carried none that is known; `route` is the path's
    template, and `ids` is what stood in its place, with the address of what was made as `created`. `code` says why it
    was refused. `time` is Unix time. No body, query or secret is in it."""

    id: str
    time: float
    key: str
    prefix: str
    address: str
    method: str
    route: str
    ids: Mapping[str, str]
    status: int
    code: str
    request_id: str


@dataclass(frozen=True, kw_only=True)
class AuditQuery:
    """Which entries, newest first. Empty and None mean any; `before` is the last id of the page before."""

    limit: int
    before: str = ""
    key: str = ""
    method: str = ""
    route: str = ""
    refused: bool | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """Entries; `more` when older ones follow."""

    entries: Sequence[AuditEntry]
    more: bool
