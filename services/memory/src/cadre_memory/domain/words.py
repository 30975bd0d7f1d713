"""What is made of words again and again, kept for those that came lately."""

from collections.abc import Callable

_LONGEST_KEPT = 40


class OfWords(dict[str, bytes]):
    """By word what `make` makes of it, which is never empty. What came last is kept, for `size` to twice as many words;
    an lru_cache, which keeps their order, takes three times as long to find one. Words of more than 40 characters are
    made each time. Any thread may ask."""

    def __init__(self, make: Callable[[str], bytes], *, size: int) -> None:
        super().__init__()
        self._make = make
        self._size = size
        self._older: dict[str, bytes] = {}

    def __missing__(self, word: str) -> bytes:
        made = self._older.get(word) or self._make(word)
        if len(word) <= _LONGEST_KEPT:
            if len(self) >= self._size:
                self._older = dict(self)
                self.clear()
            self[word] = made
        return made
