"""Values of the domain as JSON text, as the database keeps them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from cadre_executor.domain.runs import Failure, RaisedBudget, Usage
from cadre_kit.documents import json_text

__all__ = [
    "failure_from_text",
    "failure_to_text",
    "loaded",
    "moment",
    "raised_from_text",
    "raised_to_text",
    "seconds",
    "usage_from_text",
    "usage_to_text",
]


def loaded(text: str | None) -> Any:
    """The value of JSON text; None for none."""
    return None if text is None else json.loads(text)


def seconds(time: datetime) -> float:
    """A time as the database keeps it: seconds since 1970."""
    return time.timestamp()


def moment(since_1970: float) -> datetime:
    """A time from the database."""
    return datetime.fromtimestamp(since_1970, UTC)


def usage_to_text(usage: Usage) -> str:
    """The usage, the money as an exact decimal."""
    return json_text(usage.document)


def raised_to_text(raised: RaisedBudget | None) -> str | None:
    """A budget that was raised, if it was."""
    if raised is None:
        return None
    usd = None if raised.usd is None else f"{raised.usd:f}"
    return json_text([raised.run_id, usd, raised.tokens])


def raised_from_text(text: str | None) -> RaisedBudget | None:
    """The budget again."""
    if text is None:
        return None
    run_id, usd, tokens = json.loads(text)
    return RaisedBudget(run_id=run_id, usd=None if usd is None else Decimal(usd), tokens=tokens)


def usage_from_text(text: str) -> Usage:
    """The usage again."""
    return Usage.of(json.loads(text))


def failure_to_text(failure: Failure | None) -> str | None:
    """The failure, if there is one."""
    if failure is None:
        return None
    return json_text(
        {
            "code": failure.code,
            "message": failure.message,
            "resolution": failure.resolution,
            "node": failure.node,
        }
    )


def failure_from_text(text: str | None) -> Failure | None:
    """The failure again."""
    if text is None:
        return None
    said: Mapping[str, str] = json.loads(text)
    return Failure(**said)
