"""Compiles a plan to the text of a workflow file."""

import json
from collections.abc import Iterator, Sequence

from cadre_client.builder.plans import Plan, Step

__all__ = ["compile_plan"]

_SCHEMA_LINE = "# yaml-language-server: $schema=http://127.0.0.1:7400/api/v1/schema"
_REVIEW_ROUNDS = 3
_ADVICE_CHARACTERS = 200


def compile_plan(plan: Plan) -> str:
    """The workflow file of an ordered plan. The same plan always gives the same text."""
    lines = [
        _SCHEMA_LINE,
        'schema_version: "1.0"',
        "flow:",
        f"  name: {plan.name}",
        f"  description: {_quoted(plan.description)}",
        "state:",
        "  fields:",
        *(f"    {line}" for line in _fields(plan)),
        "nodes:",
        *(f"  {line}" for step in plan.steps for line in _node(step, plan)),
        "edges:",
        *(f"  {line}" for line in _edges(plan)),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _fields(plan: Plan) -> Iterator[str]:
    for given in plan.inputs:
        yield f"{given.name}: {{type: str, required: true, description: {_quoted(given.description)}}}"
    for step in plan.steps:
        match step.kind:
            case "write" | "classify":
                yield f'{step.id}: {{type: str, default: ""}}'
            case "compute" | "recall":
                yield f"{step.id}: {{type: any}}"
            case "review":
                yield f"{step.id}_good: {{type: bool, default: false}}"
                yield f'{step.id}_advice: {{type: str, default: ""}}'
            case "remember":
                pass


def _node(step: Step, plan: Plan) -> Iterator[str]:
    yield f"- id: {step.id}"
    if condition := _when(step, plan):
        yield f"  when: {_quoted(condition)}"
    match step.kind:
        case "write":
            yield from _block(
                "prompt", [*_told(step.instruction), *_values(step.needs), *_last_try(step, plan)]
            )
            yield f"  outputs: [{step.id}]"
        case "classify":
            one_of = _told(f"Answer with one of: {', '.join(step.choices)}.")
            yield from _block("prompt", [*_told(step.instruction), *one_of, *_values(step.needs)])
            yield from _schema(f"{{name: {step.id}, type: str, enum: {_quoted(step.choices)}}}")
            yield f"  outputs: [{step.id}]"
        case "review":
            question = "Is this good? Give one short piece of advice."
            yield from _block("prompt", [*_told(step.instruction), question, *_values(step.needs)])
            yield from _schema(
                f"{{name: {step.id}_good, type: bool}}",
                f"{{name: {step.id}_advice, type: str, max_length: {_ADVICE_CHARACTERS}}}",
            )
            yield f"  outputs: [{step.id}_good, {step.id}_advice]"
        case "compute":
            named = ", ".join(f'{need}: "{{state.{need}}}"' for need in step.needs)
            yield f"  inputs: {{{named}}}"
            yield from _block("code", step.code.splitlines())
            yield f"  outputs: [{step.id}]"
        case "recall":
            yield f"  memory: {{action: load, key: {step.key}}}"
            yield f"  outputs: [{step.id}]"
        case "remember":
            yield f'  memory: {{action: save, key: {step.key}, value: "{{state.{step.needs[-1]}}}"}}'


def _told(instruction: str) -> list[str]:
    """An instruction as prompt lines; its braces are text, not templates."""
    return instruction.replace("{", "{{").replace("}", "}}").splitlines()


def _values(needs: Sequence[str]) -> list[str]:
    return ["", *(f"{need.replace('_', ' ').capitalize()}: {{state.{need}}}" for need in needs)]


def _last_try(step: Step, plan: Plan) -> list[str]:
    review = _review_of(step, plan)
    if review is None:
        return []
    return [f"Your last attempt: {{state.{step.id}}}", f"Advice: {{state.{review.id}_advice}}"]


def _schema(*fields: str) -> Iterator[str]:
    yield "  output_schema:"
    yield "    type: object"
    yield "    fields:"
    yield from (f"      - {field}" for field in fields)


def _edges(plan: Plan) -> Iterator[str]:
    after = {step.id: _steps_after(step, plan) for step in plan.steps}
    first = [step.id for step in plan.steps if not _waits_for(step, plan)]
    yield f"- {{from: START, to: {_targets(first)}}}"
    for step in plan.steps:
        if step.kind == "review":
            yield from _loop(step, [s.id for s in after[step.id]])
        else:
            yield from _ways_out(step, after[step.id], plan)


def _loop(review: Step, ids: Sequence[str]) -> Iterator[str]:
    exit_to = "" if ids else ", exit_to: END"
    bounds = f'max_iterations: {_REVIEW_ROUNDS}, until: "state.{review.id}_good"{exit_to}'
    yield f"- {{from: {review.id}, loop: {{to: {review.needs[0]}, {bounds}}}}}"
    if ids:
        yield f"- {{from: {review.id}, to: {_targets(ids)}}}"


def _ways_out(step: Step, after: Sequence[Step], plan: Plan) -> Iterator[str]:
    routed = [s for s in after if _routed(s, plan)]
    always = [s.id for s in after if s not in routed]
    if not routed:
        yield f"- {{from: {step.id}, to: {_targets(always)}}}"
        return
    yield f"- from: {step.id}"
    yield "  routes:"
    for choice in step.choices:
        ids = [s.id for s in routed if s.only_if and s.only_if.choice == choice]
        if ids:
            condition = f"state.{step.id} == {_literal(choice)}"
            yield f"    - {{condition: {_quoted(condition)}, to: {_targets([*ids, *always])}}}"
    yield f"    - {{condition: default, to: {_targets(always)}}}"


def _routed(step: Step, plan: Plan) -> bool:
    """Whether the way to the step carries its condition; one that waits for more than its choice carries it itself."""
    return step.only_if is not None and _waits_for(step, plan) == [step.only_if.step]


def _when(step: Step, plan: Plan) -> str:
    if step.only_if is None or _routed(step, plan):
        return ""
    return f"state.{step.only_if.step} == {_literal(step.only_if.choice)}"


def _waits_for(step: Step, plan: Plan) -> list[str]:
    """The steps that must be over before this one. Whoever needs a reviewed text waits for its review."""
    reviews = {s.needs[0]: s.id for s in plan.steps if s.kind == "review"}
    steps = {s.id for s in plan.steps}
    needs = [need for need in step.needs if need in steps]
    if step.only_if is not None:
        needs.append(step.only_if.step)
    if step.kind != "review":
        needs = [reviews.get(need, need) for need in needs]
    return list(dict.fromkeys(needs))


def _steps_after(step: Step, plan: Plan) -> list[Step]:
    return [later for later in plan.steps if step.id in _waits_for(later, plan)]


def _review_of(step: Step, plan: Plan) -> Step | None:
    return next((s for s in plan.steps if s.kind == "review" and s.needs[0] == step.id), None)


def _targets(ids: Sequence[str]) -> str:
    if not ids:
        return "END"
    return ids[0] if len(ids) == 1 else f"[{', '.join(ids)}]"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(value: object) -> str:
    """A flow scalar or list: JSON is YAML, but for how characters outside the first plane are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    # Half of a surrogate pair is no character; a model's JSON may hold one.
    number = 0xFFFD if 0xD800 <= ord(character) <= 0xDFFF else ord(character)
    return f"\\U{number:08x}"


def _block(key: str, lines: Sequence[str]) -> Iterator[str]:
    """A text of several lines as a block; as one quoted scalar where a block could not hold it as it is."""
    text = "\n".join(lines)
    plain = (
        all(line.isprintable() for line in lines)
        and bool(lines)
        and not lines[0].startswith((" ", "\t"))
    )
    if not plain or not lines[0]:
        yield f"  {key}: {_quoted(text)}"
        return
    yield f"  {key}: |"
    yield from (f"    {line}" for line in lines)
