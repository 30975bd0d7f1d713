"""The entries of a namespace in memory: which of them match a question, by what, and who stands beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cadre_memory.domain.entries import Entry
from cadre_memory.domain.stores import Vector
from cadre_memory.domain.texts import TERM, terms_of

NEVER = np.iinfo(np.int64).max
_ROW = np.dtype(
    [
        ("item_id", "<i8"),
        ("expires", "<i8"),
        ("said", "<i8"),
        ("thread", "<i8"),
        ("position", "<i8"),
        ("first_day", "<i4"),
        ("last_day", "<i4"),
        ("speaker", "<i4"),
        ("role", "u1"),
        ("signs", "u1"),
        ("meant", "?"),
        ("there", "?"),
    ]
)
USUAL_WIDTH = 256
"""How many numbers a vector has, as long as none was seen: as many as the embedded model's."""


def bytes_a_row(width: int) -> int:
    """Memory of one entry: its row, its vector of so many numbers, and some twenty terms."""
    return _ROW.itemsize + 4 + width * 4 + 120


# BM25's: how soon repeating a word stops to count, and how much a long text has to say it more often.
_SATURATION = 1.2
_LENGTH_SHARE = 0.6
_FEWEST_LOOSE = 4_096

Rows = npt.NDArray[np.intp]
Numbers = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Table = npt.NDArray[np.void]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What matches by words: the BM25 of every row, and of every session as one text."""

    texts: Numbers
    sessions: Numbers


@dataclass(kw_only=True)
class _Postings:
    """Which rows have which term: sorted by term up to `rows`, in the order they came for those after it."""

    rows: int
    terms: npt.NDArray[np.uint32]
    at: npt.NDArray[np.int32]
    halves: npt.NDArray[np.uint8]


class NamespaceIndex:
    """Entries, one a row. A row that was removed stays until the index is packed.

    The first vector says how wide all are; what has another one is found by its words.
    """

    def __init__(self) -> None:
        self.width = 0
        self._count = 0
        self._removed = 0
        self._rows = np.zeros(0, _ROW)
        # Apart from the rows, since every search reads all of them.
        self._lengths = np.zeros(0, np.float32)
        self._vectors = np.zeros((0, 0), np.float32)
        self._sorted = _no_postings()
        self._loose = _no_postings()
        self._speakers: dict[str, int] = {"": 0}
        self._speaker_terms: list[frozenset[int]] = [frozenset()]
        self._row_of: dict[int, int] = {}
        self._links: _Links | None = None
        self._present: _Present | None = None

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def bytes_held(self) -> int:
        """Memory that it takes, room to grow included."""
        return len(self._rows) * bytes_a_row(self.width)

    @property
    def rows(self) -> Table:
        """What is known of each row beside its terms and its vector."""
        return self._rows[: self._count]

    @property
    def links(self) -> "_Links":
        """Who stands beside whom."""
        if self._links is None:
            self._links = _linked(self.rows)
        return self._links

    def replace(self, removed: Iterable[int], added: Sequence[Entry]) -> None:
        """Takes entries out and others in; those put in take the place of what has their id."""
        for item_id in (*removed, *(entry.item_id for entry in added)):
            row = self._row_of.pop(item_id, None)
            if row is not None:
                self._rows["there"][row] = False
                self._removed += 1
        if added:
            self._add(added)
        self._links = self._present = None
        if self._removed > _FEWEST_LOOSE and self._removed > len(self):
            self._pack()
        self._sort_if_loose()

    def there(self, *, now: int) -> Mask:
        """The rows that are there at a time. Not to be changed."""
        if self._present is None:
            self._present = _present(self.rows)
        present = self._present
        if now < present.first_expiry:
            return present.rows
        mask: Mask = present.rows & (self.rows["expires"] > now)
        return mask

    def cosines(self, vector: Vector) -> Numbers:
        """How close in meaning each row is; 0 for those that mean nothing."""
        if len(vector) != self.width:
            return np.zeros(self._count, np.float32)
        # Not `@`: its two threads wait for each other longer than one takes, where anything else is at work.
        cosines: Numbers = np.vecdot(self._vectors[: self._count], vector)
        return cosines

    def by_words(self, terms: Sequence[int], there: Mask) -> Found:
        """The BM25 of each row and of each session, by how rare the terms are among those that are there."""
        texts = np.zeros(self._count, np.float32)
        sessions = np.zeros(self.links.sessions, np.float32)
        whole = int(np.count_nonzero(there))
        all_there, lengths = whole == self._count, self._lengths[: self._count]
        usual = max(float((lengths if all_there else lengths[there]).mean()), 1.0) if whole else 1.0
        for term in terms:
            rows, halves = self._posted(term)
            if not all_there:
                kept = there[rows]
                rows, halves = rows[kept], halves[kept]
            if not len(rows):
                continue
            often = halves / np.float32(2)
            long = (1 - _LENGTH_SHARE) + (_LENGTH_SHARE / usual) * lengths[rows]
            texts[rows] += _rarity(len(rows), whole) * often / (often + _SATURATION * long)
            self._add_sessions(sessions, rows)
        return Found(texts=texts, sessions=sessions)

    def _add_sessions(self, sessions: Numbers, rows: Rows) -> None:
        numbers = self.links.session_of[rows]
        in_sessions = numbers[numbers >= 0]
        if len(in_sessions):
            often = np.bincount(in_sessions, minlength=self.links.sessions).astype(np.float32)
            rare = _rarity(int(np.count_nonzero(often)), self.links.sessions)
            sessions += rare * often / (often + 2 * _SATURATION)

    def speakers_named(self, terms: Iterable[int]) -> Rows:
        """The numbers of the speakers whose names the terms have."""
        asked = frozenset(terms)
        return np.array([n for n, own in enumerate(self._speaker_terms) if own & asked], np.intp)

    def rows_with(self, ids: Iterable[int]) -> Mask:
        """The rows of items."""
        mask = np.zeros(self._count, np.bool_)
        mask[[self._row_of[item_id] for item_id in ids if item_id in self._row_of]] = True
        return mask

    def _posted(self, term: int) -> tuple[Rows, npt.NDArray[np.uint8]]:
        tidy = self._sorted
        # A number of another type would have numpy convert all terms.
        wanted = np.uint32(term)
        first = np.searchsorted(tidy.terms, wanted, side="left")
        last = np.searchsorted(tidy.terms, wanted, side="right")
        loose = np.flatnonzero(self._loose.terms == wanted)
        at = np.concatenate((tidy.at[first:last], self._loose.at[loose])).astype(np.intp)
        return at, np.concatenate((tidy.halves[first:last], self._loose.halves[loose]))

    def _add(self, entries: Sequence[Entry]) -> None:
        first, last = self._count, self._count + len(entries)
        if not self.width:
            self._widen(next((len(e.embedding) // 2 for e in entries if e.embedding), 0))
        if last > len(self._rows):
            self._grow(last)
        rows = self._rows[first:last]
        rows[:] = [self._row(entry) for entry in entries]
        self._lengths[first:last] = [len(entry.terms) // TERM.itemsize for entry in entries]
        self._count = last
        for number, entry in enumerate(entries, first):
            self._row_of[entry.item_id] = number
        self._add_vectors(first, entries)
        self._add_terms(first, entries)

    def _row(self, entry: Entry) -> tuple[object, ...]:
        return (
            entry.item_id,
            NEVER if entry.expires is None else entry.expires,
            entry.said,
            entry.thread,
            entry.position,
            entry.first_day,
            entry.last_day,
            self._speaker(entry.speaker),
            entry.role,
            entry.signs,
            entry.embedding is not None and len(entry.embedding) == self.width * 2,
            True,
        )

    def _speaker(self, name: str) -> int:
        if name not in self._speakers:
            self._speakers[name] = len(self._speaker_terms)
            self._speaker_terms.append(frozenset(terms_of(name)))
        return self._speakers[name]

    def _add_vectors(self, first: int, entries: Sequence[Entry]) -> None:
        meant = [
            (n, entry.embedding)
            for n, entry in enumerate(entries, first)
            if entry.embedding is not None and self._rows["meant"][n]
        ]
        if meant:
            joined = np.frombuffer(b"".join(each for _, each in meant), "<f2")
            self._vectors[[n for n, _ in meant]] = joined.reshape(-1, self.width)

    def _add_terms(self, first: int, entries: Sequence[Entry]) -> None:
        records = np.frombuffer(b"".join(entry.terms for entry in entries), TERM)
        lengths = [len(entry.terms) // TERM.itemsize for entry in entries]
        at = np.repeat(np.arange(first, first + len(entries), dtype=np.int32), lengths)
        self._loose = _Postings(
            rows=self._loose.rows + len(entries),
            terms=np.concatenate((self._loose.terms, records["term"])),
            at=np.concatenate((self._loose.at, at)),
            halves=np.concatenate((self._loose.halves, records["halves"])),
        )

    def _sort_if_loose(self) -> None:
        if self._loose.rows <= max(_FEWEST_LOOSE, self._sorted.rows // 4):
            return
        joined = _joined(self._sorted, self._loose)
        order = np.argsort(joined.terms, kind="stable")
        self._sorted = _taken(joined, order)
        self._loose = _no_postings()

    def _widen(self, width: int) -> None:
        self.width = width
        self._vectors = np.zeros((len(self._rows), width), np.float32)

    def _grow(self, room: int) -> None:
        room = max(room, len(self._rows) * 5 // 4)
        rows, vectors = np.zeros(room, _ROW), np.zeros((room, self.width), np.float32)
        lengths = np.zeros(room, np.float32)
        lengths[: self._count] = self._lengths[: self._count]
        rows[: self._count] = self._rows[: self._count]
        vectors[: self._count] = self._vectors[: self._count]
        self._rows, self._vectors, self._lengths = rows, vectors, lengths

    def _pack(self) -> None:
        kept = np.flatnonzero(self.rows["there"])
        to = np.full(self._count, -1, np.int32)
        to[kept] = np.arange(len(kept), dtype=np.int32)
        self._rows, self._vectors = self._rows[kept], self._vectors[kept]
        self._lengths = self._lengths[kept]
        self._count, self._removed = len(kept), 0
        self._row_of = {int(item_id): n for n, item_id in enumerate(self._rows["item_id"])}
        postings = _joined(self._sorted, self._loose)
        postings.at = to[postings.at]
        self._loose = _taken(postings, np.flatnonzero(postings.at >= 0))
        self._sorted = _no_postings()


@dataclass(frozen=True, kw_only=True)
class _Present:
    """The rows that were not removed, and when the first of them expires."""

    rows: Mask
    first_expiry: int


def _present(rows: Table) -> _Present:
    there: Mask = rows["there"].copy()
    first = rows["expires"][there].min(initial=NEVER)
    return _Present(rows=there, first_expiry=int(first))


@dataclass(frozen=True, kw_only=True)
class _Links:
    """For each row the rows before and after it in its session, and the session's number; -1 for none, also as the
    last element, which -1 reaches."""

    before: Rows
    after: Rows
    session_of: Rows
    sessions: int

    def best_of_sessions(self, values: Numbers) -> Numbers:
        """The greatest value of each session, of values from -1 on."""
        best = np.full(self.sessions, -1, np.float32)
        if self.sessions:
            inside = np.flatnonzero(self.session_of >= 0)
            np.maximum.at(best, self.session_of[inside], values[inside])
        return best


def _linked(rows: Table) -> _Links:
    before = np.full(len(rows) + 1, -1, np.intp)
    after, session_of = before.copy(), before.copy()
    inside = np.flatnonzero((rows["thread"] != 0) & rows["there"])
    if not len(inside):
        return _Links(before=before, after=after, session_of=session_of, sessions=0)
    order = inside[np.lexsort((rows["position"][inside], rows["thread"][inside]))]
    threads = rows["thread"][order]
    same = threads[1:] == threads[:-1]
    before[order[1:][same]] = order[:-1][same]
    after[order[:-1][same]] = order[1:][same]
    numbers = np.concatenate(([0], np.cumsum(~same)))
    session_of[order] = numbers
    return _Links(before=before, after=after, session_of=session_of, sessions=int(numbers[-1]) + 1)


def _rarity(having: int, whole: int) -> np.float32:
    return np.float32(np.log1p((whole - having + 0.5) / (having + 0.5)))


def _no_postings() -> _Postings:
    return _Postings(
        rows=0, terms=np.empty(0, np.uint32), at=np.empty(0, np.int32), halves=np.empty(0, np.uint8)
    )


def _joined(one: _Postings, other: _Postings) -> _Postings:
    return _Postings(
        rows=one.rows + other.rows,
        terms=np.concatenate((one.terms, other.terms)),
        at=np.concatenate((one.at, other.at)),
        halves=np.concatenate((one.halves, other.halves)),
    )


def _taken(postings: _Postings, places: Rows) -> _Postings:
    return _Postings(
        rows=postings.rows,
        terms=postings.terms[places],
        at=postings.at[places],
        halves=postings.halves[places],
    )
