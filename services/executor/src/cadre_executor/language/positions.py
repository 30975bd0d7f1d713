"""Where things stand: in a document, and in the text of its file."""

import re
from dataclasses import dataclass
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Where in a document: keys and indexes from its root."""


LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for YAML."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where something stands in the file, counted from 1; its end is the place after its last character."""

    line: int
    column: int
    end_line: int = 0
    end_column: int = 0
