"""Checkpoints of runs, and what visits of the step after them changed, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cadre_executor.adapters.database import CHECKPOINTS, VISIT_WRITES
from cadre_executor.adapters.documents import loaded, moment, seconds
from cadre_executor.adapters.effect_rows import forget_effects
from cadre_executor.domain.checkpoints import Checkpoint, CheckpointNotFound, Position
from cadre_executor.domain.journals import VisitWrites
from cadre_kit.documents import json_text
from cadre_kit.transactions import Statements

__all__ = ["Checkpoints"]

_OF_RUN = CHECKPOINTS.c.run_id == sa.bindparam("run")
_REPLACE = (
    sa.update(CHECKPOINTS)
    .where(_OF_RUN, CHECKPOINTS.c.step == sa.bindparam("at"))
    .values(document=sa.bindparam("text"))
)
_ADD = sa.insert(CHECKPOINTS)
_DROP_OLD = sa.delete(CHECKPOINTS).where(_OF_RUN, CHECKPOINTS.c.step <= sa.bindparam("oldest"))
_ADD_WRITES = sa.insert(VISIT_WRITES)
_DROP_WRITES = sa.delete(VISIT_WRITES).where(VISIT_WRITES.c.run_id == sa.bindparam("run"))


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Of each run the last `kept` steps at most."""

    kept: int

    def keep(
        self, statements: Statements, run_id: str, checkpoint: Checkpoint, *, forgets: bool
    ) -> None:
        """Stores a checkpoint, in place of one of the same step; `forgets` drops what visits changed before it."""
        position = checkpoint.position
        step = position.step
        same = {"run": run_id, "at": step, "text": position.document}
        if statements.change(_REPLACE, same) == 0:
            row = {
                "run_id": run_id,
                "step": step,
                "time": seconds(checkpoint.time),
                "nodes": json_text(checkpoint.nodes),
                "document": position.document,
            }
            statements.add(_ADD, [row])
        if step > self.kept:
            statements.change(_DROP_OLD, {"run": run_id, "oldest": step - self.kept})
        if forgets and position.progress["asked"]:
            # A visit that waits goes on from what it did.
            statements.change(_DROP_WRITES, {"run": run_id})
        elif forgets:
            self.forget_writes(statements, run_id)

    def keep_writes(
        self, statements: Statements, run_id: str, writes: Sequence[VisitWrites]
    ) -> None:
        """Stores what visits changed."""
        rows = [
            {
                "run_id": run_id,
                "node": each.node,
                "iteration": each.iteration,
                "document": each.step.document,
            }
            for each in writes
        ]
        statements.add(_ADD_WRITES, rows)

    def forget_writes(self, statements: Statements, run_id: str) -> None:
        """Drops what visits changed, and what was done within them: a checkpoint, or the end, has it."""
        statements.change(_DROP_WRITES, {"run": run_id})
        forget_effects(statements, run_id)

    def last(self, connection: sa.Connection, run_id: str) -> Position | None:
        """Where the run goes on; None when that is its start."""
        document = connection.execute(
            sa.select(CHECKPOINTS.c.document)
            .where(CHECKPOINTS.c.run_id == run_id)
            .order_by(CHECKPOINTS.c.step.desc())
            .limit(1)
        ).scalar()
        return None if document is None else Position.of(document)

    def made(self, connection: sa.Connection, run_id: str) -> dict[tuple[str, int], str]:
        """What visits of the step under way changed, by node and visit."""
        columns = (VISIT_WRITES.c.node, VISIT_WRITES.c.iteration, VISIT_WRITES.c.document)
        found = connection.execute(sa.select(*columns).where(VISIT_WRITES.c.run_id == run_id))
        return {(node, iteration): document for node, iteration, document in found}

    def all(self, connection: sa.Connection, run_id: str) -> list[Checkpoint]:
        """Every one that is kept, oldest first."""
        statement = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.run_id == run_id)
        rows = connection.execute(statement.order_by(CHECKPOINTS.c.step)).mappings()
        return [_checkpoint(row) for row in rows]

    def find(self, connection: sa.Connection, run_id: str, checkpoint_id: str) -> Checkpoint:
        """One of them; an empty id means the last. Raises CheckpointNotFound."""
        statement = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.run_id == run_id)
        if checkpoint_id.isascii() and checkpoint_id.isdecimal() and len(checkpoint_id) < 10:
            statement = statement.where(CHECKPOINTS.c.step == int(checkpoint_id))
        elif checkpoint_id:
            raise CheckpointNotFound(run_id, checkpoint_id)
        last = statement.order_by(CHECKPOINTS.c.step.desc()).limit(1)
        row = connection.execute(last).mappings().first()
        if row is None:
            raise CheckpointNotFound(run_id, checkpoint_id)
        return _checkpoint(row)


def _checkpoint(row: sa.RowMapping) -> Checkpoint:
    return Checkpoint(
        position=Position.of(row["document"]),
        time=moment(row["time"]),
        nodes=tuple(loaded(row["nodes"])),
    )
