"""Server-sent events (WHATWG HTML, section 9.2), as far as the gateway uses them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["ServerSentEvent", "read_events", "read_lines"]


@dataclass(frozen=True, kw_only=True)
class ServerSentEvent:
    """One event: its name and its data."""

    name: str
    data: str


def read_lines(chunks: Iterable[str]) -> Iterator[str]:
    """The lines of a stream. Only a line feed ends one: str.splitlines would also break at U+2028 within data."""
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        yield from (line.removesuffix("\r") for line in lines)


def read_events(lines: Iterable[str]) -> Iterator[ServerSentEvent]:
    """The events of a stream's lines; an event that the stream's end cuts off is left out."""
    name, data = "message", list[str]()
    for line in lines:
        if not line:
            if data:
                yield ServerSentEvent(name=name, data="\n".join(data))
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
