"""What a model plans: inputs and steps, and how a plan is put in order so that it can be compiled."""

import keyword
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["PLAN_SCHEMA", "Kind", "OnlyIf", "Plan", "PlannedInput", "Step", "ordered", "slug"]

Kind = Literal["write", "classify", "review", "compute", "recall", "remember"]

_MOST_INPUTS = 8
_MOST_STEPS = 12
_MOST_CHOICES = 8
_NAME_CHARACTERS = 40
# `state` is what templates begin with, `inputs` and `result` are variables of code.
_RESERVED = {"state", "start", "end", "inputs", "result", *keyword.kwlist, "true", "false", "null"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedInput(_Part):
    """Something that a run is given."""

    name: str = Field(description="Short name in lower case, such as message.")
    description: str = Field(description="What it is, in a few words.")


class OnlyIf(_Part):
    """A step is taken only for one choice of a classify step."""

    step: str = Field(description="Id of an earlier classify step.")
    choice: str = Field(description="One of its choices.")


class Step(_Part):
    """One step. Fields that its kind does not use are empty."""

    id: str = Field(
        description="Short name in lower case, such as summary; what the step makes is named so."
    )
    kind: Kind = Field(
        description="write: a model writes text. classify: a model picks one of the choices. review: a model judges "
        "the text of an earlier write step, which is written again until it is good. compute: Python. recall: looks "
        "up what an earlier run remembered under the key. remember: keeps a value under the key for later runs."
    )
    instruction: str = Field(description="What the model is told, or what the step does.")
    needs: list[str] = Field(description="Inputs and earlier steps whose values it works on.")
    choices: list[str] = Field(
        description="classify: what can be picked, two to eight; else empty."
    )
    only_if: OnlyIf | None = Field(description="Taken only for this choice; null for always.")
    code: str = Field(
        description="compute: Python that sets result, with what it needs as variables; else empty."
    )
    key: str = Field(description="recall and remember: the key; else empty.")


class Plan(_Part):
    """A workflow before it is compiled."""

    name: str = Field(description="Short name in lower case, such as triage.")
    description: str = Field(description="What the workflow does, in one sentence.")
    inputs: list[PlannedInput]
    steps: list[Step]


def _strict(schema: Any) -> Any:
    """The schema as strict structured output wants it: closed, all fields required, no defaults or titles."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: {name: _strict(value) for name, value in part.items()}
        if key == "properties"
        else _strict(part)
        for key, part in schema.items()
        if key not in ("title", "default")
    }
    if "properties" in kept:
        kept |= {"additionalProperties": False, "required": list(kept["properties"])}
    return kept


PLAN_SCHEMA: dict[str, Any] = _strict(Plan.model_json_schema())
"""JSON Schema of Plan, for structured output."""


def slug(text: str, *, otherwise: str, taken: Iterable[str] = ()) -> str:
    """`text` as a name: lower case letters, digits and underscores, at most 40, none of `taken`, no reserved word."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:_NAME_CHARACTERS].strip("_")
    if not re.match(r"[a-z]", name):
        name = f"{otherwise}_{name}".strip("_")[:_NAME_CHARACTERS]
    if name in _RESERVED:
        name = f"{name}_value"
    taken = set(taken)
    unique, count = name, 2
    while unique in taken:
        unique, count = f"{name}_{count}", count + 1
    return unique


def ordered(plan: Plan) -> Plan:
    """The plan with unique names, every reference to something earlier, and nothing that its kind does not use.

    A model's plan may name what is not there; that is dropped rather than refused, for the rest is worth having.
    """
    names: dict[str, str] = {}
    inputs: list[PlannedInput] = []
    for given in plan.inputs[:_MOST_INPUTS]:
        name = slug(given.name, otherwise="input", taken=_fields(i.name for i in inputs))
        names.setdefault(given.name, name)
        inputs.append(PlannedInput(name=name, description=given.description.strip()))
    if not inputs:
        inputs = [PlannedInput(name="request", description="What to work on")]
        names["request"] = "request"
    steps: list[Step] = []
    for step in plan.steps[:_MOST_STEPS]:
        taken = _fields([*(i.name for i in inputs), *(s.id for s in steps)])
        ready = _ordered_step(
            step, slug(step.id, otherwise="step", taken=taken), names, inputs, steps
        )
        names.setdefault(step.id, ready.id)
        steps.append(ready)
    if not steps:
        steps = [_answer(plan.description, inputs)]
    return Plan(
        name=slug(plan.name, otherwise="workflow"),
        description=plan.description.strip(),
        inputs=inputs,
        steps=steps,
    )


def _fields(names: Iterable[str]) -> set[str]:
    """The state fields that things of these names can fill; a review fills two."""
    return {field for name in names for field in (name, f"{name}_good", f"{name}_advice")}


def _ordered_step(
    step: Step,
    name: str,
    names: dict[str, str],
    inputs: Sequence[PlannedInput],
    before: Sequence[Step],
) -> Step:
    by_id = {earlier.id: earlier for earlier in before}
    values = {i.name for i in inputs} | {
        s.id for s in before if s.kind not in ("review", "remember")
    }
    needs = list(dict.fromkeys(names[n] for n in step.needs if names.get(n) in values))
    step = step.model_copy(
        update={
            "id": name,
            "needs": needs or [i.name for i in inputs],
            "instruction": step.instruction.strip() or name.replace("_", " "),
            "choices": _choices(step) if step.kind == "classify" else [],
            "only_if": _known_choice(step.only_if, names, by_id),
            "code": step.code.strip() if step.kind == "compute" else "",
            "key": slug(step.key or name, otherwise="key")
            if step.kind in ("recall", "remember")
            else "",
        }
    )
    match step.kind:
        case "classify" if len(step.choices) < 2:
            return step.model_copy(update={"kind": "write", "choices": []})
        case "compute" if not step.code:
            return step.model_copy(update={"kind": "write"})
        case "review":
            return _reviewing(step, before)
    return step


def _reviewing(step: Step, before: Sequence[Step]) -> Step:
    reviewed = {s.needs[0] for s in before if s.kind == "review"}
    free = [s.id for s in before if s.kind == "write" and s.id not in reviewed]
    wanted = [need for need in step.needs if need in free] or free[-1:]
    if not wanted:
        return step.model_copy(update={"kind": "write"})
    return step.model_copy(update={"needs": wanted[:1], "only_if": None})


def _choices(step: Step) -> list[str]:
    cleaned = (" ".join(choice.split())[:_NAME_CHARACTERS] for choice in step.choices)
    return list(dict.fromkeys(choice for choice in cleaned if choice))[:_MOST_CHOICES]


def _known_choice(
    only_if: OnlyIf | None, names: dict[str, str], by_id: dict[str, Step]
) -> OnlyIf | None:
    if only_if is None:
        return None
    step = by_id.get(names.get(only_if.step, ""))
    choice = " ".join(only_if.choice.split())[:_NAME_CHARACTERS]
    if step is None or choice not in step.choices:
        return None
    return OnlyIf(step=step.id, choice=choice)


def _answer(instruction: str, inputs: Sequence[PlannedInput]) -> Step:
    return Step(
        id="answer",
        kind="write",
        instruction=instruction.strip() or "Answer.",
        needs=[i.name for i in inputs],
        choices=[],
        only_if=None,
        code="",
        key="",
    )
