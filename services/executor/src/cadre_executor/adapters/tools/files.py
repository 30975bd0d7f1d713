"""The tools that read and write the run's workspace."""

import asyncio
import base64
import binascii
import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cadre_executor.adapters.tools.invocations import Invocation
from cadre_executor.adapters.workspaces import Workspace, Workspaces
from cadre_executor.domain.tools import ToolFailed, ToolResult

__all__ = ["FileTools"]

_MAX_READ_BYTES = 1024 * 1024
_MAX_WRITE_BYTES = 8 * 1024 * 1024
Answer = TypeVar("Answer")


class FileTools:
    """file_read, file_write, file_glob, file_move and dataframe_to_csv."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    async def read(self, asked: Invocation) -> ToolResult:
        """A file's text, JSON value or bytes."""
        path = asked.arguments["path"]
        content = await self._do(asked, lambda w: w.read(path, max_bytes=_MAX_READ_BYTES))
        return ToolResult(value=_decoded(content, asked.arguments.get("format", "text"), path))

    async def write(self, asked: Invocation) -> ToolResult:
        """Writes a file; how many bytes it got."""
        path, mode = asked.arguments["path"], asked.arguments.get("mode", "replace")
        content = _encoded(asked.arguments["content"], asked.arguments.get("format", "text"))
        _refuse_large(content)
        await self._do(asked, lambda w: w.write(path, content, mode=mode))
        return ToolResult(value={"path": path, "bytes": len(content)}, files=(path,))

    async def glob(self, asked: Invocation) -> ToolResult:
        """The files that match."""
        pattern, most = (
            asked.arguments.get("pattern", "**/*"),
            asked.arguments.get("max_results", 200),
        )
        entries, more = await self._do(asked, lambda w: w.glob(pattern, most=most))
        files = [{"path": entry.path, "size": entry.size} for entry in entries]
        return ToolResult(value={"files": files, "more": more})

    async def move(self, asked: Invocation) -> ToolResult:
        """Moves a file or folder."""
        source, target = asked.arguments["source"], asked.arguments["target"]
        replace = asked.arguments.get("replace", False)
        await self._do(asked, lambda w: w.move(source, target, replace=replace))
        return ToolResult(value={"path": target}, files=(target,))

    async def to_csv(self, asked: Invocation) -> ToolResult:
        """Rows as CSV: the text, or the file that took it."""
        columns, rows = _table(asked.arguments["rows"], asked.arguments.get("columns"))
        text = _csv(columns, rows, asked.arguments.get("delimiter", ","))
        path = asked.arguments.get("path")
        _refuse_large(text.encode())
        if path is None:
            return ToolResult(value={"csv": text, "rows": len(rows)})
        await self._do(asked, lambda w: w.write(path, text.encode()))
        return ToolResult(value={"path": path, "rows": len(rows)}, files=(path,))

    async def _do(self, asked: Invocation, use: Callable[[Workspace], Answer]) -> Answer:
        def work() -> Answer:
            with self._workspaces.open(asked.context.run_id) as workspace:
                return use(workspace)

        return await asyncio.to_thread(work)


def _decoded(content: bytes, form: str, path: str) -> Any:
    if form == "base64":
        return base64.b64encode(content).decode()
    try:
        text = content.decode()
        return json.loads(text) if form == "json" else text
    except UnicodeDecodeError as exc:
        raise ToolFailed(
            f"{path!r} is not UTF-8 text",
            code="FILE_NOT_TEXT",
            resolution="Read it with format: base64.",
            metadata={"path": path},
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise ToolFailed(
            f"{path!r} is not JSON",
            code="FILE_NOT_JSON",
            resolution="Read it with format: text.",
            metadata={"path": path},
        ) from exc


def _encoded(content: object, form: str) -> bytes:
    if form == "base64":
        try:
            return base64.b64decode(content if isinstance(content, str) else "?", validate=True)
        except binascii.Error as exc:
            raise ToolFailed("content is not text in base64", code="CONTENT_REFUSED") from exc
    if form == "text" and isinstance(content, str):
        return content.encode(errors="replace")
    return json.dumps(content, ensure_ascii=False, indent=2).encode(errors="replace")


def _refuse_large(content: bytes) -> None:
    if len(content) > _MAX_WRITE_BYTES:
        raise ToolFailed(
            f"at most {_MAX_WRITE_BYTES} bytes can be written at once", code="FILE_TOO_LARGE"
        )


def _table(
    rows: Sequence[Any], columns: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    if all(isinstance(row, dict) for row in rows):
        names = columns or list(dict.fromkeys(name for row in rows for name in row))
        return names, [[row.get(name) for name in names] for row in rows]
    if columns is None or any(isinstance(row, dict) for row in rows):
        raise ToolFailed(
            "rows are all objects, or all lists with columns named",
            code="ROWS_REFUSED",
            resolution="Give `columns` for rows that are lists.",
        )
    uneven = next((i for i, row in enumerate(rows) if len(row) != len(columns)), None)
    if uneven is not None:
        raise ToolFailed(
            f"row {uneven} has {len(rows[uneven])} values for {len(columns)} columns",
            code="ROWS_REFUSED",
            metadata={"row": str(uneven)},
        )
    return columns, rows


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]], delimiter: str) -> str:
    out = io.StringIO()
    try:
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_cell(value) for value in row] for row in rows])
    except (csv.Error, ValueError, TypeError) as exc:
        raise ToolFailed(
            "the rows cannot be written as CSV with that delimiter", code="ROWS_REFUSED"
        ) from exc
    return out.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
