"""What approval nodes do: ask a person once a visit, and take the answer when it is there."""

from datetime import UTC, datetime, timedelta

from cadre_executor.domain.answers import TIMED_OUT, Asked
from cadre_executor.domain.results import Result
from cadre_executor.domain.runs import Question
from cadre_executor.domain.workflows import ApprovalAction, Scope
from cadre_kit.errors import DeadlineExceeded

__all__ = ["ApprovalTimeout", "answered", "question_of"]


class ApprovalTimeout(DeadlineExceeded):
    """Nobody answered in time, and the node names no choice for that."""

    code = "APPROVAL_TIMEOUT"


def question_of(node: str, iteration: int, action: ApprovalAction, scope: Scope) -> Question:
    """What the node asks now."""
    now = datetime.now(UTC)
    seconds = action.timeout_seconds
    return Question(
        node=node,
        iteration=iteration,
        message=action.message.render(scope),
        choices=action.choices,
        asked_time=now,
        deadline=None if seconds is None else now + timedelta(seconds=seconds),
        on_timeout=action.on_timeout,
    )


def answered(asked: Asked) -> Result:
    """What the answer gives the node. Raises ApprovalTimeout."""
    assert asked.answer is not None
    if asked.answer.choice == TIMED_OUT:
        raise ApprovalTimeout(
            f"nobody answered node {asked.question.node!r} in time",
            resolution="Raise the node's timeout, or name the choice that counts then as on_timeout.",
            metadata={"node": asked.question.node},
        )
    answer = asked.answer
    return Result(
        value={"choice": answer.choice, "comment": answer.comment, "by": answer.by},
    )
