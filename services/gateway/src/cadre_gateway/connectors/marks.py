"""Markdown as Slack and WhatsApp write it: their own marks around what is bold, code, a link."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cadre_gateway.connectors.telegram_texts import Entity, styled_pieces

__all__ = ["SLACK", "WHATSAPP", "Marks", "marked_pieces", "slack_escaped"]

_Span: TypeAlias = tuple[int, int, Entity]
_AROUND = {"bold": "*", "italic": "_", "strikethrough": "~", "code": "`"}
# Slack takes what follows its `<` for a mention when it is none of these, and would call a whole channel.
_LINKS = ("https://", "http://", "mailto:")


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What differs: how plain characters are written, and a link with its words, which are written already."""

    plain: Callable[[str], str]
    link: Callable[[str, str], str]


def slack_escaped(text: str) -> str:
    """Characters that Slack would take for the beginning of a mention, a link or an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def marked_pieces(markdown: str, marks: Marks, *, limit: int) -> list[str]:
    """The messages that a text makes, each of at most `limit` without its marks, in UTF-16 code units."""
    return [
        _marked(each.text, each.entities, marks) for each in styled_pieces(markdown, limit=limit)
    ]


def _marked(text: str, entities: Sequence[Entity], marks: Marks) -> str:
    units = text.encode("utf-16-le", "surrogatepass")

    def position(unit: int) -> int:
        return len(units[: unit * 2].decode("utf-16-le", "surrogatepass"))

    spans = [
        (position(each["offset"]), position(each["offset"] + each["length"]), each)
        for each in entities
    ]
    # The outer before the inner.
    spans.sort(key=lambda span: (span[0], -span[1]))
    return _written(text, 0, len(text), spans, marks)


def _written(text: str, begin: int, end: int, spans: Sequence[_Span], marks: Marks) -> str:
    """A stretch of the text, whose spans lie in it one after another and in one another."""
    found, at, rest = [], begin, list(spans)
    while rest:
        first, last, entity = rest[0]
        inner = [span for span in rest[1:] if span[0] < last]
        rest = rest[1 + len(inner) :]
        found.append(marks.plain(text[at:first]))
        found.append(_wrapped(_written(text, first, last, inner, marks), entity, marks))
        at = last
    return "".join([*found, marks.plain(text[at:end])])


def _wrapped(words: str, entity: Entity, marks: Marks) -> str:
    kind = entity["type"]
    if not words.strip():
        return words
    if kind == "blockquote":
        return "\n".join(f"> {line}" for line in words.split("\n"))
    if kind == "text_link":
        return marks.link(entity["url"], words)
    if kind == "pre":
        return f"```\n{words}\n```"
    mark = _AROUND.get(kind, "")
    return "\n".join(_beside(line, mark) for line in words.split("\n"))


def _beside(line: str, mark: str) -> str:
    """Neither takes a mark with a space behind it, nor one that is not closed in its line."""
    bare = line.strip()
    return line.replace(bare, f"{mark}{bare}{mark}", 1) if bare else line


def _slack_link(url: str, words: str) -> str:
    target = slack_escaped(url).replace("|", "%7C")
    if not url.lower().startswith(_LINKS):
        return f"{words} ({target})"
    return f"<{target}>" if words == target else f"<{target}|{words}>"


def _whatsapp_link(url: str, words: str) -> str:
    return url if words == url else f"{words} ({url})"


SLACK = Marks(plain=slack_escaped, link=_slack_link)
WHATSAPP = Marks(plain=str, link=_whatsapp_link)
