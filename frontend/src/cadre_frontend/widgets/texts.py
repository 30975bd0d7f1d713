"""Other people's text on our pages: shown as it is, never read as Markdown, which could draw or fetch things."""

import re

__all__ = ["plain"]

_SYNTAX = re.compile(r"([\\`*_{}\[\]()<>#+\-!|$~:.&])")


def plain(text: str) -> str:
    """`text` for a place that takes Markdown."""
    return _SYNTAX.sub(r"\\\1", text)
