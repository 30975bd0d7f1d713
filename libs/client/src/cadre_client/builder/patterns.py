"""Plans for models too small to plan: the model picks one of four patterns, the user's own words fill it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cadre_client.builder.plans import OnlyIf, Plan, PlannedInput, Step, slug

__all__ = [
    "CHOICES_SCHEMA",
    "PATTERN_SCHEMA",
    "choices_in",
    "choices_prompt",
    "pattern_plan",
    "pattern_prompt",
    "plain_pattern",
]

_EXAMPLES = (
    ("Translate a text into French", "answer"),
    ("Sort support tickets by urgency", "classify"),
    ("Write a poem and polish it until it is good", "improve"),
    ("Ask several experts about a plan and sum up", "compare"),
    ("Summarise an article", "answer"),
    ("Find out whether a mail is a complaint or a question and answer it", "classify"),
    ("Draft an email and revise it", "improve"),
    ("Get opinions for and against on a question", "compare"),
    ("Explain a word to a child", "answer"),
    ("Answer questions about history", "answer"),
)
PATTERN_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "pattern": {"type": "string", "enum": ["answer", "classify", "improve", "compare"]}
    },
    "required": ["pattern"],
    "additionalProperties": False,
}
CHOICES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "choices": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[a-z]{3,16}$", "maxLength": 16},
            "minItems": 2,
            "maxItems": 3,
        }
    },
    "required": ["choices"],
    "additionalProperties": False,
}
_SIGNS = (
    ("classify", r"\b(whether|classif\w+|categori\w+|sort|triage|detect|label|mood|sentiment)\b"),
    ("improve", r"\b(improv\w+|polish\w*|revis\w+|review\w*|rewrit\w+|until it is good)\b"),
    (
        "compare",
        r"\b(opinions?|for and against|pros and cons|experts?|panel|perspectives?|debate)\b",
    ),
)
_WORD = r"(?:an? |the |it is |it's )*([A-Za-z][\w-]*)"
_LISTED = re.compile(rf"{_WORD}(?:, {_WORD})?(?:, {_WORD})?(?:, {_WORD})?,? or {_WORD}")


def pattern_prompt(description: str) -> str:
    """What the model is asked: which pattern fits."""
    shown = "\n".join(f"Task: {task}\nPattern: {pattern}" for task, pattern in _EXAMPLES)
    return f"Which pattern fits the task?\n{shown}\nTask: {description}\nPattern:"


def choices_prompt(description: str) -> str:
    """What the model is asked where the user named no choices."""
    return (
        "Name the two or three classes that the task tells apart, one word each.\n"
        'Task: Sort support tickets by urgency\nClasses: {"choices": ["urgent", "normal", "low"]}\n'
        'Task: Classify the mood of a tweet\nClasses: {"choices": ["happy", "angry", "neutral"]}\n'
        f"Task: {description}\nClasses:"
    )


def plain_pattern(description: str) -> str | None:
    """The pattern that the words name by themselves; None when the model has to say. Small models guess badly."""
    lowered = description.lower()
    return next((pattern for pattern, sign in _SIGNS if re.search(sign, lowered)), None)


def choices_in(description: str) -> list[str]:
    """The choices that the words name, as in "a question, a complaint or praise"; none when they name none."""
    found = _LISTED.search(description)
    return [word.lower() for word in found.groups() if word] if found else []


def pattern_plan(pattern: str, wishes: Sequence[str], choices: Sequence[str]) -> Plan:
    """The plan of a pattern; `wishes` are what the user said, in order."""
    wish = " ".join(wishes)
    inputs, steps = _BUILDERS[pattern](wish, choices)
    words = [w for w in re.findall(r"[A-Za-z]{2,}", wishes[0].lower()) if w not in _FILLER]
    return Plan(
        name=slug("_".join(words[:3]), otherwise="workflow"),
        description=wish,
        inputs=inputs,
        steps=steps,
    )


_FILLER = frozenset(
    """a an and the of or to in on for with it its is my your this that then please i want make write create find out
    whether which""".split()
)


def _answer(wish: str, _choices: Sequence[str]) -> tuple[list[PlannedInput], list[Step]]:
    return [_input("text", "What to work on")], [
        _step("answer", "write", f"Do this: {wish}", ["text"])
    ]


def _classify(wish: str, choices: Sequence[str]) -> tuple[list[PlannedInput], list[Step]]:
    kind = _step("kind", "classify", wish, ["message"], choices=list(choices))
    answers = [
        _step(
            f"answer_{choice}",
            "write",
            f"The message below is about: {choice}. Write a short, fitting answer to it.",
            ["message"],
            only_if=OnlyIf(step="kind", choice=choice),
        )
        for choice in choices
    ]
    return [_input("message", "The text to classify")], [kind, *answers]


def _improve(wish: str, _choices: Sequence[str]) -> tuple[list[PlannedInput], list[Step]]:
    draft = _step("draft", "write", f"Do this, and write only the text itself: {wish}", ["topic"])
    review = _step("review", "review", f"The task was: {wish}", ["draft"])
    return [_input("topic", "What it is about")], [draft, review]


def _compare(wish: str, _choices: Sequence[str]) -> tuple[list[PlannedInput], list[Step]]:
    voices = {
        "advocate": "Give one reason in favour, in one sentence.",
        "critic": "Give one reason against, in one sentence.",
        "realist": "Say in one sentence what it would take.",
    }
    asked = [_step(name, "write", told, ["question"]) for name, told in voices.items()]
    summary = _step("summary", "write", f"The task was: {wish} Sum up in two sentences.", [*voices])
    return [_input("question", "What to ask")], [*asked, summary]


_BUILDERS: Mapping[str, Any] = {
    "answer": _answer,
    "classify": _classify,
    "improve": _improve,
    "compare": _compare,
}


def _input(name: str, description: str) -> PlannedInput:
    return PlannedInput(name=name, description=description)


def _step(
    name: str,
    kind: Any,
    instruction: str,
    needs: list[str],
    *,
    choices: list[str] | None = None,
    only_if: OnlyIf | None = None,
) -> Step:
    return Step(
        id=name,
        kind=kind,
        instruction=instruction,
        needs=needs,
        choices=choices or [],
        only_if=only_if,
        code="",
        key="",
    )
