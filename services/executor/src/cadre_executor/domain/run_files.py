"""The files of runs, as they are looked at from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["RunFile", "RunFiles"]


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A file: where it is in the run's folder, and its size in bytes."""

    path: str
    size: int


class RunFiles(Protocol):
    """Keeps the files of runs."""

    async def keep(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Writes files by path, in place of those that are there. Raises ToolFailed when the run has too many."""

    async def files_of(self, run_id: str) -> Sequence[RunFile]:
        """The first 1000, by path."""

    async def read(self, run_id: str, path: str) -> bytes:
        """What is in a file. Raises ToolFailed."""
