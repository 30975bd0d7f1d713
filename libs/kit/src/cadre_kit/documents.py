"""JSON documents as the protos carry them."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from cadre.common.v1 import common_pb2
from cadre_kit.errors import InvalidInput

__all__ = ["NotJson", "from_json", "from_json_text", "json_text", "object_from_json", "to_json"]


class NotJson(InvalidInput):
    """A field that must hold a JSON document does not."""

    code = "NOT_JSON"


def to_json(value: object) -> common_pb2.Json:
    """The message of a value. Raises NotJson for what JSON cannot say (NaN, sets, keys that are not text)."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as exc:
        raise NotJson(f"the value is not JSON: {exc}") from exc
    return common_pb2.Json(text=text)


def json_text(value: object) -> str:
    """The shortest text of a value that is known to be JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # orjson has no integers over 64 bits.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def from_json(message: common_pb2.Json, *, field: str) -> Any:
    """The value of a message. Raises NotJson naming `field`."""
    return from_json_text(message.text, field=field)


def from_json_text(text: str, *, field: str) -> Any:
    """The value of a document's text. Raises NotJson naming `field`."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as exc:
        why = "it is nested too deeply" if isinstance(exc, RecursionError) else exc
        raise NotJson(f"{field} is not a JSON document: {why}", metadata={"field": field}) from exc


def _refuse(constant: str) -> NoReturn:
    # Python reads NaN and Infinity; RFC 8259, and every other reader of what is stored, does not.
    raise ValueError(f"{constant} is not a JSON value")


def _finite(digits: str) -> float:
    # Nor could anyone write again what Python reads `1e999` as.
    if math.isinf(number := float(digits)):
        raise ValueError("a number is too large")
    return number


# Made once: `json.loads` would make one for each text.
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def object_from_json(message: common_pb2.Json, *, field: str) -> Mapping[str, Any]:
    """The object of a message; empty for an unset one. Raises NotJson naming `field` when it is something else."""
    if not message.text:
        return {}
    value = from_json(message, field=field)
    if not isinstance(value, dict):
        raise NotJson(
            f"{field} must be a JSON object, not {type(value).__name__}", metadata={"field": field}
        )
    return value
