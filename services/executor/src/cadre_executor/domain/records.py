"""What is recorded of the visits of one run that are under way."""

from collections.abc import Mapping
from typing import Any

from cadre_executor.domain.effects import Effect
from cadre_executor.domain.journals import Journal
from cadre_executor.domain.runs import Usage

__all__ = ["Records"]


class Records:
    """Finds what was done, in this process or before it, and records what is done now."""

    def __init__(self, journal: Journal, *, recorded: Mapping[str, Any]) -> None:
        self._journal = journal
        self._documents = dict(recorded)

    def find(self, key: str) -> Mapping[str, Any] | None:
        """What is recorded of a step."""
        found: Mapping[str, Any] | None = self._documents.get(key)
        return found

    def record(self, key: str, document: Mapping[str, Any], *, usage: Usage | None = None) -> None:
        """Records a step that is not recorded yet; stored within 10 ms. What it used counts for the run."""
        self._documents[key] = document
        self._journal.record(Effect(key=key, document=document, usage=usage or Usage()))

    async def store(self) -> None:
        """Returns when everything recorded is stored: what depends on it may begin."""
        await self._journal.flush()

    def forget(self, visit: str) -> None:
        """Lets go of the records of a visit that was made; those stored go with the next checkpoint."""
        begun = f"{visit}/"
        for key in [key for key in self._documents if key.startswith((begun, f"{visit}."))]:
            del self._documents[key]
