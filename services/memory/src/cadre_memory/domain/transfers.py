"""Memories as lines of JSON: all that is stored, written out and read in again."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, ValidationError

from cadre_kit.errors import InvalidInput
from cadre_memory.domain.conversations import Conversations
from cadre_memory.domain.entries import Role
from cadre_memory.domain.filters import ALL
from cadre_memory.domain.items import TOGETHER_BYTES, Item
from cadre_memory.domain.memories import ANSWER_BYTES, Memories, NewItem
from cadre_memory.domain.messages import Message
from cadre_memory.domain.namespaces import Namespace
from cadre_memory.domain.stores import Store

_PAGE = 500
# Of what is wrong with a line, so much is said.
_TOLD = 3


class LineInvalid(InvalidInput):
    """A line is not one that an export wrote."""

    code = "LINE_INVALID"

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(
            f"line {number} is no memory: {reason}",
            resolution="All lines before it are stored. Mend it, and import from this line on.",
            metadata={"line": str(number)},
        )


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: str
    name: str
    session: str
    time: AwareDatetime


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    namespace: tuple[str, ...]
    key: str
    value: JsonValue
    metadata: dict[str, JsonValue] = {}
    tags: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None
    expires: AwareDatetime | None = None
    message: _Said | None = None


_Numbered = tuple[int, _Line]


@dataclass(frozen=True, kw_only=True)
class Transfers:
    """Export and import. Only newest versions; an import appends messages to what is there, and replaces other keys."""

    store: Store
    memories: Memories
    conversations: Conversations

    async def lines(self) -> AsyncIterator[str]:
        """Each item that is there as a line; a conversation's messages in their order."""
        after: Namespace = ()
        while found := await self.store.namespaces(
            (), after=after, limit=_PAGE, now=self.memories.clock()
        ):
            for namespace in found:
                async for item in self._items(namespace):
                    yield _line_of(item)
            after = found[-1]

    async def take(self, lines: Iterable[str | bytes]) -> int:
        """Stores what the lines say, and answers how many there were.

        Raises LineInvalid once the lines before it are stored.
        """
        taken = 0
        for batch in _batches(lines):
            for (namespace, is_message), run in groupby(batch, key=_kind):
                await self._store_run(namespace, list(run), is_message=is_message)
            taken += len(batch)
        return taken

    async def _items(self, namespace: Namespace) -> AsyncIterator[Item]:
        after, more = "", True
        while more:
            page = await self.store.page(
                namespace,
                key_prefix="",
                matching=ALL,
                after=after,
                limit=_PAGE,
                max_bytes=ANSWER_BYTES,
                now=self.memories.clock(),
            )
            for item in page.items:
                yield item
            after, more = page.items[-1].key if page.items else "", page.more

    async def _store_run(
        self, namespace: Namespace, run: Sequence[_Numbered], *, is_message: bool
    ) -> None:
        lines = [line for _, line in run]
        try:
            if is_message:
                await self._append(namespace, lines)
            else:
                await self._put(lines)
        except InvalidInput as error:
            if len(run) == 1:
                raise LineInvalid(run[0][0], error.message) from error
            # None of them is stored; by itself, each says whether it is the one.
            for each in run:
                await self._store_run(namespace, [each], is_message=is_message)

    async def _append(self, namespace: Namespace, lines: Sequence[_Line]) -> None:
        messages = list(_messages(lines))
        await self.conversations.append(namespace=namespace, messages=messages, idempotency_key="")

    async def _put(self, lines: Sequence[_Line]) -> None:
        now = self.memories.clock()
        new = [_new_item(line, now=now) for line in lines if not line.expires or line.expires > now]
        if new:
            await self.memories.put_all(new, idempotency_key="")


def _line_of(item: Item) -> str:
    document: dict[str, Any] = {
        "namespace": item.namespace,
        "key": item.key,
        "value": json.loads(item.value),
        "metadata": json.loads(item.metadata),
        "tags": item.tags,
        "fields": item.fields,
        "expires": item.expires.isoformat() if item.expires else None,
    }
    if item.turn is not None:
        document["message"] = {
            "role": item.turn.role.name.lower(),
            "name": item.turn.name,
            "session": item.turn.session,
            "time": item.turn.time.isoformat(),
        }
    # In ASCII, which carries even the half of a character that JSON can escape.
    return json.dumps(document)


def _batches(lines: Iterable[str | bytes]) -> Iterator[list[_Numbered]]:
    """As many lines as one call may store; before LineInvalid, those that came before."""
    batch: list[_Numbered] = []
    room = TOGETHER_BYTES
    for number, line in enumerate(lines, 1):
        try:
            read = _read(number, line)
        except LineInvalid:
            yield batch
            raise
        room -= len(line)
        if len(batch) == _PAGE or (batch and room < 0):
            yield batch
            batch, room = [], TOGETHER_BYTES - len(line)
        batch.append((number, read))
    yield batch


def _read(number: int, line: str | bytes) -> _Line:
    try:
        text = line.decode() if isinstance(line, bytes) else line
        read = _Line.model_validate(json.loads(text))
        if read.message is not None:
            _check_message(read.message, read.value)
    except ValidationError as exc:
        found = [
            f"{'.'.join(map(str, error['loc'])) or 'the line'}: {error['msg']}"
            for error in exc.errors(include_input=False)
        ]
        raise LineInvalid(number, "; ".join(found[:_TOLD])) from exc
    except (ValueError, RecursionError) as exc:
        raise LineInvalid(number, str(exc).splitlines()[0]) from exc
    return read


def _check_message(said: _Said, value: object) -> None:
    if said.role.upper() not in Role.__members__:
        raise ValueError(f"{said.role!r} is no role")
    if not isinstance(value, str):
        raise ValueError("a message's value is not text")
    # Half of a character can be escaped in JSON, but is no text.
    value.encode()


def _kind(numbered: _Numbered) -> tuple[Namespace, bool]:
    _, line = numbered
    return (line.namespace, True) if line.message else ((), False)


def _messages(lines: Sequence[_Line]) -> Iterator[Message]:
    for line in lines:
        if line.message is not None:
            yield Message(
                role=Role[line.message.role.upper()],
                name=line.message.name,
                text=str(line.value),
                time=line.message.time,
                session=line.message.session,
                metadata=_text_of(line.metadata),
            )


def _new_item(line: _Line, *, now: datetime) -> NewItem:
    return NewItem(
        namespace=line.namespace,
        key=line.key,
        value=_text_of(line.value),
        ttl_seconds=(line.expires - now).total_seconds() if line.expires else 0.0,
        metadata=_text_of(line.metadata),
        tags=line.tags,
        fields=line.fields,
    )


def _text_of(value: object) -> str:
    """A document in as few bytes as it had, or fewer, so that it is within its limit again."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text
