"""Where runs stand between their steps: what a run goes on from, and what another may be forked from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from cadre_executor.domain.states import Progress
from cadre_executor.domain.workflows import State
from cadre_kit.documents import json_text
from cadre_kit.errors import DataLost, NotFound

__all__ = ["Checkpoint", "CheckpointNotFound", "Position"]


class CheckpointNotFound(NotFound):
    """The run has no such checkpoint, or it is no longer kept."""

    code = "CHECKPOINT_NOT_FOUND"

    def __init__(self, run_id: str, checkpoint_id: str) -> None:
        what = f"no checkpoint {checkpoint_id!r}" if checkpoint_id else "no checkpoint"
        super().__init__(
            f"run {run_id!r} has {what}",
            resolution="List the ones that are kept with `cadre runs checkpoints`.",
            metadata={"run_id": run_id, "checkpoint_id": checkpoint_id},
        )


@dataclass(frozen=True, kw_only=True)
class Position:
    """The fields of a run between two steps, and how far it is."""

    fields: State
    progress: Progress

    @classmethod
    def of(cls, document: str) -> "Position":
        """The position of a document. Raises DataLost when it cannot be read."""
        try:
            found = json.loads(document)
            return cls(fields=found["fields"], progress=found["progress"])
        except (ValueError, KeyError, TypeError) as exc:
            raise DataLost(
                "the run's checkpoint cannot be read", code="CHECKPOINT_UNREADABLE"
            ) from exc

    @cached_property
    def document(self) -> str:
        """The whole as JSON."""
        return json_text({"fields": self.fields, "progress": self.progress})

    @property
    def step(self) -> int:
        """How many visits were made."""
        return sum(self.progress["visits"].values())

    @property
    def has_ended(self) -> bool:
        """Whether no node is left to be visited."""
        return not self.progress["arrivals"]

    def edited(self, changes: Mapping[str, Any]) -> "Position":
        """With other fields, and for another run: what was asked there is asked anew."""
        progress = self.progress.copy()
        progress["asked"] = {}
        return replace(self, fields={**self.fields, **changes}, progress=progress)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A position as it is kept. `nodes` are those that were visited since the one before."""

    position: Position
    time: datetime
    nodes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Names it within its run."""
        return str(self.position.step)
