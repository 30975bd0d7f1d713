"""Ids of stored things: ULIDs, which sort by the time they were made."""

from ulid import ULID

__all__ = ["new_id"]


def new_id() -> str:
    """A new id, 26 characters."""
    return str(ULID())
