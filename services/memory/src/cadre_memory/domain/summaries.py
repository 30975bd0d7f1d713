"""Rolling summaries: the older part of a conversation in a few words. Each is an item of the conversation."""

import json
from dataclasses import dataclass
from datetime import datetime

from cadre_memory.domain.items import Item

SUMMARY_KEY = "summary"
LAST_POSITION = "last_position"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was said up to a position, when that was written, and as which version of its item."""

    text: str
    last_position: int
    time: datetime
    version: int


def summary_of(item: Item) -> Summary | None:
    """The summary that an item is; None when it is something else."""
    text, last = json.loads(item.value), json.loads(item.metadata).get(LAST_POSITION)
    if not isinstance(text, str) or not isinstance(last, int):
        return None
    return Summary(text=text, last_position=last, time=item.updated, version=item.version)
