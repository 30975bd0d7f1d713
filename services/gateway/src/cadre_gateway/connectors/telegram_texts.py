"""Markdown as Telegram shows it: plain texts, and beside them which parts are bold, code, links.

Given like that, and not as marks within the text, nothing has to be escaped, and no cut can fall into a mark.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from telegramify_markdown import MessageEntity, RenderConfig, convert

from cadre_gateway.domain.texts import parts, utf16_length

__all__ = ["LONGEST_TEXT", "Entity", "Styled", "styled_pieces"]

LONGEST_TEXT = 4_096
"""What one message takes, in UTF-16 code units."""

Entity: TypeAlias = Mapping[str, Any]
"""Which part of a text is what, in the Bot API's words and UTF-16 code units."""

# What Markdown takes for HTML would not be shown: half of `List<int>` is gone. Only addresses may stand in brackets.
_TAG = re.compile(r"<(?!(?:https?://|mailto:)[^\s<>]+>)")
# Stands for `<` meanwhile: as long as it, and no character of any text.
_BRACKET = "\ufdd0"


@dataclass(frozen=True, kw_only=True)
class Styled:
    """The text of one message, with its entities as the Bot API takes them."""

    text: str
    entities: Sequence[Entity] = ()


def styled_pieces(markdown: str, *, limit: int = LONGEST_TEXT) -> list[Styled]:
    """The messages that a text makes; none for a blank one. Entities over a cut go on behind it."""
    # JSON may hold halves of characters, which nothing can show.
    whole = markdown.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text, entities = convert(_TAG.sub(_BRACKET, whole), latex_escape=False, config=_CONFIG)
    text = text.replace(_BRACKET, "<")
    found, at, begins = [], 0, 0
    for start, end in parts(text, limit, length=utf16_length):
        begins += utf16_length(text[at:start])
        ends = begins + utf16_length(text[start:end])
        within = [cut for each in entities if (cut := _cut(each, begins, ends)) is not None]
        found.append(Styled(text=text[start:end], entities=within))
        at, begins = end, ends
    return found


def _cut(entity: MessageEntity, begins: int, ends: int) -> Entity | None:
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
