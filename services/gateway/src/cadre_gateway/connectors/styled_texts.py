"""Markdown as chats show it.

Telegram takes plain texts, and beside them which parts are bold, code, links: nothing has to be escaped, and no cut can
fall into a mark. Slack (https://docs.slack.dev/messaging/formatting-message-text) and WhatsApp take marks within the
text, other ones than Markdown's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyromark
from telegramify_markdown import MessageEntity, RenderConfig, convert

from cadre_gateway.domain.texts import parts, utf16_length

__all__ = ["LONGEST_TEXT", "SLACK", "WHATSAPP", "Marks", "Styled", "marked_pieces", "styled_pieces"]

LONGEST_TEXT = 4_096
"""What one message takes, in UTF-16 code units."""

_MOST_ENTITIES = 100
_OPTIONS = (
    pyromark.Options.ENABLE_TABLES
    | pyromark.Options.ENABLE_STRIKETHROUGH
    | pyromark.Options.ENABLE_TASKLISTS
    | pyromark.Options.ENABLE_MATH
)
# What was within HTML may be HTML again; each time there is less of it.
_MOST_PASSES = 10


@dataclass(frozen=True, kw_only=True)
class Styled:
    """The text of one message, with its entities as the Bot API takes them."""

    text: str
    entities: Sequence[Mapping[str, Any]] = ()


def styled_pieces(markdown: str, *, limit: int = LONGEST_TEXT) -> list[Styled]:
    """The messages that a text makes; none for a blank one. Entities over a cut go on behind it."""
    text, entities = convert(_without_html(markdown), latex_escape=False, config=_CONFIG)
    found, at, begins = [], 0, 0
    for start, end in parts(text, limit, length=utf16_length):
        begins += utf16_length(text[at:start])
        ends = begins + utf16_length(text[start:end])
        within = [cut for each in entities if (cut := _cut(each, begins, ends)) is not None]
        # Telegram takes no more; what is over would be plain anyway.
        found.append(Styled(text=text[start:end], entities=within[:_MOST_ENTITIES]))
        at, begins = end, ends
    return found


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What a chat takes within a text: signs around a part of a line, how a link is written from its text and its
    address, and what has to be written otherwise to be shown as it is."""

    around: Mapping[str, str]
    link: Callable[[str, str], str]
    escape: Callable[[str], str]


_NOT_IN_LINKS = {ord(sign): f"%{ord(sign):X}" for sign in "<|>"}
SLACK = Marks(
    around={"bold": "*", "italic": "_", "strikethrough": "~", "code": "`"},
    link=lambda text, url: f"<{url.translate(_NOT_IN_LINKS)}|{text}>",
    escape=lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
)
WHATSAPP = Marks(
    around={"bold": "*", "italic": "_", "strikethrough": "~", "code": "`"},
    link=lambda text, url: url if text == url else f"{text} ({url})",
    escape=lambda text: text,
)


def marked_pieces(markdown: str, marks: Marks, *, limit: int, longest: int) -> list[str]:
    """The messages that a text makes, parted at `limit` characters before the marks are in it. One that is longer than
    `longest` with them has none."""
    found = []
    for piece in styled_pieces(markdown, limit=limit):
        text = _marked(piece, marks)
        found.append(text if len(text) <= longest else marks.escape(piece.text))
    return found


def _marked(piece: Styled, marks: Marks) -> str:
    units = piece.text.encode("utf-16-le", "surrogatepass")

    def written(begin: int, end: int, entities: Sequence[Mapping[str, Any]]) -> str:
        """A part of the text, with the entities within it: each whole within another, or beside it."""
        said, at = [], begin
        while entities:
            outer, *others = entities
            first, last = outer["offset"], outer["offset"] + outer["length"]
            within = [each for each in others if each["offset"] < last]
            said += [plain(at, first), _wrapped(outer, written(first, last, within), marks)]
            at, entities = last, others[len(within) :]
        return "".join([*said, plain(at, end)])

    def plain(begin: int, end: int) -> str:
        return marks.escape(units[2 * begin : 2 * end].decode("utf-16-le", "surrogatepass"))

    outermost_first = sorted(piece.entities, key=lambda each: (each["offset"], -each["length"]))
    return written(0, len(units) // 2, outermost_first)


def _wrapped(entity: Mapping[str, Any], text: str, marks: Marks) -> str:
    match entity["type"]:
        case "pre":
            return f"```\n{text}\n```"
        case "text_link":
            return marks.link(text, entity["url"])
        case "blockquote" | "expandable_blockquote":
            return "\n".join(f"> {line}" for line in text.split("\n"))
        case kind if kind in marks.around:
            # Signs are signs only beside something, and in one line.
            lines = text.split("\n")
            return "\n".join(_beside(line, marks.around[kind]) for line in lines)
    return text


def _beside(line: str, sign: str) -> str:
    inner = line.strip()
    if not inner:
        return line
    before, _, after = line.partition(inner)
    return f"{before}{sign}{inner}{sign}{after}"


def _without_html(markdown: str) -> str:
    """The text with its HTML as words, which would be left out: a model's `List<String>`, or an answer that is a page.
    Halves of characters, which JSON may hold, are said to be unreadable."""
    whole = markdown.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    raw = whole.encode()
    for _ in range(_MOST_PASSES):
        text = raw.decode()
        events = pyromark.events_with_range(text, options=_OPTIONS)
        spans = [
            (place["start"], place["end"])
            for event, place in events
            if isinstance(event, dict) and event.keys() & {"Html", "InlineHtml"}
        ]
        if not spans:
            break
        for start, end in reversed(spans):
            raw = raw[:start] + raw[start:end].replace(b"<", rb"\<") + raw[end:]
    return raw.decode()


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
