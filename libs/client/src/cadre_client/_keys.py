"""API keys and the audit log, as the gateway answers about them."""

from pydantic import AwareDatetime, Field

from cadre_client._models import Answer

__all__ = ["ApiKey", "AuditEntry", "KeyRate", "MadeKey", "WhoAmI"]


class KeyRate(Answer):
    """So many requests at once, which come back evenly within `seconds`."""

    requests: int
    seconds: float


class ApiKey(Answer):
    """A key without its secret. `scope` is read, run, write or admin, each of which includes those before it; `status`
    is active, expired or revoked."""

    name: str
    prefix: str
    scope: str
    status: str
    created_time: AwareDatetime
    expires_time: AwareDatetime | None = None
    revoked_time: AwareDatetime | None = None
    last_used_time: AwareDatetime | None = None
    old_secret_expires_time: AwareDatetime | None = None
    rate: KeyRate | None = None


class MadeKey(Answer):
    """A key with its secret, which nobody can show again."""

    secret: str = Field(repr=False)
    key: ApiKey


class WhoAmI(Answer):
    """Whose key a client sends, and what it may do."""

    name: str
    prefix: str
    scope: str

    def may(self, scope: str) -> bool:
        """Whether what needs a scope is allowed."""
        return _SCOPES.index(self.scope) >= _SCOPES.index(scope)


_SCOPES = ("read", "run", "write", "admin")


class AuditEntry(Answer):
    """A request that changed something or was refused. `route` is the path's template, `ids` what stood in its places,
    with `created` for what was made; `code` says why it was refused."""

    id: str
    time: AwareDatetime
    key: str
    prefix: str
    address: str
    method: str
    route: str
    ids: dict[str, str]
    status: int
    code: str = ""
    request_id: str = ""
