"""Hands out the written replies of a test, each to the call that it is for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cadre_executor.domain.cases import AsksTools, Fails, Gives, Replies, Reply
from cadre_kit.errors import CadreError, FailedPrecondition, Unavailable

__all__ = ["CallPlace", "ReplyMissing", "Script", "failure_of"]


class ReplyMissing(FailedPrecondition):
    """A node asks for what its test has no reply for."""

    code = "REPLY_MISSING"


@dataclass(frozen=True, kw_only=True)
class CallPlace:
    """Which call of a run it is: of which node on which visit, item of its for_each (0 without one), try and step."""

    node: str
    visit: int
    item: int
    attempt: int
    step: str

    @classmethod
    def of(cls, key: str) -> "CallPlace":
        """The place that an idempotency key names: `run/node/visit[.item]/try/step`."""
        _, node, visit, attempt, step = key.split("/", 4)
        number, _, item = visit.partition(".")
        return cls(
            node=node, visit=int(number), item=int(item or 0), attempt=int(attempt), step=step
        )

    @property
    def text(self) -> str:
        """As messages name it."""
        item = f", item {self.item}" if self.item else ""
        attempt = f", try {self.attempt}" if self.attempt > 1 else ""
        step = "" if self.step == "1" else f", step {self.step}"
        return f"visit {self.visit}{item}{attempt}{step}"


class Script:
    """The replies of one test. `missing` is what was asked for in vain: a node may pass over its failure, a test must
    not."""

    def __init__(self, replies: Mapping[str, Replies]) -> None:
        self.missing: list[ReplyMissing] = []
        self._replies = replies
        self._asked: Counter[tuple[str, int]] = Counter()
        self._most_items: dict[str, dict[int, int]] = {}
        self._turns: dict[str, AsksTools] = {}

    def has(self, node: str) -> bool:
        """Whether anything is written for a node."""
        return node in self._replies

    def answer(self, key: str, *, asks: str) -> Gives | Fails:
        """The reply to a call that is no model's. Raises ReplyMissing, saying that the node `asks` for it."""
        reply = self.reply(key, asks=asks)
        if isinstance(reply, AsksTools):
            raise self._missed(CallPlace.of(key), asks)
        return reply

    def reply(self, key: str, *, asks: str) -> Reply:
        """The reply to a call. Raises ReplyMissing, saying that the node `asks` for it."""
        place = CallPlace.of(key)
        written = self._replies.get(place.node)
        found = None if written is None else written.always or self._listed(written, place)
        if found is None:
            raise self._missed(place, asks)
        if isinstance(found, AsksTools):
            self._turns[key] = found
        return found

    def result(self, key: str, tool: str) -> Gives | Fails:
        """What a tool gives that a model asked for. Raises ReplyMissing."""
        asked, _, number = key.rpartition(".")
        gives = self._turns[asked].calls[int(number) - 1].gives
        if gives is None:
            raise self._missed(CallPlace.of(key), f"calls the tool {tool!r}")
        return gives

    def _listed(self, written: Replies, place: CallPlace) -> Reply | None:
        index = self._index(place)
        if index >= len(written.listed):
            return None
        entry = written.listed[index]
        if not isinstance(entry, tuple):
            return entry
        nth = self._next(place.node, index)
        return entry[nth] if nth < len(entry) else None

    def _index(self, place: CallPlace) -> int:
        """Which entry of the list a call is answered by."""
        if not place.item:
            return self._next(place.node, -1)
        most = self._most_items.setdefault(place.node, {})
        most[place.visit] = max(most.get(place.visit, 0), place.item)
        before = sum(items for visit, items in most.items() if visit < place.visit)
        return before + place.item - 1

    def _next(self, node: str, entry: int) -> int:
        self._asked[node, entry] += 1
        return self._asked[node, entry] - 1

    def _missed(self, place: CallPlace, asks: str) -> ReplyMissing:
        missed = ReplyMissing(
            f"node {place.node!r} {asks} on {place.text}, and the test has no reply for it",
            resolution=f"Add one to the test's replies.{place.node}; a list has one reply a call.",
            metadata={"node": place.node, "visit": str(place.visit), "step": place.step},
        )
        self.missing.append(missed)
        return missed


class _WrittenFailure(CadreError):
    """A failure that a test wrote down."""


class _PassingFailure(Unavailable):
    """A failure that a test wrote down as one that may pass."""


def failure_of(written: Fails) -> CadreError:
    """The error that a written failure is."""
    kind = _PassingFailure if written.may_pass else _WrittenFailure
    return kind(written.message or "the test lets this call fail", code=written.code)
