"""The embedder, held to the vectors of the package whose table it reads."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cadre_memory.adapters.wordllama import EmbeddingsMissing, WordLlamaEmbedder, loaded_from


@pytest.fixture
def package() -> Iterator[Any]:
    level = logging.getLogger().level
    import wordllama

    folder = Path(wordllama.__file__).parent
    yield wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        "Ada moved to Berlin",
        "grüße 東京 🙂",
        "long " * 3_000,
        "unbroken" * 500,
        " two  spaces,\n\n a line\tand\u2581a mark ",
        "between <s> and </s><unk>",
    ],
)
def test_vectors_are_those_of_the_package(
    package: Any, embedder: WordLlamaEmbedder, text: str
) -> None:
    theirs = package.embed(text, norm=True)[0]
    ours = embedder.vector(text)

    assert ours is not None
    assert float(np.linalg.norm(ours)) == pytest.approx(1.0, abs=1e-5)
    assert float(ours @ theirs) > 0.9999


def test_an_empty_text_means_nothing(embedder: WordLlamaEmbedder) -> None:
    assert embedder.vector("") is None
    assert embedder.embed(["", "word", ""])[::2] == [None, None]


def test_missing_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingsMissing) as caught:
        loaded_from(tmp_path)

    assert "install" in caught.value.resolution.lower()
