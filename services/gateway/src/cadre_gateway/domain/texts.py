"""Long texts in pieces that a chat takes."""

from collections.abc import Callable, Iterator

__all__ = ["parts", "pieces", "utf16_length"]

# Where a text is parted, the best first.
_SEAMS = ("\n\n", "\n", ". ", " ")


def pieces(text: str, limit: int, *, length: Callable[[str], int] = len) -> list[str]:
    """The text in pieces of at most `limit`, as `length` counts, parted between paragraphs, lines, sentences or words
    where that is possible; characters are lost only where white space is parted at. None for a blank text."""
    return [text[start:end] for start, end in parts(text, limit, length=length)]


def parts(
    text: str, limit: int, *, length: Callable[[str], int] = len
) -> Iterator[tuple[int, int]]:
    """Where each of the pieces begins and ends."""
    start = _after_space(text, 0)
    while start < len(text):
        end = start + _end(text[start : start + limit + 1], limit, length)
        yield start, start + len(text[start:end].rstrip())
        start = _after_space(text, end)


def utf16_length(text: str) -> int:
    """In UTF-16 code units, as JavaScript, Java and Telegram count; lone surrogates are one each."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _after_space(text: str, start: int) -> int:
    return len(text) - len(text[start:].lstrip())


def _end(text: str, limit: int, length: Callable[[str], int]) -> int:
    """How many characters the first piece has."""
    if length(text) <= limit:
        return len(text)
    longest = _most(text, limit, length)
    for seam in _SEAMS:
        # A piece less than half full would make many.
        at = text.rfind(seam, longest // 2, longest)
        if at > 0:
            return at + len(seam)
    return longest


def _most(text: str, limit: int, length: Callable[[str], int]) -> int:
    """How many characters are within the limit; at least one, so that it ends."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if length(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
