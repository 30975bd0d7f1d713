"""Writes every request to a provider down before it is sent, and settles it however it ends; what it used and cost is
never zero for want of knowledge."""

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Protocol

from cadre_kit.errors import CadreError
from cadre_kit.ids import new_id
from cadre_kit.logs import logger
from cadre_llm_proxy.domain.calls import (
    Answer,
    BudgetWarning,
    CompletionRequest,
    Delta,
    Message,
    Options,
    Reply,
    Target,
    Usage,
)
from cadre_llm_proxy.domain.entries import Bound, Entry, EntryStatus
from cadre_llm_proxy.domain.estimates import Tokenizer, bound_of
from cadre_llm_proxy.domain.facts import BudgetExceeded, KeyMissing, ProviderFailure, Spent
from cadre_llm_proxy.domain.prices import FREE, Price, Tokens, cost_of, price_served

__all__ = ["Call", "Entries", "Kept", "Metered", "Metering", "Unanswered"]

log = logger()


@dataclass(kw_only=True)
class Call:
    """One call while it is under way; `usage` and `warnings` grow with every request to the provider.

    A budget puts a cheaper model in the target's place only if the call `may_downgrade`.
    """

    request: CompletionRequest
    target: Target
    key: str
    digest: str
    may_downgrade: bool = True
    began: float = field(default_factory=monotonic)
    usage: Usage = field(default_factory=Usage)
    warnings: tuple[BudgetWarning, ...] = ()

    def seconds_left(self) -> float:
        """How long it may still take, all requests together."""
        return self.request.timeout_seconds - (monotonic() - self.began)

    def latency_ms(self) -> int:
        """How long it has taken."""
        return round((monotonic() - self.began) * 1000)


class Unanswered(Exception):
    """A call that failed for `error` after requests were sent: `usage` is what they used, `warnings` are of the budgets
    that they brought near their limits."""

    def __init__(self, error: CadreError, call: Call) -> None:
        super().__init__(error.message)
        self.error = error
        self.usage = call.usage
        self.warnings = call.warnings


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A reply to keep: for its call's idempotency key, if it has one, and under `cache_key`, if that is not empty."""

    reply: Reply
    cache_key: str = ""

    def warned(self, warnings: Sequence[BudgetWarning]) -> "Kept":
        """The same with the warnings of budgets that are due now."""
        if not warnings:
            return self
        reply = replace(self.reply, warnings=(*self.reply.warnings, *warnings))
        return replace(self, reply=reply)


class Entries(Protocol):
    """The ledger, for requests that are sent."""

    async def open(self, entry: Entry, bound: Bound) -> bool:
        """Adds a request that is about to be sent, and reserves its worst case in every budget that holds for it; says
        whether one does. Raises BudgetExceeded, BudgetNeedsPrice and BudgetNeedsMaxTokens, and adds nothing then."""
        ...

    async def settle(
        self, entry: Entry, *, kept: Kept | None, durable: bool
    ) -> tuple[BudgetWarning, ...]:
        """Ends an opened entry and, in the same step, keeps its reply, with the warnings of budgets that are due now.
        `durable`: returns them when it is written; otherwise none, and before it is."""
        ...


class Metering:
    """Meters requests, at the times that the clock says. `target_of` finds the model that a budget downgrades to."""

    def __init__(
        self,
        *,
        entries: Entries,
        tokenizer: Tokenizer,
        target_of: Callable[[Options], Awaitable[Target]],
        clock: Callable[[], datetime],
    ) -> None:
        self._clock = clock
        self._entries = entries
        self._tokenizer = tokenizer
        self._target_of = target_of

    def request(self, call: Call, messages: Sequence[Message]) -> "Metered":
        """One request to the provider, to be entered before it is sent. Entering may change `call.target` to the
        cheaper model of a budget."""
        return Metered(self, call, messages)

    async def opened(self, call: Call, messages: Sequence[Message]) -> "Opened":
        """A request that is in the ledger, and may be sent."""
        refused_models: set[tuple[str, str]] = set()
        while True:
            try:
                return await self._open(call, messages)
            except BudgetExceeded as refused:
                refused_models.add((call.target.provider, call.target.model))
                cheaper = await self._cheaper(call, refused, refused_models)
                log.info("budget_downgraded", model=call.target.model, to=cheaper.model)
                call.target = cheaper

    async def settle(
        self, entry: Entry, *, kept: Kept | None, durable: bool
    ) -> tuple[BudgetWarning, ...]:
        """Ends an entry; the warnings of budgets that are due now."""
        return await self._entries.settle(entry, kept=kept, durable=durable)

    def likely_tokens(self, text: str) -> int:
        """About how many tokens a model took for a text."""
        return self._tokenizer.likely(text)

    async def _open(self, call: Call, messages: Sequence[Message]) -> "Opened":
        bound = await bound_of(call.target, call.request, messages, tokenizer=self._tokenizer)
        entry = _opened(call, bound, self._clock())
        bounded = await self._entries.open(entry, bound)
        return Opened(entry=entry, bounded=bounded, likely_input_tokens=bound.likely_input_tokens)

    async def _cheaper(
        self, call: Call, refused: BudgetExceeded, refused_models: Set[tuple[str, str]]
    ) -> Target:
        for named in refused.downgrades if call.may_downgrade else ():
            provider, _, model = named.partition("/")
            try:
                target = await self._target_of(Options(provider=provider, model=model))
            except KeyMissing as missing:
                # The budget is what stops the call; that its model cannot be asked is for the operator.
                log.warning("budget_cannot_downgrade", to=named, reason=missing.message)
                continue
            if (target.provider, target.model) not in refused_models:
                return target
        raise refused


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The entry of a request, whether a budget holds for it, and about how many tokens it sends."""

    entry: Entry
    bounded: bool
    likely_input_tokens: int


class Metered:
    """One request to a provider: in the ledger from before it is sent, settled when the block ends, however it ends."""

    def __init__(self, metering: Metering, call: Call, messages: Sequence[Message]) -> None:
        self._metering = metering
        self._call = call
        self._messages = messages
        self._written: list[str] = []
        self._used: Tokens | None = None
        self._answer: Answer | None = None
        self._first_token_ms: int | None = None
        self._settled = False

    async def __aenter__(self) -> "Metered":
        self._opened = await self._metering.opened(self._call, self._messages)
        self._entry = self._opened.entry
        self._began = monotonic()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._settled:
            ended = self._ended(error)
            self._call.usage += ended.usage()
            await self._settle(ended)

    def wrote(self, part: Delta) -> None:
        """More of a stream came."""
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        self._written.append(part.text + part.reasoning + part.calls)
        self._used = part.used or self._used

    def answered(self, answer: Answer) -> None:
        """The whole answer came; whether it can be used is another question."""
        self._answer = answer

    async def succeeded(self, kept_of: Callable[[str], Kept]) -> Reply:
        """Keeps the reply that `kept_of` makes for the entry's id; the call's usage has grown by then."""
        ended = self._with_use(replace(self._entry, status=EntryStatus.SUCCEEDED))
        self._call.usage += ended.usage()
        kept = kept_of(ended.id)
        return kept.warned(await self._settle(ended, kept)).reply

    async def _settle(self, ended: Entry, kept: Kept | None = None) -> tuple[BudgetWarning, ...]:
        self._settled = True
        durable = self._opened.bounded or bool(self._call.key)
        warnings = await self._metering.settle(ended, kept=kept, durable=durable)
        self._call.warnings += warnings
        return warnings

    def _ended(self, error: BaseException | None) -> Entry:
        match error:
            case ProviderFailure() if self._sent_for_nothing(error):
                ended = replace(self._entry, tokens=Tokens(), cost_usd=cost_of(Tokens(), FREE))
            case _:
                ended = self._with_use(self._entry)
        status = EntryStatus.FAILED if isinstance(error, Exception) else EntryStatus.CANCELLED
        code = error.code if isinstance(error, CadreError) else "INTERNAL"
        return replace(
            ended,
            status=status,
            error_code=code if status is EntryStatus.FAILED else "CANCELLED",
            latency_ms=self._elapsed_ms(),
            first_token_ms=self._first_token_ms,
        )

    def _sent_for_nothing(self, failure: ProviderFailure) -> bool:
        return failure.spent is Spent.NOTHING and not self._written and self._answer is None

    def _with_use(self, entry: Entry) -> Entry:
        tokens, estimated = self._use()
        price = self._price(tokens)
        cost = None if tokens is None or price is None else cost_of(tokens, price)
        if entry.price == FREE or tokens == Tokens():
            cost = cost_of(Tokens(), FREE)
        return replace(
            entry,
            price=price,
            tokens=tokens,
            estimated=estimated,
            cost_usd=cost,
            latency_ms=self._elapsed_ms(),
            first_token_ms=self._first_token_ms,
        )

    def _price(self, tokens: Tokens | None) -> Price | None:
        """That of the request as it was served; that of a short one where nobody knows how long it was."""
        return price_served(
            self._entry.price,
            self._call.request.options.params,
            said="" if self._answer is None else self._answer.service,
            sent=0 if tokens is None else tokens.input,
        )

    def _use(self) -> tuple[Tokens | None, bool]:
        if self._answer is not None and self._answer.tokens is not None:
            return self._answer.tokens, False
        if self._answer is not None:
            return self._estimated(_written(self._answer)), True
        # Without a stream nobody knows how much was written until it was cut.
        return (self._estimated("".join(self._written)), True) if self._written else (None, False)

    def _estimated(self, written: str) -> Tokens:
        """About how many tokens were used; what the provider said of those that were sent is better known."""
        likely = self._metering.likely_tokens(written)
        if self._used is None:
            return Tokens(input=self._opened.likely_input_tokens, output=likely)
        return replace(self._used, output=max(likely, self._used.output))

    def _elapsed_ms(self) -> int:
        return round((monotonic() - self._began) * 1000)


def _opened(call: Call, bound: Bound, time: datetime) -> Entry:
    return Entry(
        id=new_id(),
        time=time,
        idempotency_key=call.key,
        request_digest=call.digest,
        attribution=call.request.attribution,
        provider=call.target.provider,
        model=call.target.model,
        price=bound.price,
        reserved_usd=bound.usd,
        reserved_tokens=bound.tokens or 0,
    )


def _written(answer: Answer) -> str:
    calls = "".join(call.name + call.arguments for call in answer.tool_calls)
    return answer.reasoning + answer.content + calls
