"""Which requests the audit log has, and what of them."""

import time
from collections.abc import Mapping
from typing import Any

from starlette.types import Scope as AsgiScope

from cadre_gateway.adapters.audit_log import AuditLog
from cadre_gateway.domain.api_keys import Caller, Scope
from cadre_gateway.domain.audit import AuditEntry
from cadre_gateway.domain.rates import Rates, per_second
from cadre_gateway.entrypoint.access import is_by_signature
from cadre_kit.errors import CadreError
from cadre_kit.ids import new_id
from cadre_kit.logs import logger

__all__ = ["Auditing"]

log = logger()

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSED = frozenset({401, 403, 429})
# Whoever is turned away at the door must not be able to fill the disk, nor to push out of the log what matters.
_TURNED_AWAY = frozenset({401, 429})
_TURNED_AWAY_PER_SECOND = 1.0
_ID_CHARACTERS = 200


class Auditing:
    """Writes down what changes something, and what is refused to whom.

    Deliveries that were accepted are in the inbox, with who sent them; only those that were refused are here. Of those
    who are turned away (401, 429), one a second is for each key, or each address without one.
    """

    def __init__(self, audit_log: AuditLog) -> None:
        self._log = audit_log
        self._turned_away = Rates(per_second(_TURNED_AWAY_PER_SECOND))

    async def write_down(
        self,
        *,
        caller: Caller | None,
        scope: AsgiScope,
        route: str,
        status: int,
        created: str,
        request_id: str,
    ) -> None:
        """Stores the entry of a request that is about to be answered, if it has one."""
        address = str((scope.get("client") or ("",))[0])
        if not _is_of_interest(scope, status):
            return
        if status in _TURNED_AWAY:
            whose = f"key {caller.name}" if caller else address
            if not self._turned_away.allows(whose, now=time.monotonic()):
                return
        entry = AuditEntry(
            id=new_id(),
            time=time.time(),
            key=caller.name if caller else "",
            prefix=caller.prefix if caller else "",
            address=address[:64],
            method=str(scope["method"])[:16],
            route=route[:200],
            ids=_ids(scope, created),
            status=status,
            code=str(scope.get("cadre.code", ""))[:100] if status >= 400 else "",
            request_id=request_id,
        )
        try:
            await self._log.add(entry)
        except CadreError as error:
            # It is done; to say otherwise would make the caller do it again.
            log.error("audit_entry_lost", code=error.code, reason=error.message, route=route)


def _is_of_interest(scope: AsgiScope, status: int) -> bool:
    if status in _REFUSED:
        return True
    if scope["method"] in _SAFE_METHODS or is_by_signature(scope["path"]):
        return False
    # Some questions are too long for an address, and are posted.
    return scope.get("cadre.needed") is not Scope.READ


def _ids(scope: AsgiScope, created: str) -> Mapping[str, str]:
    parameters: Mapping[str, Any] = scope.get("path_params", {})
    ids = {name: str(value)[:_ID_CHARACTERS] for name, value in parameters.items()}
    return ids | ({"created": created[:_ID_CHARACTERS]} if created else {})
