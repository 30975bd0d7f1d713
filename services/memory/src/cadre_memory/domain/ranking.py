"""How well what was found matches: one score out of words, meaning, neighbours, sessions, speakers and times."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from enum import Enum

import numpy as np

from cadre_memory.domain.entries import Role, Signs
from cadre_memory.domain.index import Mask, NamespaceIndex, Numbers, Rows, Table
from cadre_memory.domain.stores import Vector
from cadre_memory.domain.texts import asked_in
from cadre_memory.domain.times import Days, asks_when, days_named

CANDIDATES = 200
"""The best so many by words, and by meaning, are looked at; their neighbours too."""

_FIRST_PERSON = re.compile(r"\b(?:i|i'm|i've|my|me|mine|myself)\b", re.IGNORECASE)
_SECOND_PERSON = re.compile(r"\b(?:you|your|yours)\b", re.IGNORECASE)
_SAYING = (
    "tell|told|say|said|mention|mentioned|ask|asked|give|gave|show|showed|send|sent|write|wrote"
)
_WHO_SAID = re.compile(
    rf"\b(i|you)(?:'ve| have| had)?(?: just| already| ever)? (?:{_SAYING})\b", re.IGNORECASE
)
_HOW_MANY = re.compile(r"\bhow (?:many|much|old|long|often|far|big)\b", re.IGNORECASE)
_MICROS_A_DAY = 86_400_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Mode(Enum):
    """How to search."""

    HYBRID = "hybrid"
    TEXT = "text"
    VECTOR = "vector"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each sign of a match counts; what is in no session has no neighbours and is a session of its own."""

    text: float
    vector: float
    text_beside: float
    vector_beside: float
    text_session: float
    vector_session: float
    who: float
    role: float
    when: float
    names_a_time: float
    has_a_number: float
    asks: float


WEIGHTS = Weights(
    text=1.0,
    vector=1.0,
    text_beside=0.2,
    vector_beside=0.15,
    text_session=0.5,
    vector_session=0.15,
    who=0.6,
    role=0.4,
    when=0.5,
    names_a_time=0.1,
    has_a_number=0.05,
    asks=-0.35,
)
"""Fitted by `python -m benchmarks.retrieval --fit` on conversations made for it."""

_MOST = sum(max(getattr(WEIGHTS, each.name), 0.0) for each in fields(Weights))


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to look for: words and their stems, a meaning, or both; as asked on a day."""

    text: str
    terms: tuple[int, ...]
    vector: Vector | None
    mode: Mode
    asked: datetime


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well one item matches: in all, by words (0 to 1), by meaning (-1 to 1)."""

    item_id: int
    score: float
    text_score: float
    vector_score: float


def ranked(index: NamespaceIndex, question: Question, *, there: Mask, limit: int) -> list[Score]:
    """The best of the rows that are there, best first; what matches neither by words nor by meaning is left out."""
    signs = signs_of_matches(index, question, there=there)
    if not len(signs.rows):
        return []
    scores = _scores(signs, question.mode)
    ids = index.rows["item_id"][signs.rows]
    order = np.lexsort((ids, -scores))
    best = order[scores[order] > 0][:limit]
    return [
        Score(
            item_id=int(ids[place]),
            score=float(scores[place]),
            text_score=float(signs.text[place]),
            vector_score=min(max(float(signs.cosines[place]), -1.0), 1.0),
        )
        for place in best
    ]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """What speaks for each candidate: a column of `features` for each of the Weights, in their order."""

    rows: Rows
    text: Numbers
    cosines: Numbers
    features: Numbers


def signs_of_matches(index: NamespaceIndex, question: Question, *, there: Mask) -> Matches:
    """The candidates and all that speaks for and against them."""
    found = index.by_words(question.terms, there)
    texts = _relative(found.texts)
    cosines = _cosines(index, question, there)
    closeness = _closeness(cosines, there)

    def text_at(at: Rows) -> Numbers:
        return np.where(at >= 0, texts[at], np.float32(0))

    def close_at(at: Rows) -> Numbers:
        return np.where(at >= 0, closeness.of(cosines[at]), np.float32(0))

    rows = _candidates(index, question.mode, texts=texts, cosines=cosines, there=there)
    links = index.links
    text, close, session = texts[rows], closeness.of(cosines[rows]), links.session_of[rows]
    columns = [
        text,
        close,
        _beside(index, rows, text_at),
        _beside(index, rows, close_at),
        _of_session(_relative(found.sessions), session, own=text),
        _of_session(closeness.of(links.best_of_sessions(cosines)), session, own=close),
        *_cues(index, question, rows),
    ]
    return Matches(
        rows=rows,
        text=text,
        cosines=cosines[rows],
        features=np.stack(columns, axis=1).astype(np.float32),
    )


def candidate_ids(index: NamespaceIndex, question: Question, *, there: Mask) -> frozenset[int]:
    """The items that would be looked at."""
    texts = index.by_words(question.terms, there).texts
    cosines = _cosines(index, question, there)
    rows = _candidates(index, question.mode, texts=texts, cosines=cosines, there=there)
    return frozenset(int(item_id) for item_id in index.rows["item_id"][rows])


def _cosines(index: NamespaceIndex, question: Question, there: Mask) -> Numbers:
    """How close in meaning each row is; -1 for those that are not there."""
    if question.vector is None:
        return np.where(there, np.float32(0), np.float32(-1))
    cosines = index.cosines(question.vector)
    return cosines if there.all() else np.where(there, cosines, np.float32(-1))


def _scores(matches: Matches, mode: Mode) -> Numbers:
    if mode is Mode.TEXT:
        return matches.text
    if mode is Mode.VECTOR:
        return np.clip(matches.cosines, 0, 1)
    weights = [getattr(WEIGHTS, each.name) for each in fields(Weights)]
    scores: Numbers = np.clip(matches.features @ np.array(weights, np.float32) / _MOST, 0, 1)
    scores[(matches.text <= 0) & (matches.cosines <= 0) & (matches.features[:, 2] <= 0)] = 0
    return scores


def _candidates(
    index: NamespaceIndex, mode: Mode, *, texts: Numbers, cosines: Numbers, there: Mask
) -> Rows:
    best: list[Rows] = []
    if mode is not Mode.VECTOR:
        best.append(_greatest(texts, above=0))
    if mode is not Mode.TEXT:
        best.append(_greatest(cosines, above=-1))
    rows = np.concatenate(best)
    if mode is Mode.HYBRID:
        links = index.links
        if links.sessions:
            rows = np.concatenate((rows, links.before[rows], links.after[rows]))
            rows = rows[rows >= 0]
        rows = rows[there[rows]]
    return np.unique(rows)


def _greatest(values: Numbers, *, above: float) -> Rows:
    rows: Rows = np.flatnonzero(values > above)
    if len(rows) <= CANDIDATES:
        return rows
    best = np.argpartition(values if len(rows) == len(values) else values[rows], -CANDIDATES)
    return rows[best[-CANDIDATES:]]


def _relative(values: Numbers) -> Numbers:
    # A BM25 has no upper bound, so it counts relative to the best one of the answer.
    best = values.max(initial=0)
    return values / best if best > 0 else values


@dataclass(frozen=True, kw_only=True)
class _Closeness:
    """Cosines from 0 for what is as close as anything to 1 for the closest: what all texts share says nothing."""

    best: float
    usual: float

    def of(self, cosines: Numbers) -> Numbers:
        """How close these are among all."""
        if self.best <= 0:
            return np.zeros_like(cosines)
        close = (cosines - np.float32(self.usual)) / np.float32(max(self.best - self.usual, 1e-6))
        clipped: Numbers = np.clip(close, 0, 1)
        return clipped


def _closeness(cosines: Numbers, there: Mask) -> _Closeness:
    if not there.any():
        return _Closeness(best=0, usual=0)
    best = float(cosines.max())
    mean = float((cosines if there.all() else cosines[there]).mean())
    return _Closeness(best=best, usual=min(mean, best / 2))


def _beside(index: NamespaceIndex, rows: Rows, values_at: Callable[[Rows], Numbers]) -> Numbers:
    """The best value of the neighbours: in full for the next ones, by half for those after them."""
    links = index.links
    if not links.sessions:
        return np.zeros(len(rows), np.float32)
    before, after = links.before[rows], links.after[rows]
    near = np.maximum(values_at(before), values_at(after))
    far = np.maximum(values_at(links.before[before]), values_at(links.after[after]))
    return np.maximum(near, far / 2)


def _of_session(values: Numbers, session: Rows, *, own: Numbers) -> Numbers:
    return np.where(session >= 0, np.append(values, np.float32(0))[session], own)


def _cues(index: NamespaceIndex, question: Question, rows: Rows) -> Sequence[Numbers]:
    about = index.rows[rows]
    named = index.speakers_named(question.terms)
    signs = about["signs"]
    names_a_time = (signs & Signs.TIME) > 0
    has_a_number = (signs & Signs.NUMBER) > 0
    return (
        _said_by(named[named > 0], about["speaker"]),
        _role_fits(question.text, about["role"]),
        _when_fits(question, about),
        names_a_time.astype(np.float32) * asks_when(question.text),
        has_a_number.astype(np.float32) * bool(_HOW_MANY.search(question.text)),
        ((signs & Signs.QUESTION) > 0).astype(np.float32),
    )


def _said_by(named: Rows, speakers: Numbers) -> Numbers:
    if not len(named):
        return np.zeros(len(speakers), np.float32)
    return np.isin(speakers, named).astype(np.float32)


def _role_fits(text: str, roles: Numbers) -> Numbers:
    role = role_asked_for(text)
    if role is None:
        return np.zeros(len(roles), np.float32)
    return np.equal(roles, role).astype(np.float32)


def role_asked_for(question: str) -> Role | None:
    """Whose words answer a question that a user asks an assistant; None when it does not tell."""
    asked = asked_in(question)
    said = _WHO_SAID.search(asked)
    if said:
        return Role.USER if said[1].lower() == "i" else Role.ASSISTANT
    if _SECOND_PERSON.search(asked):
        return Role.ASSISTANT
    return Role.USER if _FIRST_PERSON.search(asked) else None


def _when_fits(question: Question, about: Table) -> Numbers:
    """Whether something was said at, or is about, a time that the question names."""
    fits = np.zeros(len(about), np.float32)
    for days in days_named(question.text, today=question.asked.astimezone(UTC).date()):
        fits = np.maximum(fits, _within(days, about))
    return fits


def _within(days: Days, about: Table) -> Numbers:
    said = about["said"] // _MICROS_A_DAY + _EPOCH_DAY
    first, last = days.first.toordinal(), days.last.toordinal()
    if days.month:
        same_month = [date.fromordinal(int(day)).month == days.month for day in said]
        return np.array(same_month, np.float32)
    about_then = (
        (about["first_day"] > 0) & (about["first_day"] <= last) & (about["last_day"] >= first)
    )
    fits: Mask = ((said >= first) & (said <= last)) | about_then
    return fits.astype(np.float32)
