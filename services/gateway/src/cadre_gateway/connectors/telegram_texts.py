"""Markdown as Telegram shows it: plain texts, and beside them which parts are bold, code, links.

Given like that, and not as marks within the text, nothing has to be escaped, and no cut can fall into a mark.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from telegramify_markdown import MessageEntity, RenderConfig, convert

from cadre_gateway.domain.texts import parts, utf16_length

__all__ = ["LONGEST_TEXT", "Styled", "styled_pieces"]

LONGEST_TEXT = 4_096
"""What one message takes, in UTF-16 code units."""

_MOST_ENTITIES = 100


@dataclass(frozen=True, kw_only=True)
class Styled:
    """The text of one message, with its entities as the Bot API takes them."""

    text: str
    entities: Sequence[Mapping[str, Any]] = ()


def styled_pieces(markdown: str, *, limit: int = LONGEST_TEXT) -> list[Styled]:
    """The messages that a text makes; none for a blank one. Entities over a cut go on behind it."""
    text, entities = convert(markdown, latex_escape=False, config=_CONFIG)
    found, at, begins = [], 0, 0
    for start, end in parts(text, limit, length=utf16_length):
        begins += utf16_length(text[at:start])
        ends = begins + utf16_length(text[start:end])
        within = [cut for each in entities if (cut := _cut(each, begins, ends)) is not None]
        # Telegram takes no more; what is over would be plain anyway.
        found.append(Styled(text=text[start:end], entities=within[:_MOST_ENTITIES]))
        at, begins = end, ends
    return found


def _cut(entity: MessageEntity, begins: int, ends: int) -> Mapping[str, Any] | None:
    """The part of an entity within a piece, counted from there."""
    first, last = max(entity.offset, begins), min(entity.offset + entity.length, ends)
    if first >= last:
        return None
    return entity.copy_with(offset=first - begins, length=last - first).to_dict()


def _plain_config() -> RenderConfig:
    config = RenderConfig.isolated()
    symbols = config.markdown_symbol
    for level in range(1, 7):
        setattr(symbols, f"heading_level_{level}", "")
    symbols.unordered_list_item, symbols.link, symbols.image = "•", "", ""
    return config


_CONFIG = _plain_config()
