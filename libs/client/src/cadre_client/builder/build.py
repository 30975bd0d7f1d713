"""The conversation behind the chat: ask a model for a plan, compile it, have it checked, feed problems back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue, ValidationError

from cadre_client._errors import ApiError
from cadre_client._models import Completion, Models, Problem, Validation
from cadre_client.builder.compiling import compile_plan
from cadre_client.builder.patterns import (
    CHOICES_SCHEMA,
    PATTERN_SCHEMA,
    choices_in,
    choices_prompt,
    pattern_plan,
    pattern_prompt,
    plain_pattern,
)
from cadre_client.builder.plans import PLAN_SCHEMA, Plan, ordered

__all__ = ["Attempt", "Built", "Platform", "build_workflow"]

_ATTEMPTS = 3
_PLAN_TOKENS = 4000
_SMALL = "embedded"
# The gateway's words for a reply that is no document of the schema; what it was is not handed on.
_NO_DOCUMENT = ("MODEL_OUTPUT_INVALID", "MODEL_OUTPUT_TRUNCATED")
_TASK = """You plan workflows for agents. A plan has inputs, given when the workflow is run, and steps. A step works \
on the inputs and earlier steps that it names in `needs`; steps that do not need each other run at the same time. Use \
`only_if` to take a step for one choice of a classify step only. Plan as few steps as do the job well, and write \
instructions that a model can follow without having read anything else. When the user asks for a change, return the \
whole plan with the change made."""


class Platform(Protocol):
    """What building needs of the gateway; `Client` has it."""

    def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        model: str = "default",
        schema: Mapping[str, JsonValue] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Completion:
        """A model's reply."""

    def models(self) -> Models:
        """All models."""

    def validate(self, source: str) -> Validation:
        """Every problem of a workflow file."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One plan, what it compiled to, and what is wrong with that. No plan when the model's reply was none."""

    plan: Plan | None
    source: str
    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether the file can be saved and run."""
        return self.plan is not None and not any(p.severity == "error" for p in self.problems)


@dataclass(frozen=True, kw_only=True)
class Built:
    """What came of a description: the last of `attempts` is the result, valid or not.

    `small_model` says that the plan was picked from patterns, for the model cannot plan freely.
    """

    attempts: tuple[Attempt, ...]
    model: str
    small_model: bool

    @property
    def result(self) -> Attempt:
        """The last attempt."""
        return self.attempts[-1]


def build_workflow(
    platform: Platform,
    wishes: Sequence[str],
    *,
    current: Plan | None = None,
    edited: str = "",
    on_progress: Callable[[str], None] = lambda _text: None,
) -> Built:
    """Builds a workflow from what the user said, oldest first; `current` is the plan that the last wish changes.

    `edited` is the file of that plan, if it was changed by hand since. A small model sees neither: it picks
    anew.

    At most three attempts; each is told what was wrong with the one before. Raises what the client raises.
    """
    default = next((model for model in platform.models().models if model.default), None)
    if default is not None and default.provider == _SMALL:
        attempt = _by_pattern(platform, wishes, on_progress)
        return Built(attempts=(attempt,), model=default.id, small_model=True)
    attempts = _by_planning(platform, _asked(wishes, current, edited), on_progress)
    return Built(attempts=attempts, model=default.id if default else "", small_model=False)


def _by_pattern(
    platform: Platform, wishes: Sequence[str], on_progress: Callable[[str], None]
) -> Attempt:
    on_progress("Choosing a pattern")
    wish = " ".join(wishes)
    picked: JsonValue = plain_pattern(wish)
    if picked is None:
        asked = [{"role": "user", "content": pattern_prompt(wish)}]
        picked = _field(platform.complete(asked, schema=PATTERN_SCHEMA, max_tokens=40), "pattern")
    choices = choices_in(wish)
    if picked == "classify" and not choices:
        on_progress("Naming the classes")
        asked = [{"role": "user", "content": choices_prompt(wish)}]
        named = _field(platform.complete(asked, schema=CHOICES_SCHEMA, max_tokens=60), "choices")
        choices = [str(choice) for choice in named] if isinstance(named, list) else []
        choices = list(dict.fromkeys(choices))
    if picked == "classify" and len(choices) < 2:
        choices = ["yes", "no"]
    on_progress("Checking the workflow")
    return _checked(platform, pattern_plan(str(picked or "answer"), wishes, choices))


def _by_planning(
    platform: Platform,
    messages: Sequence[Mapping[str, str]],
    on_progress: Callable[[str], None],
) -> tuple[Attempt, ...]:
    attempts: list[Attempt] = []
    for number in range(1, _ATTEMPTS + 1):
        on_progress("Planning" if number == 1 else f"Mending the plan, attempt {number}")
        said, plan = _planned(platform, messages)
        if plan is None:
            attempts.append(Attempt(plan=None, source="", problems=()))
            messages = [*messages, *said, _user("That was not a whole plan. Return the plan.")]
            continue
        on_progress("Checking the workflow")
        attempts.append(_checked(platform, plan))
        if attempts[-1].valid:
            break
        messages = [*messages, *said, _user(_complaint(attempts[-1]))]
    return tuple(attempts)


def _planned(
    platform: Platform, messages: Sequence[Mapping[str, str]]
) -> tuple[list[dict[str, str]], Plan | None]:
    """What the model said, as far as it is known, and the plan in it, if it is one."""
    try:
        reply = platform.complete(messages, schema=PLAN_SCHEMA, max_tokens=_PLAN_TOKENS)
    except ApiError as error:
        if error.code not in _NO_DOCUMENT:
            raise
        return [], None
    return [{"role": "assistant", "content": reply.content}], _parsed(reply)


def _asked(wishes: Sequence[str], current: Plan | None, edited: str) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": _TASK}]
    if current is None:
        return [*messages, _user("\n".join([*wishes, *_by_hand(edited)]))]
    plan = {"role": "assistant", "content": current.model_dump_json()}
    change = _user("\n".join([*_by_hand(edited), wishes[-1]]))
    return [*messages, _user("\n".join(wishes[:-1])), plan, change]


def _by_hand(edited: str) -> list[str]:
    return (
        [f"I have changed the file made from the plan; keep my changes:\n{edited}"]
        if edited
        else []
    )


def _checked(platform: Platform, plan: Plan) -> Attempt:
    ready = ordered(plan)
    source = compile_plan(ready)
    return Attempt(plan=ready, source=source, problems=tuple(platform.validate(source).problems))


def _complaint(attempt: Attempt) -> str:
    listed = "\n".join(f"- {p.path}: {p.message} {p.resolution}".rstrip() for p in attempt.problems)
    return f"The workflow made from this plan has problems:\n{listed}\nReturn the mended plan."


def _parsed(reply: Completion) -> Plan | None:
    try:
        return Plan.model_validate(reply.parsed)
    except ValidationError:
        return None


def _field(reply: Completion, name: str) -> JsonValue:
    return reply.parsed.get(name) if isinstance(reply.parsed, dict) else None


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}
