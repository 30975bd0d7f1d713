"""Long texts in pieces that a chat takes."""

from collections.abc import Callable

__all__ = ["pieces"]

# Where a text is parted, the best first.
_SEAMS = ("\n\n", "\n", ". ", " ")


def pieces(text: str, limit: int, *, length: Callable[[str], int] = len) -> list[str]:
    """The text in pieces of at most `limit`, as `length` counts, parted between paragraphs, lines, sentences or words
    where that is possible; characters are lost only where white space is parted at. None for a blank text."""
    found = []
    rest = text.strip()
    while rest:
        end = _end(rest, limit, length)
        found.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return found


def _end(text: str, limit: int, length: Callable[[str], int]) -> int:
    """How many characters the first piece has."""
    if length(text) <= limit:
        return len(text)
    longest = min(len(text), limit)
    while length(text[:longest]) > limit:
        longest -= 1
    for seam in _SEAMS:
        # A piece less than half full would make many.
        at = text.rfind(seam, longest // 2, longest)
        if at > 0:
            return at + len(seam)
    return longest
