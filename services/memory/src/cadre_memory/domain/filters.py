"""Conditions on items beside their words: tags, metadata and time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cadre_memory.domain.items import Item, valid_metadata, valid_tags


@dataclass(frozen=True, kw_only=True)
class Filter:
    """All that an item has to have; by default nothing. Its time is when it was said, or else last stored."""

    tags: tuple[str, ...] = ()
    metadata: str = "{}"
    since: datetime | None = None
    before: datetime | None = None

    @property
    def empty(self) -> bool:
        """Whether every item passes."""
        return self == ALL

    def passes(self, item: Item) -> bool:
        """Whether an item has it all."""
        said = item.turn.time if item.turn else item.updated
        return (
            (self.since is None or said >= self.since)
            and (self.before is None or said < self.before)
            and self.says(tags=item.tags, metadata=item.metadata)
        )

    def says(self, *, tags: Sequence[str], metadata: str) -> bool:
        """Whether tags and metadata, the JSON text of an object, are as wanted."""
        if not set(self.tags) <= set(tags):
            return False
        if self.metadata == "{}":
            return True
        wanted: dict[str, Any] = json.loads(self.metadata)
        own: dict[str, Any] = json.loads(metadata)
        return all(name in own and own[name] == value for name, value in wanted.items())


ALL = Filter()
"""What every item passes."""


def valid_filter(
    *, tags: tuple[str, ...], metadata: str, since: datetime | None, before: datetime | None
) -> Filter:
    """A filter. Raises FieldInvalid and NotJson."""
    return Filter(
        tags=valid_tags(tags), metadata=valid_metadata(metadata), since=since, before=before
    )
