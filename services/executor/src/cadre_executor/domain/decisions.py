"""Which conditions were looked at on the way out of a node, and what they saw."""

from collections.abc import Sequence
from typing import Any

from cadre_executor.domain.cuts import shown
from cadre_executor.domain.workflows import Condition, Scope
from cadre_kit.errors import CadreError

__all__ = ["Decisions"]


class Decisions:
    """What a visit decided by conditions, as its event keeps it: in order, up to the first that held."""

    def __init__(self) -> None:
        self._made: list[dict[str, Any]] = []

    def document(self) -> list[dict[str, Any]]:
        """One object a condition: its text, the values that it read, what it leads to, and whether it held."""
        return self._made

    def holds(self, condition: Condition, scope: Scope, *, to: Sequence[str]) -> bool:
        """Whether a condition is true. Raises ConditionFailed, and notes that too."""
        made: dict[str, Any] = {"condition": condition.text, "to": list(to)}
        self._made.append(made)
        try:
            made["held"] = condition.holds(scope)
        except CadreError as error:
            made["error"] = error.message
            raise
        finally:
            made["values"] = {name: shown(value) for name, value in condition.values(scope).items()}
        return bool(made["held"])
