"""The meaning of texts by wordllama's table of word vectors."""

import asyncio
import importlib.util
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from cadre_kit.errors import Internal
from cadre_memory.domain.stores import Vector

DIMENSIONS = 256
_SHORT = 1_000

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


@dataclass(frozen=True, kw_only=True)
class _Model:
    tokenizer: Tokenizer
    table: npt.NDArray[np.float16]


class WordLlamaEmbedder:
    """An Embedder: the mean of a text's word vectors, which are read from the file as texts need them.

    The package's own code takes four times the memory, and time by the longest text of a batch; its vectors are the
    same. Loads at the first text, in 0.1 s; `load` does it before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: _Model | None = None

    @property
    def model(self) -> str:
        """As Embedder says; the number counts the ways in which texts were understood."""
        return "wordllama-l2-supercat-256/2"

    costs = False

    def load(self) -> None:
        """Makes the first text as fast as any. Raises EmbeddingsMissing."""
        self._loaded()

    def embed(self, text: str) -> Vector | None:
        """As Embedder says. Raises EmbeddingsMissing."""
        model = self._loaded()
        tokens = model.tokenizer.encode(text, add_special_tokens=False).ids
        if not tokens:
            return None
        # The sum points where the mean does.
        total: Vector = np.add.reduce(model.table.take(tokens, axis=0).astype(np.float32))
        length = np.sqrt(np.dot(total, total))
        return total / length if length else None

    async def understand(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """As Embedder says."""
        return await asyncio.to_thread(lambda: [self.embed(text) for text in texts])

    async def question(self, text: str, words: Sequence[str]) -> Vector | None:
        """As Embedder says."""
        # Words that say nothing would draw the meaning of every question to the same place.
        said = " ".join(words) or text
        # What is short is understood sooner than another thread has begun to.
        return self.embed(said) if len(said) < _SHORT else await asyncio.to_thread(self.embed, said)

    def _loaded(self) -> _Model:
        with self._lock:
            if self._model is None:
                self._model = loaded_from(_package_folder())
            return self._model


def _package_folder() -> Path:
    # Found, not imported: the import takes half a second and 30 MB, and sets up logging.
    found = importlib.util.find_spec("wordllama")
    if found is None or not found.submodule_search_locations:
        raise EmbeddingsMissing("the package wordllama is not installed")
    return Path(found.submodule_search_locations[0])


def loaded_from(folder: Path) -> "_Model":
    """The model in a folder of the package. Raises EmbeddingsMissing."""
    try:
        tokenizer = Tokenizer.from_str((folder / _TOKENIZER).read_text(encoding="utf-8"))
        return _Model(tokenizer=tokenizer, table=_mapped(folder / _TABLE))
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
