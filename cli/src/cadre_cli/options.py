"""Options that many commands share, and how the values on a command line are read."""

import json
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cadre_cli.errors import CliError

__all__ = [
    "InputValues",
    "InputsFile",
    "JsonFlag",
    "Notify",
    "WorkflowFile",
    "json_of",
    "read_inputs",
    "read_text",
    "seconds_of",
    "usd_of",
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
WorkflowFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A workflow file; - reads standard input.", show_default=False
    ),
]
InputValues = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--input",
        metavar="KEY=VALUE",
        help="A value for a state field; KEY=@FILE reads a file, KEY:=JSON gives a number, list or object.",
        show_default=False,
    ),
]
InputsFile = Annotated[
    Path | None,
    typer.Option(
        "--inputs", metavar="FILE", help="A JSON object of values; - reads standard input."
    ),
]
Notify = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Have this address told when it has ended, signed with the secret in CADRE_HOME/notify-secret.",
        show_default=False,
    ),
]


def read_inputs(values: list[str] | None, file: Path | None) -> dict[str, Any]:
    """All inputs; single values win over the file's. Raises CliError naming what cannot be read."""
    from_file = _object(read_text(file), str(file)) if file is not None else {}
    return {**from_file, **dict(_pair(value) for value in values or [])}


def json_of(text: str) -> Any:
    """The value of a JSON document. Raises ValueError, also for NaN and Infinity, which only Python takes for JSON."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON value")


def seconds_of(text: str) -> float:
    """A length of time such as 90s, 5m, 1.5h or 7d, in seconds. Raises CliError."""
    number, unit = text[:-1], text[-1:]
    try:
        seconds = float(number) * _UNITS[unit]
    except (ValueError, KeyError) as exc:
        raise CliError(
            f"{text!r} is no length of time",
            code="DURATION_INVALID",
            resolution="Give a number and s, m, h or d, such as 90s or 7d.",
        ) from exc
    return seconds


def usd_of(text: str | None) -> Decimal | None:
    """An amount of US dollars that --usd gives. Raises BadParameter."""
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation as exc:
        raise typer.BadParameter(
            f"{text!r} is no amount; write it as 2.50", param_hint="--usd"
        ) from exc
    if not amount.is_finite() or amount <= 0:
        raise typer.BadParameter("an amount is above 0", param_hint="--usd")
    return amount


def read_text(path: Path) -> str:
    """A file's text, its line ends as they are; - is standard input. Raises CliError naming the file."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_bytes().decode()
    except OSError as exc:
        raise CliError(
            f"{path} cannot be read: {exc.strerror}",
            code="FILE_UNREADABLE",
            resolution="Check the file's name and that you may read it.",
        ) from exc
    except UnicodeDecodeError as exc:
        raise CliError(
            f"{path} is not UTF-8 text",
            code="FILE_UNREADABLE",
            resolution="Save the file as UTF-8.",
        ) from exc


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.rstrip(":"):
        raise CliError(
            f"{text!r} is not KEY=VALUE",
            code="INPUT_INVALID",
            resolution="Write -i KEY=VALUE, -i KEY=@FILE or -i KEY:=JSON.",
        )
    if key.endswith(":"):
        return key[:-1], _json(value, key[:-1])
    return key, read_text(Path(value[1:])) if value.startswith("@") else value


def _json(text: str, what: str) -> Any:
    try:
        return json_of(text)
    except ValueError as exc:
        raise CliError(
            f"{what} is not JSON: {exc}",
            code="INPUT_INVALID",
            resolution='Write JSON, such as -i count:=3 or -i names:=\'["a", "b"]\'.',
        ) from exc


def _object(text: str, what: str) -> dict[str, Any]:
    document = _json(text, what)
    if not isinstance(document, dict):
        raise CliError(
            f"{what} holds no JSON object",
            code="INPUT_INVALID",
            resolution='Write an object of state fields, such as {"message": "hello"}.',
        )
    return document
