"""Where things stand: in a document, and in the text of its file."""

import re
from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Where in a document: keys and indexes from its root."""


LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for YAML."""


class Position(NamedTuple):
    """Where something stands in the file, counted from 1; its end is the place after its last character.

    A tuple, as there is one for each key and value, and a frozen dataclass takes three times as long to make.
    """

    line: int
    column: int
    end_line: int = 0
    end_column: int = 0


class Inner(NamedTuple):
    """A place in a text that is a value: its line and column, counted from 1, and what that line says."""

    line: int
    column: int
    text: str
