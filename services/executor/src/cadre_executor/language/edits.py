"""Finds places in a file's text, and the change to it that mends a problem, where there is no doubt which one it is."""

import re
from bisect import bisect_right

from cadre_executor.language.positions import LINE_END, Inner, Position
from cadre_kit.errors import TextEdit

_MAX_QUOTED = 200


class Editor:
    """Finds changes in one text."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts = [0, *(match.end() for match in LINE_END.finditer(source))]

    def replacing(self, old: str, new: str, place: Position) -> TextEdit | None:
        """Puts `new` for `old` within a place. A word must stand there once, other text is replaced where it stands
        first; where it does not, there is no change."""
        start, end = self._span(place)
        text = self._source[start:end]
        is_word = old[:1].isalnum() or old[:1] == "_"
        pattern = rf"(?<!\w){re.escape(old)}(?!\w)" if is_word else re.escape(old)
        found = list(re.finditer(pattern, text))
        if not found or (is_word and len(found) > 1):
            return None
        if text.startswith("'"):
            new = new.replace("'", '"')
        return self._edit(start + found[0].start(), start + found[0].end(), new)

    def inside(self, place: Position, inner: Inner) -> Position:
        """Where a part of a literal block stands, or of a text on one line without escapes; of others, the value."""
        start, _ = self._span(place)
        is_block = self._source.startswith("|", start)
        line = place.line + inner.line if is_block else place.line
        if (not is_block and inner.line > 1) or line > len(self._starts):
            return place
        begins = self._starts[line - 1] if is_block else start
        ends = self._starts[line] if line < len(self._starts) else len(self._source)
        found = self._source.find(inner.text, begins, ends)
        return place if found < 0 else Position(*self._place(found + inner.column - 1))

    def quoting(self, place: Position) -> TextEdit | None:
        """Puts a value on one line in quotes; one that has quotes or backslashes in it is left to its author."""
        start, end = self._span(place)
        text = self._source[start:end]
        if not text or len(text) > _MAX_QUOTED or re.search(r"[\"'\\\n\r*&#]", text):
            return None
        return self._edit(start, end, f'"{text}"')

    def _span(self, place: Position) -> tuple[int, int]:
        return self._index(place.line, place.column), self._index(place.end_line, place.end_column)

    def _index(self, line: int, column: int) -> int:
        if not 0 < line <= len(self._starts):
            return len(self._source) if line > 0 else 0
        return self._starts[line - 1] + column - 1

    def _edit(self, start: int, end: int, text: str) -> TextEdit:
        line, column = self._place(start)
        end_line, end_column = self._place(end)
        return TextEdit(
            line=line, column=column, end_line=end_line, end_column=end_column, text=text
        )

    def _place(self, index: int) -> tuple[int, int]:
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1
