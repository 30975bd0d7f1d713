"""The embedded model for embeddings: wordllama's table of word vectors, of which a text's vector is the mean."""

import asyncio
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from cadre_llm_proxy.domain.calls import EmbedAsk, Embeddings
from cadre_llm_proxy.domain.facts import EmbeddedFailed, OptionUnsupported
from cadre_llm_proxy.domain.prices import Tokens

__all__ = ["DIMENSIONS", "WordVectors"]

DIMENSIONS = 256
_TOKENIZER = Path("tokenizers/l2_supercat_tokenizer_config.json")
_TABLE = Path(f"weights/l2_supercat_{DIMENSIONS}.safetensors")
_TENSOR = "embedding.weight"


@dataclass(frozen=True, kw_only=True)
class _Table:
    tokenizer: Tokenizer
    rows: npt.NDArray[np.float16]


class WordVectors:
    """Embeds in this process. The table is mapped from its file at the first text, in 0.1 s."""

    def __init__(self) -> None:
        self._loading = asyncio.Lock()
        self._table: _Table | None = None

    async def embed(self, ask: EmbedAsk) -> Embeddings:
        """Vectors of length 1, or of zeros for a text without a word. Raises EmbeddedFailed and OptionUnsupported."""
        if ask.dimensions not in (None, DIMENSIONS):
            raise OptionUnsupported(
                f"the embedded model's vectors have {DIMENSIONS} dimensions",
                resolution="Leave dimensions out, or use another model.",
                metadata={"param": "dimensions"},
            )
        async with self._loading:
            if self._table is None:
                self._table = await asyncio.to_thread(_loaded)
        vectors, tokens = await asyncio.to_thread(_embedded, self._table, ask.texts)
        return Embeddings(vectors=vectors, model=ask.target.model, tokens=Tokens(input=tokens))


def _embedded(table: _Table, texts: tuple[str, ...]) -> tuple[tuple[bytes, ...], int]:
    found = [table.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return tuple(_vector(table, ids).tobytes() for ids in found), sum(map(len, found))


def _vector(table: _Table, ids: list[int]) -> npt.NDArray[np.float32]:
    if not ids:
        return np.zeros(DIMENSIONS, dtype="<f4")
    mean = table.rows[ids].mean(axis=0, dtype=np.float32)
    length = float(np.linalg.norm(mean))
    vector: npt.NDArray[np.float32] = (mean / length if length else mean).astype("<f4")
    return vector


def _loaded() -> _Table:
    # Found, not imported: the import takes half a second and 30 MB, and sets up logging.
    found = importlib.util.find_spec("wordllama")
    places = found.submodule_search_locations if found is not None else None
    if not places:
        raise _missing("the package wordllama is not installed")
    folder = Path(places[0])
    try:
        tokenizer = Tokenizer.from_str((folder / _TOKENIZER).read_text(encoding="utf-8"))
        return _Table(tokenizer=tokenizer, rows=_mapped(folder / _TABLE))
    except (OSError, ValueError, KeyError) as exc:
        raise _missing(str(exc)) from exc


def _mapped(file: Path) -> npt.NDArray[np.float16]:
    """The table in a safetensors file: eight bytes of length, a JSON header of that length, the numbers."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        tensor = json.loads(opened.read(size))[_TENSOR]
    if tensor["dtype"] != "F16" or tensor["shape"][1] != DIMENSIONS:
        raise ValueError(f"{file.name} holds {tensor['dtype']} {tensor['shape']}")
    start = 8 + size + tensor["data_offsets"][0]
    return np.memmap(file, dtype="<f2", mode="r", offset=start, shape=tuple(tensor["shape"]))


def _missing(reason: str) -> EmbeddedFailed:
    return EmbeddedFailed(
        f"the embedded embeddings cannot be loaded: {reason}",
        resolution="Install the package wordllama again.",
    )
