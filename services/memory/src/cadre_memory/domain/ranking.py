"""How well what was found matches: one score out of words and meaning."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    """How to search."""

    HYBRID = "hybrid"
    TEXT = "text"
    VECTOR = "vector"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An item that may match: its BM25 (0 and up, 0 without a common word) and its cosine (0 without a vector)."""

    item_id: int
    bm25: float
    cosine: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well one item matches: in all, by words (0 to 1), by meaning (-1 to 1)."""

    item_id: int
    score: float
    text_score: float
    vector_score: float


# A BM25 has no upper bound, so it counts relative to the best one of the answer.
_WEIGHTS = {
    Mode.HYBRID: (0.5, 0.5),
    Mode.TEXT: (1.0, 0.0),
    Mode.VECTOR: (0.0, 1.0),
}


def ranked(candidates: Sequence[Candidate], *, mode: Mode) -> list[Score]:
    """The scores, best first; what matches neither by words nor by meaning is left out."""
    best = max((c.bm25 for c in candidates), default=0.0)
    scores = [_score(c, best=best, mode=mode) for c in candidates]
    return sorted((s for s in scores if s.score > 0), key=lambda s: (-s.score, s.item_id))


def _score(candidate: Candidate, *, best: float, mode: Mode) -> Score:
    text = candidate.bm25 / best if best else 0.0
    cosine = max(-1.0, min(1.0, candidate.cosine))
    for_text, for_vector = _WEIGHTS[mode]
    return Score(
        item_id=candidate.item_id,
        score=for_text * text + for_vector * max(cosine, 0.0),
        text_score=text,
        vector_score=cosine,
    )
