"""The meaning of texts by wordllama's table of word vectors."""

import asyncio
import importlib.util
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from cadre_kit.errors import Internal
from cadre_memory.domain.stores import Vector, stored_vectors
from cadre_memory.domain.texts import at_once_if_short
from cadre_memory.domain.words import OfWords

DIMENSIONS = 256
_WORDS_KEPT = 4_096

# The tokenizer writes spaces so. None of its tokens goes on beyond a space that follows something else, nor a line.
_SPACE = "\u2581"
_WORD = re.compile(f"\n|{_SPACE}*[^{_SPACE}\n]+|{_SPACE}+")
# What it takes out of a text before anything else.
_MARK = re.compile("</?s>|<unk>")

_TOKENIZER = Path("tokenizers/l2_supercat_tokenizer_config.json")
_TABLE = Path(f"weights/l2_supercat_{DIMENSIONS}.safetensors")
_TENSOR = "embedding.weight"


class EmbeddingsMissing(Internal):
    """The files of the package wordllama are not there, or not what they were."""

    code = "EMBEDDINGS_MISSING"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the embeddings cannot be loaded: {reason}",
            resolution="Install the package wordllama again.",
        )


class WordVectors:
    """The sums of the vectors of a text's tokens. Those of words that came lately are kept, in some 10 MB: texts say
    the same few thousand words again and again, and finding the tokens of one takes longer than all else."""

    def __init__(self, *, tokenizer: Tokenizer, table: npt.NDArray[np.float16]) -> None:
        self._tokenizer = tokenizer
        self._table = table
        self._kept = OfWords(self._of_word, size=_WORDS_KEPT)

    def totals(self, texts: Sequence[str]) -> Vector:
        """The sums over texts, a row each."""
        totals = np.empty((len(texts), DIMENSIONS), np.float32)
        for row, text in enumerate(texts):
            totals[row] = self.total(text)
        return totals

    def total(self, text: str) -> Vector:
        """The sum over a text, all zeros where it has no token."""
        if not text or _MARK.search(text):
            return self._sum(self._tokenizer.encode(text, add_special_tokens=False).ids)
        words = _WORD.findall(_SPACE + text.replace(" ", _SPACE))
        sums = [self._kept[word] for word in words]
        return _added(np.frombuffer(b"".join(sums), np.float32).reshape(-1, DIMENSIONS))

    def _of_word(self, word: str) -> bytes:
        return self._sum([token.id for token in self._tokenizer.model.tokenize(word)]).tobytes()

    def _sum(self, tokens: Sequence[int]) -> Vector:
        return _added(self._table.take(tokens, axis=0).astype(np.float32))


def _added(vectors: Vector) -> Vector:
    total: Vector = np.add.reduce(vectors)
    return total


class WordLlamaEmbedder:
    """An Embedder: the mean of a text's word vectors, which are read from the file as texts need them.

    The package's own code takes four times the memory, and time by the longest text of a batch; its vectors are the
    same. Loads at the first text, in 0.1 s; `load` does it before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: WordVectors | None = None

    @property
    def model(self) -> str:
        """As Embedder says; the number counts the ways in which texts were understood."""
        return "wordllama-l2-supercat-256/2"

    costs = False

    def load(self) -> None:
        """Makes the first text as fast as any. Raises EmbeddingsMissing."""
        self._loaded()

    def vector(self, text: str) -> Vector | None:
        """The meaning of a text. Raises EmbeddingsMissing."""
        # The sum points where the mean does.
        total = self._loaded().total(text)
        length = np.sqrt(np.dot(total, total))
        return total / length if length else None

    def embed(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        """As Embedder says; of many texts at once, what `vector` says of each. Raises EmbeddingsMissing."""
        totals = self._loaded().totals(texts)
        lengths = np.sqrt(np.vecdot(totals, totals))[:, np.newaxis]
        vectors = np.divide(totals, lengths, out=totals, where=lengths > 0)
        stored = stored_vectors(vectors)
        return [each if length else None for each, length in zip(stored, lengths.flat, strict=True)]

    async def understand(self, texts: Sequence[str]) -> Sequence[bytes | None]:
        """As Embedder says."""
        return await asyncio.to_thread(self.embed, texts)

    async def question(self, text: str, words: Sequence[str]) -> Vector | None:
        """As Embedder says."""
        # Words that say nothing would draw the meaning of every question to the same place.
        said = " ".join(words) or text
        return await at_once_if_short(lambda: self.vector(said), texts=[said])

    def _loaded(self) -> WordVectors:
        with self._lock:
            if self._words is None:
                self._words = loaded_from(_package_folder())
            return self._words


def _package_folder() -> Path:
    # Found, not imported: the import takes half a second and 30 MB, and sets up logging.
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise EmbeddingsMissing("the package wordllama is not installed")
    return Path(found.submodule_search_locations[0])


def loaded_from(folder: Path) -> WordVectors:
    """The word vectors in a folder of the package. Raises EmbeddingsMissing."""
    try:
        tokenizer = Tokenizer.from_str((folder / _TOKENIZER).read_text(encoding="utf-8"))
        return WordVectors(tokenizer=tokenizer, table=_mapped(folder / _TABLE))
    except (OSError, ValueError, KeyError) as exc:
        raise EmbeddingsMissing(str(exc)) from exc


def _mapped(file: Path) -> npt.NDArray[np.float16]:
    """The table in a safetensors file: eight bytes of length, a JSON header of that length, the numbers."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        tensor = json.loads(opened.read(size))[_TENSOR]
    if tensor["dtype"] != "F16" or tensor["shape"][1] != DIMENSIONS:
        raise ValueError(f"{file.name} holds {tensor['dtype']} {tensor['shape']}")
    start = 8 + size + tensor["data_offsets"][0]
    mapped = np.memmap(file, dtype="<f2", mode="r", offset=start, shape=tuple(tensor["shape"]))
    # The same memory, without what a memmap does beside at each access.
    return np.asarray(mapped)
