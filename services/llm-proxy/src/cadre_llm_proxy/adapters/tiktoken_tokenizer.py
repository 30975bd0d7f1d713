"""The public tokenizer of OpenAI's models, from the copy that litellm carries: nothing is fetched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["TiktokenTokenizer"]

_ENCODING = "o200k_base"
# A long text without a break takes time by the square of its length.
_PIECE_CHARACTERS = 2000
_AT_ONCE_CHARACTERS = 20_000


class TiktokenTokenizer:
    """Loaded in a thread, which takes half a second: `begin` it before its first use. Long texts are counted off the
    event loop."""

    def __init__(self) -> None:
        self._loading: asyncio.Task[Encoding] | None = None

    def begin(self) -> asyncio.Task[Encoding]:
        """Starts loading, if it has not begun."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_loaded))
        return self._loading

    async def count(self, texts: Sequence[str]) -> int:
        """How many tokens the texts have together."""
        loading = self.begin()
        encoding = loading.result() if loading.done() else await asyncio.shield(loading)
        if sum(map(len, texts)) <= _AT_ONCE_CHARACTERS:
            return _counted(encoding, texts)
        return await asyncio.to_thread(_counted, encoding, texts)

    def likely(self, text: str) -> int:
        """About how many tokens a text has, at once: the rest of a long one is taken to be like its beginning. Only
        after a `count`."""
        beginning = text[:_AT_ONCE_CHARACTERS]
        counted = _counted(self.begin().result(), [beginning])
        return -(-counted * len(text) // max(1, len(beginning)))


def _loaded() -> Encoding:
    litellm = find_spec("litellm")
    assert litellm is not None
    assert litellm.origin is not None, "litellm is a package of files"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(
        Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
    )
    import tiktoken

    return tiktoken.get_encoding(_ENCODING)


def _counted(encoding: Encoding, texts: Sequence[str]) -> int:
    return sum(len(encoding.encode_ordinary(piece)) for text in texts for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE_CHARACTERS):
        # Half a surrogate pair has no bytes; it counts as the character that stands for what is missing.
        yield text[start : start + _PIECE_CHARACTERS].encode(errors="replace").decode()
