"""What a call does after a failure: mend the reply, drop an option, try again, ask another model, or give up."""

import asyncio
import random
from dataclasses import replace

from cadre_kit.logs import logger
from cadre_llm_proxy.domain.calls import Ask, CompletionRequest, Options, Target
from cadre_llm_proxy.domain.facts import (
    KeyMissing,
    OptionUnsupported,
    OutputInvalid,
    ProviderFailure,
    TimeUsedUp,
)
from cadre_llm_proxy.domain.forms import MENDS, Form, form_of
from cadre_llm_proxy.domain.metering import Call
from cadre_llm_proxy.domain.providers import Providers
from cadre_llm_proxy.domain.routes import Route, Routes, route_to

__all__ = ["Tries", "pause_seconds"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# What providers call our options.
_OPTIONS = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "logprobs": "top_logprobs",
}
_DROPPABLE = frozenset({"temperature", "max_tokens", "top_p", "seed", "top_logprobs", "stop"})
log = logger()


class Tries:
    """The tries of one call. `call` always says what is asked now, and of whom; `form` how it is put.

    A model is asked `retries` more times when it fails in passing, unless there is another one to ask.
    """

    route: Route
    form: Form

    def __init__(
        self,
        request: CompletionRequest,
        *,
        key: str,
        digest: str,
        providers: Providers,
        routes: Routes,
        retries: int,
        drops: bool,
    ) -> None:
        self._providers = providers
        self._routes = routes
        self._retries = retries
        self._drops = drops
        self._plan = routes.plan(request)
        self.dropped: tuple[str, ...] = ()
        route, target = self._reachable(None)
        self.call = Call(
            request=replace(request, options=route.options), target=target, key=key, digest=digest
        )
        self._begin(route)

    def ask(self) -> Ask:
        """What is sent next. Raises TimeUsedUp when the call's time is."""
        seconds = self.call.seconds_left()
        if seconds <= 0:
            raise TimeUsedUp(
                f"the call's {self.call.request.timeout_seconds:g} s were used up before another try",
                resolution="Try again, or give the node a longer timeout.",
            )
        target = self.call.target
        if target != self._target:
            self._go_down(target)
        return Ask(
            target=target,
            options=self.call.request.options,
            messages=self.form.messages,
            output_schema=self.form.output_schema,
            tools=self.form.tools,
            tool_choice=self.form.tool_choice,
            seconds=seconds,
        )

    @property
    def has_others(self) -> bool:
        """Whether another model can be asked when this one fails."""
        return bool(self._plan)

    def worked(self) -> None:
        """The model answered."""
        self._routes.worked(self.route)

    async def after(self, failure: ProviderFailure) -> None:
        """Makes the call ready for its next try, and waits until then. Raises `failure` when there is none."""
        self._routes.failed(self.route, failure)
        if isinstance(failure, OutputInvalid) and self._mends:
            self._mends -= 1
            self.form = self.form.asked_again(failure)
        elif isinstance(failure, OptionUnsupported) and self._dropped_option(failure):
            return
        elif failure.passing and not self._plan and self._left:
            await self._pause(failure)
        elif self._plan and failure.may_pass_elsewhere:
            self._go_on(failure)
        else:
            raise failure

    def _go_on(self, failure: ProviderFailure) -> None:
        route, target = self._reachable(failure)
        log.info("model_fallback", code=failure.code, model=self.call.target.model, to=target.model)
        self.call.target = target
        self.call.request = replace(self.call.request, options=route.options)
        self._begin(route)

    def _go_down(self, target: Target) -> None:
        """A budget put a cheaper model in the place of the one that was meant: it may be able to do less, and how it
        fares says nothing of the other."""
        self._target = target
        self.route = route_to(target, self.call.request.options)
        if self.form.abilities != target.abilities:
            self.form = form_of(self.call.request, target)

    def _begin(self, route: Route) -> None:
        self.route = route
        self._target = self.call.target
        self.form = form_of(self.call.request, self._target)
        self._mends = MENDS
        self._left = self._retries

    def _reachable(self, failure: ProviderFailure | None) -> tuple[Route, Target]:
        """The next model that there is a key for. Raises `failure`, or the first key that is missing."""
        error: ProviderFailure | KeyMissing | None = failure
        while self._plan:
            route = self._plan.pop(0)
            try:
                return route, self._providers.target(route.options)
            except KeyMissing as missing:
                error = error or missing
        assert error is not None, "a plan has a model"
        raise error

    async def _pause(self, failure: ProviderFailure) -> None:
        pause = pause_seconds(failure.retry_after_seconds, self._retries - self._left)
        if pause > min(_LONGEST_PAUSE_SECONDS, self.call.seconds_left()):
            raise failure
        self._left -= 1
        await asyncio.sleep(pause)

    def _dropped_option(self, failure: OptionUnsupported) -> bool:
        name = failure.metadata.get("param", "")
        options = _without(self.call.request.options, _OPTIONS.get(name, name))
        if not self._drops or options is None:
            return False
        self.dropped = (*self.dropped, name)
        self.call.request = replace(self.call.request, options=options)
        return True


def pause_seconds(retry_after_seconds: float | None, tried: int) -> float:
    """How long to wait after `tried` tries more than the first: never less than the provider says. By chance up
    to a tenth longer than that, or up to twice as long as at least: what failed together does not come back together.
    """
    if retry_after_seconds is not None:
        return retry_after_seconds * random.uniform(1, 1.1)
    return random.uniform(0.5, 1) * _FIRST_PAUSE_SECONDS * 2.0**tried


def _without(options: Options, name: str) -> Options | None:
    """The options without one of them; None when it is not among them."""
    if name in options.params:
        return replace(options, params={k: v for k, v in options.params.items() if k != name})
    if name not in _DROPPABLE:
        return None
    changed = replace(options, **{name: getattr(Options(), name)})
    return None if changed == options else changed
