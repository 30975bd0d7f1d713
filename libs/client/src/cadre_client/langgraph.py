"""LangGraph's BaseStore on the platform's memory. Needs LangGraph: `pip install cadre-client[langgraph]`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    NamespacePath,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from cadre_client._client import Client
from cadre_client._models import MemoryBatchResult, MemoryItem

__all__ = ["ServiceStore"]

_AT_ONCE = 1_000
_SECONDS_A_MINUTE = 60.0
_ANY = "*"


class ServiceStore(BaseStore):
    """Keeps what LangGraph code remembers in the platform, by way of its gateway.

    All of it is below `root`, which no namespace of the code can leave; other programs see the same under the same one.
    A batch is one request, of which the reads come first and the writes are done together; one of more than 1,000
    operations takes several. Searching goes by words and by meaning, with the service's own embeddings; `fields` are
    those of values that are searched where `put` names none, and all of it when it is None. Raises ApiError and
    GatewayUnreachable.
    """

    __slots__ = ("_client", "_fields", "_root", "ttl_config")

    supports_ttl = True

    def __init__(
        self,
        client: Client,
        *,
        root: Sequence[str] = ("langgraph",),
        fields: Sequence[str] | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        if not root:
            raise ValueError("root names a place in memory of at least one segment")
        self._client = client
        self._root = tuple(root)
        self._fields = fields
        self.ttl_config = ttl

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """What each operation came to, in their order."""
        asked = list(ops)
        for op in asked:
            validate_op_namespace(op)
        parts = [list(self._operations(op)) for op in asked]
        answers = iter(self._answers([each for part in parts for each in part]))
        return [
            self._result(op, [next(answers) for _ in part])
            for op, part in zip(asked, parts, strict=True)
        ]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`, beside whatever else the event loop does."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _answers(self, operations: Sequence[Mapping[str, Any]]) -> Iterator[MemoryBatchResult]:
        for start in range(0, len(operations), _AT_ONCE):
            yield from self._client.batch_memories(operations[start : start + _AT_ONCE])

    def _operations(self, op: Op) -> Iterator[dict[str, Any]]:
        """What the service is asked for one operation; several where more is wanted than one of its lists has."""
        match op:
            case GetOp(namespace=namespace, key=key, refresh_ttl=refresh):
                yield {"get": {**self._place(namespace, key), "refresh_ttl": refresh}}
            case PutOp(namespace=namespace, key=key, value=None):
                yield {"delete": self._place(namespace, key)}
            case PutOp():
                yield {"put": self._put(op)}
            case SearchOp():
                asked: dict[str, Any] = {"query": op.query or "", "value": op.filter or {}}
                asked |= {
                    "namespace": self._path(op.namespace_prefix),
                    "refresh_ttl": op.refresh_ttl,
                }
                yield from ({"find": asked | page} for page in _pages(op))
            case ListNamespacesOp():
                conditions = self._conditions(op)
                if conditions is not None:
                    yield from ({"namespaces": conditions | page} for page in _pages(op))
            case _:
                raise ValueError(f"unknown operation {type(op).__name__}")

    def _put(self, op: PutOp) -> dict[str, Any]:
        put: dict[str, Any] = {**self._place(op.namespace, op.key), "value": dict(op.value or {})}
        if op.ttl is not None:
            put["ttl_seconds"] = op.ttl * _SECONDS_A_MINUTE
        fields = self._fields if op.index is None else op.index or []
        if fields is not None:
            put["searched_fields"] = list(fields)
        return put

    def _conditions(self, op: ListNamespacesOp) -> dict[str, Any] | None:
        """How the namespaces begin and end; None when none can begin or end so."""
        of_kind = {
            kind: [c.path for c in op.match_conditions or () if c.match_type == kind]
            for kind in ("prefix", "suffix")
        }
        prefix = _all_of(of_kind["prefix"])
        suffix = _all_of([path[::-1] for path in of_kind["suffix"]])
        if prefix is None or suffix is None:
            return None
        # What ends so has no part of the root in it.
        room = (_ANY,) * max(0, len(suffix) - len(prefix))
        conditions: dict[str, Any] = {
            "prefix": self._path((*prefix, *room)),
            "suffix": list(suffix[::-1]),
        }
        if op.max_depth is not None:
            conditions["max_depth"] = len(self._root) + op.max_depth
        return conditions

    def _place(self, namespace: tuple[str, ...], key: str) -> dict[str, Any]:
        return {"namespace": self._path(namespace), "key": key}

    def _path(self, namespace: tuple[str, ...]) -> list[str]:
        return [*self._root, *namespace]

    def _result(self, op: Op, answers: Sequence[MemoryBatchResult]) -> Result:
        match op:
            case GetOp():
                found = answers[0].item
                return None if found is None else Item(**self._known(found))
            case SearchOp():
                return [
                    SearchItem(**self._known(each.item), score=each.score)
                    for answer in answers
                    for each in answer.found
                ]
            case ListNamespacesOp():
                return [
                    tuple(ns[len(self._root) :]) for answer in answers for ns in answer.namespaces
                ]
            case _:
                return None

    def _known(self, item: MemoryItem) -> dict[str, Any]:
        # What others stored below the root may be anything.
        value = item.value if isinstance(item.value, dict) else {"value": item.value}
        return {
            "namespace": tuple(item.namespace[len(self._root) :]),
            "key": item.key,
            "value": value,
            "created_at": item.created_time,
            "updated_at": item.updated_time,
        }


def _pages(op: SearchOp | ListNamespacesOp) -> Iterator[dict[str, int]]:
    last = op.offset + op.limit
    for offset in range(op.offset, last, _AT_ONCE):
        yield {"offset": offset, "limit": min(_AT_ONCE, last - offset)}


def _all_of(paths: Sequence[NamespacePath]) -> NamespacePath | None:
    """The one pattern that all of them are; None when they contradict each other."""
    merged: list[str] = []
    for path in paths:
        merged += path[len(merged) :]
        for place, label in enumerate(path):
            if merged[place] != label and _ANY not in (merged[place], label):
                return None
            merged[place] = label if merged[place] == _ANY else merged[place]
    return tuple(merged)
