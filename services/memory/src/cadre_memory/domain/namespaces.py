"""Where items are."""

from typing import TypeAlias

Namespace: TypeAlias = tuple[str, ...]
