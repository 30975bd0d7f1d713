"""What a query gave, as JSON and bounded."""

import base64
import datetime
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cadre_executor.domain.tools import ToolFailed, ToolResult

__all__ = ["Query", "Rows", "collect", "query_failed"]

_MAX_BYTES = 1_048_576


@dataclass(frozen=True, kw_only=True)
class Query:
    """One statement, with the values of its placeholders and its bounds."""

    text: str
    parameters: Sequence[Any]
    max_rows: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Columns and rows; `more` when rows were left out for their number or size."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: bool

    def result(self) -> ToolResult:
        """As a tool's result."""
        return ToolResult(
            value={"columns": list(self.columns), "rows": list(self.rows), "more": self.more}
        )


def collect(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, max_rows: int) -> Rows:
    """The first rows, up to a number and 1 MiB of JSON."""
    kept: list[Sequence[Any]] = []
    size = 0
    for row in rows:
        values = [_plain(value) for value in row]
        size += len(json.dumps(values))
        if len(kept) == max_rows or size > _MAX_BYTES:
            return Rows(columns=columns, rows=kept, more=True)
        kept.append(values)
    return Rows(columns=columns, rows=kept, more=False)


def query_failed(reason: str) -> ToolFailed:
    """What the database said of a query, its first lines."""
    return ToolFailed(
        f"the query failed: {reason.strip()[:1000]}",
        code="QUERY_FAILED",
        resolution="Write one SELECT statement; nothing can be changed.",
    )


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case Decimal():
            return str(value)
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)
