"""Conditions on items beside their words: tags, metadata, time, and the fields of their values."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from cadre_kit.documents import from_json_text
from cadre_memory.domain.items import METADATA_BYTES, FieldInvalid, Item, valid_metadata, valid_tags

_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {"$eq": eq, "$ne": ne, **_ORDERED}
_DEPTH = 16


@dataclass(frozen=True, kw_only=True)
class Filter:
    """All that an item has to have; by default nothing. Its time is when it was said, or else last stored.

    `metadata` and `value` are JSON texts of objects; `value` says what the fields of the item's value are.
    """

    tags: tuple[str, ...] = ()
    metadata: str = "{}"
    value: str = "{}"
    since: datetime | None = None
    before: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether every item passes."""
        return self == ALL

    @property
    def needs_value(self) -> bool:
        """Whether it can only be told by an item's value."""
        return self.value != "{}"

    def passes(self, item: Item) -> bool:
        """Whether an item has it all."""
        said = item.turn.time if item.turn else item.updated
        return (
            (self.since is None or said >= self.since)
            and (self.before is None or said < self.before)
            and self.says(tags=item.tags, metadata=item.metadata, value=item.value)
        )

    def says(self, *, tags: Sequence[str], metadata: str, value: str) -> bool:
        """Whether tags, metadata and value, the last two as JSON texts, are as wanted."""
        if not set(self.tags) <= set(tags):
            return False
        if self.needs_value and not _matches(json.loads(value), json.loads(self.value)):
            return False
        if self.metadata == "{}":
            return True
        wanted: dict[str, Any] = json.loads(self.metadata)
        own: dict[str, Any] = json.loads(metadata)
        return all(name in own and own[name] == value for name, value in wanted.items())


ALL = Filter()
"""What every item passes."""


def valid_filter(
    *,
    tags: tuple[str, ...],
    metadata: str,
    since: datetime | None,
    before: datetime | None,
    value: str = "",
) -> Filter:
    """A filter. Raises FieldInvalid and NotJson."""
    return Filter(
        tags=valid_tags(tags),
        metadata=valid_metadata(metadata),
        since=since,
        before=before,
        value=_valid_conditions(value),
    )


def _valid_conditions(text: str) -> str:
    if not text:
        return "{}"
    document = from_json_text(text, field="value")
    if not isinstance(document, dict) or len(text.encode()) > METADATA_BYTES:
        raise _conditions_invalid(
            f"filter.value must be a JSON object of at most {METADATA_BYTES} bytes"
        )
    _check_conditions(document, depth=0)
    return json.dumps(document)


def _check_conditions(wanted: object, *, depth: int) -> None:
    if depth > _DEPTH:
        raise _conditions_invalid(f"filter.value is nested deeper than {_DEPTH}")
    inner = (
        wanted.values() if isinstance(wanted, dict) else wanted if isinstance(wanted, list) else ()
    )
    if isinstance(wanted, dict):
        operators = [name for name in wanted if name.startswith("$")]
        unknown = [name for name in operators if name not in _OPERATORS]
        if unknown or 0 < len(operators) < len(wanted):
            named = (unknown or operators)[0]
            raise _conditions_invalid(f"filter.value has {named!r} where it means nothing")
    for each in inner:
        _check_conditions(each, depth=depth + 1)


def _conditions_invalid(message: str) -> FieldInvalid:
    return FieldInvalid(
        "filter.value",
        message,
        code="CONDITIONS_INVALID",
        resolution=f"Name fields of values, each with what it equals or with {', '.join(_OPERATORS)}.",
    )


def _matches(own: object, wanted: object) -> bool:
    """Whether a value is as wanted: objects by the fields that are named, lists as a whole, all else by equality."""
    match wanted:
        case dict() if any(name.startswith("$") for name in wanted):
            return all(_compares(own, name, other) for name, other in wanted.items())
        case dict():
            return isinstance(own, dict) and all(
                _matches(own.get(name), other) for name, other in wanted.items()
            )
        case list():
            return (
                isinstance(own, list)
                and len(own) == len(wanted)
                and all(map(_matches, own, wanted))
            )
        case _:
            return own == wanted


def _compares(own: object, operator: str, other: object) -> bool:
    if operator in _ORDERED:
        both = (own, other)
        if not all(isinstance(each, str) for each in both):
            try:
                # Texts that are numbers compare as such with numbers.
                own, other = (float(each) for each in both)  # type: ignore[arg-type]  # told by the error
            except (TypeError, ValueError):
                return False
    return _OPERATORS[operator](own, other)
