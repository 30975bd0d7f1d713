"""The audit log: who changed what, and what was refused."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from cadre_gateway.domain.audit import AuditQuery
from cadre_gateway.entrypoint import key_documents as documents
from cadre_gateway.entrypoint.access import ADMIN
from cadre_gateway.entrypoint.dependencies import IdPageToken, TheParts
from cadre_gateway.entrypoint.documents import Moment

__all__ = ["router"]

router = APIRouter(tags=["keys"])


@router.get("/api/v1/audit", dependencies=[ADMIN])
async def list_audit_records(
    parts: TheParts,
    key: Annotated[str, Query(max_length=63, description="Only what this key did.")] = "",
    method: Annotated[str, Query(max_length=16, description="Only this one, such as DELETE.")] = "",
    route: Annotated[str, Query(max_length=200, description="Only this path's template.")] = "",
    refused: Annotated[
        bool | None, Query(description="Only what was refused, or only what was not.")
    ] = None,
    start: Annotated[Moment | None, Query(description="Only from this time on.")] = None,
    end: Annotated[Moment | None, Query(description="Only before this time.")] = None,
    page_size: Annotated[int, Query(ge=1, le=500, description="At most this many.")] = 50,
    page_token: IdPageToken = "",
) -> documents.AuditPage:
    """Lists requests that changed something or were refused, newest first."""
    page = await parts.audit.list(
        AuditQuery(
            limit=page_size,
            before=page_token,
            key=key,
            method=method,
            route=route,
            refused=refused,
            since=_seconds(start),
            until=_seconds(end),
        )
    )
    return documents.AuditPage(
        entries=[documents.audit_record(one) for one in page.entries],
        next_page_token=page.entries[-1].id if page.more else "",
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
