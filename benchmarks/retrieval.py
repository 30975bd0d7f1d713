"""Retrieval from conversations: the default search against words alone, meaning alone, BM25 and RRF."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import bm25s
import numpy as np
import numpy.typing as npt
from benchmarks._conversations import KINDS, Chat, Query, assistant_chat, people_chat

from cadre_memory.adapters.wordllama import WordLlamaEmbedder
from cadre_memory.domain.entries import Role
from cadre_memory.domain.index import Mask, NamespaceIndex
from cadre_memory.domain.messages import Message, drafts_after, understood
from cadre_memory.domain.ranking import Mode, Question, Weights, ranked, signs_of_matches
from cadre_memory.domain.texts import terms_of, words_of

CHATS = 6
_RRF = 60


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A chat in an index; its turns are the items from 0 on."""

    chat: Chat
    index: NamespaceIndex
    there: Mask
    bm25: bm25s.BM25


def main() -> None:
    """Prints two tables; with --fit, fits the weights on the first half of the kinds and prints them too."""
    embedder = WordLlamaEmbedder()
    if "--fit" in sys.argv:
        _fit(embedder)
    for title, make in (("people", people_chat), ("assistant", assistant_chat)):
        chats = [_loaded(make(100 + seed, KINDS), embedder) for seed in range(CHATS)]
        _print_table(title, chats, embedder)


def _loaded(chat: Chat, embedder: WordLlamaEmbedder) -> Loaded:
    messages = [
        Message(
            role=Role[turn.role.upper()],
            name=turn.name,
            text=turn.text,
            time=turn.time,
            session=str(turn.session),
            metadata="{}",
        )
        for turn in chat.turns
    ]
    said = understood(messages, embedder=embedder)
    drafts = drafts_after(None, said, namespace=("chat",))
    index = NamespaceIndex()
    index.replace([], [draft.entry._replace(item_id=n) for n, draft in enumerate(drafts)])
    bm25 = bm25s.BM25()
    corpus = [f"{turn.name}: {turn.text}" for turn in chat.turns]
    bm25.index(bm25s.tokenize(corpus, stopwords="en", show_progress=False), show_progress=False)
    return Loaded(chat=chat, index=index, there=index.there(now=0), bm25=bm25)


def _question(query: Query, embedder: WordLlamaEmbedder, mode: Mode) -> Question:
    return Question(
        text=query.text,
        terms=terms_of(query.text),
        vector=embedder.vector(" ".join(words_of(query.text)) or query.text),
        mode=mode,
        asked=query.asked,
    )


def _print_table(title: str, chats: Sequence[Loaded], embedder: WordLlamaEmbedder) -> None:
    turns = sum(len(loaded.chat.turns) for loaded in chats)
    asked = sum(len(loaded.chat.queries) for loaded in chats)
    print(
        f"retrieval, {title}: {turns:,} turns, {asked:,} questions   recall@5  recall@10    MRR   ms"
    )
    for name, find in _ways(embedder).items():
        recalls, took = [], 0.0
        for loaded in chats:
            for query in loaded.chat.queries:
                started = time.perf_counter()
                found = find(loaded, query)
                took += time.perf_counter() - started
                recalls.append(_measured(found, query.evidence))
        five, ten, mrr = np.mean(recalls, axis=0)
        print(f"  {name:48} {five:8.1%} {ten:9.1%} {mrr:8.3f} {took / asked * 1000:5.2f}")


def _ways(
    embedder: WordLlamaEmbedder,
) -> dict[str, Callable[[Loaded, Query], list[int]]]:
    def by(mode: Mode, limit: int = 10) -> Callable[[Loaded, Query], list[int]]:
        def find(loaded: Loaded, query: Query) -> list[int]:
            question = _question(query, embedder, mode)
            hits = ranked(loaded.index, question, there=loaded.there, limit=limit)
            return [hit.item_id for hit in hits]

        return find

    def fused(loaded: Loaded, query: Query) -> list[int]:
        scores: dict[int, float] = {}
        for mode in (Mode.TEXT, Mode.VECTOR):
            for rank, item_id in enumerate(by(mode, 100)(loaded, query), 1):
                scores[item_id] = scores.get(item_id, 0.0) + 1 / (_RRF + rank)
        return sorted(scores, key=lambda item_id: -scores[item_id])[:10]

    return {
        "hybrid (the default)": by(Mode.HYBRID),
        "full text alone": by(Mode.TEXT),
        "vectors alone": by(Mode.VECTOR),
        "bm25s": _by_bm25s,
        "reciprocal rank fusion of text and vectors": fused,
    }


def _by_bm25s(loaded: Loaded, query: Query) -> list[int]:
    tokens = bm25s.tokenize(query.text, stopwords="en", show_progress=False)
    found, _ = loaded.bm25.retrieve(tokens, k=10, show_progress=False)
    return [int(place) for place in found[0]]


def _measured(found: Sequence[int], evidence: frozenset[int]) -> tuple[float, float, float]:
    first = next((rank for rank, place in enumerate(found, 1) if place in evidence), 0)
    five, ten = (len(evidence & set(found[:k])) / len(evidence) for k in (5, 10))
    return five, ten, 1 / first if first else 0.0


def _fit(embedder: WordLlamaEmbedder) -> None:
    """Softmax regression: the evidence against the other candidates of its question."""
    samples = []
    for seed in range(CHATS * 2):
        make = people_chat if seed % 2 else assistant_chat
        loaded = _loaded(make(seed, KINDS[::2]), embedder)
        for query in loaded.chat.queries:
            matches = signs_of_matches(
                loaded.index, _question(query, embedder, Mode.HYBRID), there=loaded.there
            )
            right = np.isin(loaded.index.rows["item_id"][matches.rows], list(query.evidence))
            if right.any() and not right.all():
                samples.append((matches.features, right))
    weights = _descended(samples)
    for field, weight in zip(fields(Weights), weights * 2 / (weights[0] + weights[1]), strict=True):
        print(f"    {field.name}={weight:.2f},")


def _descended(
    samples: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]],
) -> npt.NDArray[np.float64]:
    weights = np.ones(len(fields(Weights)))
    for step in range(400):
        slope = 0.02 * weights
        for features, right in samples:
            odds = np.exp(features @ weights - (features @ weights).max())
            chances = odds / odds.sum()
            aim = odds * right / (odds * right).sum()
            slope += (chances - aim) @ features / len(samples)
        weights -= slope * 3 / (1 + step / 100)
    return weights


if __name__ == "__main__":
    main()
