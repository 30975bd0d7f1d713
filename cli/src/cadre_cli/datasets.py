"""Datasets: the rows that a batch is run over, and the file of what they gave. JSONL or CSV, by the file's name."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadre_cli.errors import CliError
from cadre_cli.options import json_of

if TYPE_CHECKING:
    from cadre_client import BatchRow

__all__ = ["Row", "check_output", "document_of", "read_rows", "write_results"]

_SUFFIXES = (".csv", ".jsonl", ".ndjson")
_SHOWN = 20
_FIRST_COLUMNS = ("row", "line", "run_id", "status")
_LAST_COLUMNS = (
    "usage.input_tokens",
    "usage.output_tokens",
    "usage.cost_usd",
    "error.code",
    "error.message",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one run is given, and its line in the file, from 1."""

    inputs: Mapping[str, Any]
    line: int


class DatasetInvalid(CliError):
    """Rows cannot be read; each is named by its line."""

    def __init__(self, file: str, wrong: Sequence[tuple[int, str]]) -> None:
        said = [f"{file}:{line}: {what}" for line, what in wrong[:_SHOWN]]
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        super().__init__(
            f"{len(wrong)} rows of {file} cannot be read; nothing was started",
            code="DATASET_INVALID",
            resolution="Give JSONL, one JSON object of state fields a line, or CSV whose first line names the fields.",
            details=[*said, *more],
        )
        self.wrong = wrong

    def document(self) -> dict[str, object]:
        """The error as JSON, with every row that is wrong."""
        problems = [{"line": line, "message": what} for line, what in self.wrong]
        return {**super().document(), "problems": problems}


def read_rows(text: str, *, file: str, types: Mapping[str, str]) -> list[Row]:
    """The rows of a file's text; `types` are those of the state fields, for the cells of CSV. Raises DatasetInvalid
    with every row that cannot be read."""
    text = text.removeprefix("\ufeff")
    wrong: list[tuple[int, str]] = []
    is_csv = file.lower().endswith(".csv")
    rows = list(_csv_rows(text, types, wrong) if is_csv else _json_rows(text, wrong))
    if not rows and not wrong:
        wrong.append((1, "there is no row"))
    if wrong:
        raise DatasetInvalid(file, wrong)
    return rows


def check_output(path: Path | None) -> None:
    """Raises CliError when results could not be written to a file, before anything has run."""
    if path is None:
        return
    if path.suffix.lower() not in _SUFFIXES:
        raise CliError(
            f"{path} is neither a .jsonl nor a .csv file",
            code="OUTPUT_INVALID",
            resolution="Let the name of the results file end with .jsonl or .csv.",
        )
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise CliError(
            f"{path} cannot be written",
            code="OUTPUT_INVALID",
            resolution="Name a file in a folder that is there and that you may write to.",
        )


def write_results(path: Path, rows: Iterable["BatchRow"]) -> None:
    """Writes what every row gave, in their order, in place of what the file held before."""
    documents = map(document_of, rows)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            if path.suffix.lower() == ".csv":
                _write_csv(file, list(documents))
            else:
                file.writelines(f"{json.dumps(each, ensure_ascii=False)}\n" for each in documents)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


def document_of(row: "BatchRow") -> dict[str, Any]:
    """A row as results files have it; `pending` before it was started."""
    run = row.run
    if run is None:
        nothing = {"outputs": None, "usage": None, "error": None}
        return {"row": row.row, "line": row.line, "run_id": None, "status": "pending", **nothing}
    used = run.usage.model_dump(mode="json", include={"input_tokens", "output_tokens", "cost_usd"})
    return {
        "row": row.row,
        "line": row.line,
        "run_id": run.id,
        "status": str(run.status),
        "outputs": run.outputs,
        "usage": used,
        "error": run.error.model_dump(mode="json") if run.error else None,
    }


def _json_rows(text: str, wrong: list[tuple[int, str]]) -> Iterator[Row]:
    # Only a line feed ends a line of it: str.splitlines would also break at U+2028 within a text.
    for number, line in enumerate(io.StringIO(text), start=1):
        if not line.strip():
            continue
        try:
            inputs = json_of(line)
        except ValueError as exc:
            wrong.append((number, f"not JSON: {exc}"))
            continue
        if isinstance(inputs, dict):
            yield Row(inputs=inputs, line=number)
        else:
            wrong.append((number, "not a JSON object"))


def _csv_rows(text: str, types: Mapping[str, str], wrong: list[tuple[int, str]]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            began, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [cell.strip() for cell in cells]
                if len(set(names)) < len(names) or not all(names):
                    wrong.append((began, "the first line must name each state field once"))
                    return
            elif len(cells) != len(names):
                wrong.append((began, f"{len(cells)} cells, and the first line has {len(names)}"))
            else:
                named = zip(names, cells, strict=True)
                given = {name: _cell(cell, types.get(name, "str")) for name, cell in named if cell}
                yield Row(inputs=given, line=began)
    except csv.Error as exc:
        wrong.append((reader.line_num, f"not CSV: {exc}"))


def _cell(cell: str, type_: str) -> Any:
    """The value that a cell says: text for a text field, JSON for another as far as it is JSON."""
    if type_.split("|")[0].strip() in ("str", "any"):
        return cell
    try:
        return json_of(cell)
    except ValueError:
        return cell


def _write_csv(file: Any, documents: Sequence[Mapping[str, Any]]) -> None:
    outputs = dict.fromkeys(name for each in documents for name in each["outputs"] or {})
    columns = [*_FIRST_COLUMNS, *(f"outputs.{name}" for name in outputs), *_LAST_COLUMNS]
    writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_flat, documents))


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": _as_cell(given) for inner, given in value.items()}
        else:
            flat[name] = _as_cell(value)
    return flat


def _as_cell(value: Any) -> Any:
    if value is None:
        return ""
    return (
        value
        if isinstance(value, str | int | float) and not isinstance(value, bool)
        else json.dumps(value, ensure_ascii=False)
    )
