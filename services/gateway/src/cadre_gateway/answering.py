"""Answers deliveries that ask for something else than a run."""

from dataclasses import dataclass

from cadre_gateway.adapters.inbox import Inbox
from cadre_gateway.adapters.runs import answer_run, cancel_run, news_of
from cadre_gateway.adapters.services import Executor
from cadre_gateway.domain.actions import (
    AnswerQuestion,
    CancelRun,
    MoveConversation,
    Say,
    ShowStatus,
    StartRun,
    TellBatchEnd,
    TellEnd,
    question_mark,
)
from cadre_gateway.domain.deliveries import Delivery, DeliveryStatus, RunNews, RunQuestion
from cadre_kit.errors import Conflict, FailedPrecondition, InvalidInput, NotFound

__all__ = ["Answering"]

_NOTHING_YET = "Nothing was started here yet."
_NO_QUESTION = "There is no such question here."
_ANSWERED = "That was answered already."


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Does what is asked for, and says what to answer. Doing it twice does no harm."""

    inbox: Inbox
    executor: Executor

    async def words(self, delivery: Delivery) -> str:
        """What the sender is told; empty for nothing. Raises what keeps it from being done."""
        match delivery.action:
            case Say(text=text):
                return text
            case ShowStatus():
                return await self._status(delivery)
            case CancelRun():
                return await self._cancelled(delivery)
            case MoveConversation(former=former):
                await self.inbox.move_conversation(delivery, former)
                return ""
            case AnswerQuestion() as answer:
                return await self._answered(delivery, answer)
            case StartRun() | TellEnd() | TellBatchEnd():
                return ""

    async def _status(self, delivery: Delivery) -> str:
        last = await self.inbox.last_run(delivery)
        if last is None:
            return _NOTHING_YET
        if last.status in (DeliveryStatus.RECEIVED, DeliveryStatus.PARKED):
            return f"{last.workflow}: {_UNSTARTED[last.status]}"
        news = await self._news(last.run_id)
        status = "is running" if news is None else _STATUS_WORDS.get(news.status, news.status)
        return f"{last.workflow} {status} (run {last.run_id})."

    async def _cancelled(self, delivery: Delivery) -> str:
        last = await self.inbox.last_run(delivery)
        if last is None:
            return _NOTHING_YET
        if last.status is not DeliveryStatus.STARTED:
            return "Nothing is running here."
        await cancel_run(self.executor, last.run_id)
        # Whoever is told how the run ends is told of this.
        return "" if last.awaits_end else f"The run {last.run_id} is cancelled."

    async def _answered(self, delivery: Delivery, answer: AnswerQuestion) -> str:
        asked = await self.inbox.of_run(answer.run_id)
        # What is on a button can be forged by whoever pushes it.
        if asked is None or (asked.source, asked.conversation) != (
            delivery.source,
            delivery.conversation,
        ):
            return _NO_QUESTION
        news = await self._news(answer.run_id)
        question = _question(news, answer) if news is not None else None
        if question is None:
            return _ANSWERED
        choice = _choice(question, answer)
        if choice is None:
            return _NO_QUESTION
        by = f"{delivery.kind}/{delivery.content.get('sender', '')}"[:100]
        try:
            await answer_run(
                self.executor, run_id=answer.run_id, question=question, choice=choice, by=by
            )
        except (Conflict, FailedPrecondition):
            return _ANSWERED
        except InvalidInput as error:
            return error.message
        return f"Answered: {choice}"

    async def _news(self, run_id: str) -> RunNews | None:
        try:
            return await news_of(self.executor, run_id)
        except NotFound:
            return None


_UNSTARTED = {
    DeliveryStatus.RECEIVED: "waits to be started.",
    DeliveryStatus.PARKED: "could not be started or answered; its operator can see why.",
}
_STATUS_WORDS = {
    "waiting": "waits for an answer",
    "succeeded": "has succeeded",
    "failed": "has failed",
    "cancelled": "was cancelled",
}


def _question(news: RunNews, answer: AnswerQuestion) -> RunQuestion | None:
    """The question that is answered, if it is open."""
    for each in news.questions:
        meant = answer.mark in ("", question_mark(each.node))
        if meant and answer.iteration in (0, each.iteration):
            return each
    return None


def _choice(question: RunQuestion, answer: AnswerQuestion) -> str | None:
    if answer.choice is None:
        return answer.words
    if 0 <= answer.choice < len(question.choices):
        return question.choices[answer.choice]
    return None
