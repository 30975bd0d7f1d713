"""Questions of waiting runs, and their answers, as rows."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import sqlalchemy as sa

from cadre_executor.adapters.database import QUESTIONS, RUNS
from cadre_executor.adapters.documents import (
    loaded,
    moment,
    raised_from_text,
    raised_to_text,
    seconds,
)
from cadre_executor.adapters.kin import Relative, below
from cadre_executor.domain.answers import (
    Answer,
    AnswerChosen,
    AnswerRun,
    Asked,
    question_for,
)
from cadre_executor.domain.runs import Question
from cadre_kit.documents import json_text
from cadre_kit.transactions import Statements

__all__ = [
    "addressed",
    "answer",
    "ask",
    "by_visit",
    "forget_stops",
    "open_ones",
    "overdue",
    "put_off",
]

# Who answers when nobody did in time.
_TIMEOUT = "timeout"
_AT_ONCE = 500

_ADD = sa.insert(QUESTIONS)
_DROP = sa.delete(QUESTIONS).where(
    QUESTIONS.c.run_id == sa.bindparam("run"),
    QUESTIONS.c.node == sa.bindparam("asking"),
    QUESTIONS.c.iteration == sa.bindparam("visit"),
)


def ask(statements: Statements, run_id: str, questions: Sequence[Question]) -> None:
    """Stores questions, each in place of an earlier one of the same visit."""
    for question in questions:
        place = {"run": run_id, "asking": question.node, "visit": question.iteration}
        statements.change(_DROP, place)
    statements.add(_ADD, [_row(run_id, question) for question in questions])


def by_visit(connection: sa.Connection, run_id: str) -> dict[tuple[str, int], Asked]:
    """All questions of a run, by node and visit, in the order in which they were asked."""
    return {asked.place: asked for asked in _all(connection, [run_id])}


def open_ones(connection: sa.Connection, family: Mapping[str, Relative]) -> tuple[Question, ...]:
    """What a run and those below it ask and nobody has answered, as that run says it."""
    asked = _all(connection, family, only_open=True)
    return tuple(_seen_from_above(each, family).question for each in asked)


def addressed(connection: sa.Connection, request: AnswerRun) -> AnswerRun:
    """The request as the run gets it that asks: the one that it names, or one below. Raises UnknownQuestion,
    UnknownChoice, and NotWaiting when those below are asked for what they do not wait for."""
    family = below(connection, request.run_id, ended=True)
    if len(family) < 2:
        return request
    own = [
        each
        for each in _all(connection, family)
        if each.answer is not None or not family[each.question.run_id].has_ended
    ]
    shown = [_seen_from_above(each, family) for each in own]
    meant = own[shown.index(question_for(request, shown))].question
    return replace(request, run_id=meant.run_id, node=meant.node, iteration=meant.iteration)


def _seen_from_above(asked: Asked, family: Mapping[str, Relative]) -> Asked:
    question = asked.question
    path = family[question.run_id].path
    return replace(asked, question=replace(question, node=path + question.node))


def answer(connection: sa.Connection, request: AnswerRun, *, ended: bool) -> Question | None:
    """Stores an answer; None when the same one was there. Nothing new is taken of a run that has ended. Raises
    NotWaiting, UnknownQuestion, UnknownChoice and AnswerChosen."""
    asked = _all(connection, [request.run_id])
    if ended:
        asked = [one for one in asked if one.answer is not None]
    found = question_for(request, asked)
    if found.answer is not None:
        if not found.answer.says_the_same(request.answer):
            raise AnswerChosen(found.question, found.answer)
        return None
    said = request.answer
    connection.execute(
        sa.update(QUESTIONS)
        .where(
            QUESTIONS.c.run_id == request.run_id,
            QUESTIONS.c.node == found.question.node,
            QUESTIONS.c.iteration == found.question.iteration,
        )
        .values(
            choice=said.choice,
            comment=said.comment,
            answered_by=said.by,
            answered_time=seconds(said.time),
            due=None,
        )
    )
    return found.question


def overdue(connection: sa.Connection, *, now: float, limit: int) -> list[AnswerRun]:
    """What to answer to the questions of runs that have not ended whose deadline is over."""
    statement = (
        sa.select(
            QUESTIONS.c.run_id, QUESTIONS.c.node, QUESTIONS.c.iteration, QUESTIONS.c.on_timeout
        )
        .join(RUNS, RUNS.c.id == QUESTIONS.c.run_id)
        .where(QUESTIONS.c.due < now, RUNS.c.ended_time.is_(None))
        .order_by(QUESTIONS.c.due)
        .limit(limit)
    )
    time = datetime.now(UTC)
    return [
        AnswerRun(
            run_id=run_id,
            node=node,
            iteration=iteration,
            answer=Answer(choice=choice, time=time, by=_TIMEOUT),
            late=True,
        )
        for run_id, node, iteration, choice in connection.execute(statement)
    ]


def forget_stops(connection: sa.Connection, run_id: str) -> None:
    """Lets go of answers by which people stopped a run whose budget was used up: it goes on after all."""
    connection.execute(
        sa.delete(QUESTIONS).where(QUESTIONS.c.run_id == run_id, QUESTIONS.c.raises.is_not(None))
    )


def put_off(connection: sa.Connection, run_id: str, *, pause: float) -> None:
    """Moves the deadlines of a run's open questions; `pause` is in seconds."""
    connection.execute(
        sa.update(QUESTIONS)
        .where(QUESTIONS.c.run_id == run_id, QUESTIONS.c.due.is_not(None))
        .values(due=QUESTIONS.c.due + pause, deadline=QUESTIONS.c.deadline + pause)
    )


def _all(
    connection: sa.Connection, run_ids: Collection[str], *, only_open: bool = False
) -> list[Asked]:
    """The questions of runs, in the order in which they were asked."""
    found: list[Asked] = []
    for some in _portions(run_ids):
        statement = sa.select(QUESTIONS).where(QUESTIONS.c.run_id.in_(some))
        if only_open:
            statement = statement.where(QUESTIONS.c.choice.is_(None))
        found += [_asked(row) for row in connection.execute(statement).mappings()]
    return sorted(found, key=lambda each: (each.question.asked_time, *each.place))


def _portions(run_ids: Collection[str]) -> Iterable[Sequence[str]]:
    """Databases bound how many values a statement has."""
    ids = list(run_ids)
    return (ids[first : first + _AT_ONCE] for first in range(0, len(ids), _AT_ONCE))


def _asked(row: sa.RowMapping) -> Asked:
    deadline = row["deadline"]
    question = Question(
        node=row["node"],
        iteration=row["iteration"],
        message=row["message"],
        choices=tuple(loaded(row["choices"])),
        asked_time=moment(row["asked_time"]),
        deadline=None if deadline is None else moment(deadline),
        on_timeout=row["on_timeout"],
        raises=raised_from_text(row["raises"]),
        run_id=row["run_id"],
    )
    if row["choice"] is None:
        return Asked(question=question)
    answer = Answer(
        choice=row["choice"],
        time=moment(row["answered_time"]),
        comment=row["comment"],
        by=row["answered_by"],
    )
    return Asked(question=question, answer=answer)


def _row(run_id: str, question: Question) -> dict[str, object]:
    deadline = None if question.deadline is None else seconds(question.deadline)
    return {
        "run_id": run_id,
        "node": question.node,
        "iteration": question.iteration,
        "message": question.message,
        "choices": json_text(question.choices),
        "asked_time": seconds(question.asked_time),
        "deadline": deadline,
        "on_timeout": question.on_timeout,
        "due": deadline,
        "choice": None,
        "comment": None,
        "answered_by": None,
        "answered_time": None,
        "raises": raised_to_text(question.raises),
    }
