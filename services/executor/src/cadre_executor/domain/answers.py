"""What people answer to waiting runs, and what is wrong with an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cadre_executor.domain.runs import Event, EventType, Question, RaisedBudget
from cadre_kit.errors import Conflict, FailedPrecondition, InvalidInput

__all__ = [
    "TIMED_OUT",
    "Answer",
    "AnswerChosen",
    "AnswerRun",
    "Asked",
    "Asks",
    "NotWaiting",
    "UnknownChoice",
    "UnknownQuestion",
    "question_for",
]

TIMED_OUT = ""
"""The choice of a question whose deadline went by without one that counts then."""


class NotWaiting(FailedPrecondition):
    """The run has not asked for what is answered."""

    code = "RUN_NOT_WAITING"


class UnknownQuestion(InvalidInput):
    """The answer does not say which of several questions it is for."""

    code = "UNKNOWN_QUESTION"


class UnknownChoice(InvalidInput):
    """The answer is none of the choices."""

    code = "UNKNOWN_CHOICE"


class Asks(Exception):
    """What a node does cannot go on before a person has answered; `attempt` is the try that asks."""

    def __init__(self, question: Question, *, attempt: int) -> None:
        super().__init__(question.node)
        self.question = question
        self.attempt = attempt


class AnswerChosen(Conflict):
    """Somebody, or the deadline, answered otherwise before."""

    code = "ALREADY_ANSWERED"

    def __init__(self, question: Question, answer: "Answer") -> None:
        was = "nothing, for it was too late" if answer.choice == TIMED_OUT else repr(answer.choice)
        super().__init__(
            f"node {question.node!r} was already answered with {was}",
            resolution="The first answer counts; `cadre runs show` has the run as it stands.",
            metadata={"node": question.node, "choice": answer.choice, "by": answer.by},
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was chosen, and by whom."""

    choice: str
    time: datetime
    comment: str = ""
    by: str = ""

    def says_the_same(self, other: "Answer") -> bool:
        """Whether it chooses the same with the same comment, whoever says it when."""
        return (self.choice, self.comment) == (other.choice, other.comment)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with its answer, if there is one."""

    question: Question
    answer: Answer | None = None

    @property
    def place(self) -> tuple[str, int]:
        """The node and the visit that ask."""
        return self.question.node, self.question.iteration


@dataclass(frozen=True, kw_only=True)
class AnswerRun:
    """An answer to a run, or to one below it: `node` is as its question says. Empty, with `iteration` 0: to the only
    question that is open. `late`: nobody answered, so the deadline does, with the question's own choice for that.
    `raises` is given in place of what the question says that a budget is raised to."""

    run_id: str
    answer: Answer
    node: str = ""
    iteration: int = 0
    late: bool = False
    raises: RaisedBudget | None = None


def waiting_event(question: Question) -> Event:
    """Says that a node asked; the store keeps the question with it."""
    data: dict[str, Any] = {"message": question.message, "choices": list(question.choices)}
    if question.deadline is not None:
        data["deadline"] = question.deadline.isoformat()
    return Event(
        type=EventType.NODE_WAITING,
        time=question.asked_time,
        node=question.node,
        iteration=question.iteration,
        attempt=1,
        data=data,
    )


def answered_event(question: Question, answer: Answer) -> Event:
    """Says that a question has its answer."""
    return Event(
        type=EventType.NODE_ANSWERED,
        time=answer.time,
        node=question.node,
        iteration=question.iteration,
        attempt=1,
        data={"choice": answer.choice, "comment": answer.comment, "by": answer.by},
    )


def question_for(request: AnswerRun, asked: Sequence[Asked]) -> Asked:
    """The question that a request answers, an answered one only when none is open, so that the same answer may come
    again. Raises NotWaiting, UnknownQuestion, and UnknownChoice."""
    meant = [one for one in asked if _may_mean(request, one.question)]
    meant = [one for one in meant if one.answer is None] or meant[-1:]
    if not meant:
        raise NotWaiting(
            f"run {request.run_id!r} does not wait for an answer"
            + (f" at node {request.node!r}" if request.node else ""),
            resolution="`cadre runs show` has what the run waits for.",
            metadata={"run_id": request.run_id, "node": request.node},
        )
    if len(meant) > 1:
        nodes = ", ".join(one.question.node for one in meant)
        raise UnknownQuestion(
            f"run {request.run_id!r} waits for several answers: at {nodes}",
            resolution="Name the node that is answered.",
            metadata={"run_id": request.run_id, "nodes": nodes},
        )
    if not request.late:
        _check_choice(request.answer.choice, meant[0].question)
    return meant[0]


def _may_mean(request: AnswerRun, question: Question) -> bool:
    return request.node in ("", question.node) and request.iteration in (0, question.iteration)


def _check_choice(choice: str, question: Question) -> None:
    if not question.choices:
        if not choice.strip():
            raise UnknownChoice(
                f"node {question.node!r} asks for an answer in words, and this one is empty",
                resolution="Write what it asks for.",
                metadata={"node": question.node},
            )
    elif choice not in question.choices:
        choices = ", ".join(question.choices)
        raise UnknownChoice(
            f"{choice!r} is none of the choices of node {question.node!r}: {choices}",
            resolution=f"Answer with one of {choices}.",
            metadata={"node": question.node, "choices": choices},
        )
