"""What was done within visits that have not ended, as rows."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cadre_executor.adapters.database import EFFECTS
from cadre_executor.adapters.documents import loaded
from cadre_executor.domain.effects import Effect
from cadre_kit.documents import json_text
from cadre_kit.transactions import Statements

__all__ = ["effects_of", "forget_effects", "keep_effects"]

_ADD = sa.insert(EFFECTS)
_DROP = sa.delete(EFFECTS).where(EFFECTS.c.run_id == sa.bindparam("run"))


def keep_effects(statements: Statements, run_id: str, effects: Sequence[Effect]) -> None:
    """Stores what was done."""
    rows = [{"run_id": run_id, "key": e.key, "document": json_text(e.document)} for e in effects]
    statements.add(_ADD, rows)


def forget_effects(statements: Statements, run_id: str) -> None:
    """Drops what was done: the visits have ended."""
    statements.change(_DROP, {"run": run_id})


def effects_of(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    """What was done, by key."""
    statement = sa.select(EFFECTS.c.key, EFFECTS.c.document).where(EFFECTS.c.run_id == run_id)
    return {key: loaded(text) for key, text in connection.execute(statement)}
