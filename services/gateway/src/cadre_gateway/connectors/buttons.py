"""What is on a button that answers a run's question: which run, which question of it, which choice."""

import re

from cadre_gateway.domain.actions import AnswerQuestion, question_mark
from cadre_gateway.domain.deliveries import RunQuestion

__all__ = ["button", "pushed"]

_BUTTON = re.compile(r"a:([0-9A-Z]{26}):([0-9a-f]{8}):([0-9]{1,6}):([0-9]{1,3})")


def button(run_id: str, question: RunQuestion, choice: int) -> str:
    """At most 52 characters; Telegram takes 64."""
    return f"a:{run_id}:{question_mark(question.node)}:{question.iteration}:{choice}"


def pushed(data: str) -> AnswerQuestion | None:
    """What a button says; None for one that is not ours."""
    found = _BUTTON.fullmatch(data)
    if found is None:
        return None
    run_id, mark, iteration, choice = found.groups()
    return AnswerQuestion(run_id=run_id, mark=mark, iteration=int(iteration), choice=int(choice))
