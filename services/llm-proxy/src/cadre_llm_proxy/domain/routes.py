"""Which models a call may be put to, in which order, and how much each of them is given at once."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic
from urllib.parse import urlsplit

from cadre_llm_proxy.domain.calls import CompletionRequest, Options, Target
from cadre_llm_proxy.domain.entries import Entry
from cadre_llm_proxy.domain.facts import ModelBusy, ProviderFailure, RateLimited, RequestInvalid

__all__ = ["Deployment", "Group", "Limits", "Route", "Routes", "Standing", "route_to"]

_MINUTE_SECONDS = 60.0
_FAILURES_TO_COOL = 3
_MOST_FAILING = 10_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a deployment is given: None is no limit. `queue` calls may wait for it."""

    concurrent: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    queue: int = 100

    @property
    def are_by_the_minute(self) -> bool:
        """Whether what was sent within the last minute counts."""
        return self.requests_per_minute is not None or self.tokens_per_minute is not None


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model of a group, where it is reached, and how often it is asked first, by its share of all weights."""

    provider: str
    model: str
    api_base: str = ""
    api_key_env: str = ""
    weight: float = 1.0
    limits: Limits = field(default_factory=Limits)

    @property
    def host(self) -> str:
        """Host and port of its address; empty when it is the provider's usual one."""
        return urlsplit(self.api_base).netloc.rpartition("@")[2]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Models under one name. `fallbacks` are names of groups, or PROVIDER/MODEL, that are asked after all of them."""

    name: str
    deployments: tuple[Deployment, ...]
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a deployment is now: asked last for `cooling_seconds` more, with `waiting` calls beyond its limits;
    `unavailable` says why it cannot be asked, if so."""

    deployment: Deployment
    unavailable: str = ""
    cooling_seconds: float = 0.0
    waiting: int = 0


@dataclass(frozen=True, kw_only=True)
class Route:
    """One model that a call may be put to, and how it is asked."""

    options: Options
    limits: Limits = field(default_factory=Limits)

    @property
    def deployment(self) -> tuple[str, str, str, str]:
        """What is limited and cooled as one."""
        options = self.options
        return options.provider, options.model, options.api_base, options.api_key_env


class Routes:
    """Orders models by what was asked for, by weight, and by whether they worked of late.

    One that failed three times in a row, or says for how long it wants no request, is asked last until
    `cooldown_seconds` are over, or what it said.
    """

    def __init__(self, groups: Mapping[str, Group], *, cooldown_seconds: float) -> None:
        self._groups = groups
        self._cooldown_seconds = cooldown_seconds
        self._gates: dict[tuple[str, ...], _Gate] = {}
        self._failures: dict[tuple[str, ...], int] = {}
        self._cool_until: dict[tuple[str, ...], float] = {}

    @property
    def groups(self) -> Sequence[Group]:
        """The groups, by name."""
        return [group for _, group in sorted(self._groups.items())]

    def plan(self, request: CompletionRequest) -> list[Route]:
        """The models for a request, the first one first; at least one."""
        routes = [
            route
            for options in (request.options, *request.fallbacks)
            for route in self._expanded(options, frozenset())
        ]
        now = monotonic()
        return sorted(routes, key=lambda route: self._cool_until.get(route.deployment, 0.0) > now)

    def standing(self, deployment: Deployment, refusal: Callable[[Options], str]) -> Standing:
        """How a deployment is now; `refusal` says why its options cannot be asked, if so."""
        route = _route(Options(), deployment)
        key = route.deployment
        gate = self._gates.get(key)
        return Standing(
            deployment=deployment,
            unavailable=refusal(route.options),
            cooling_seconds=max(0.0, self._cool_until.get(key, 0.0) - monotonic()),
            waiting=0 if gate is None else gate.waiting,
        )

    def admitted(
        self, route: Route, *, tokens: int, seconds: float
    ) -> AbstractAsyncContextManager[None]:
        """A place at a route's model for one request of about `tokens`. Raises ModelBusy."""
        if route.limits == Limits():
            return nullcontext()
        return self._gate(route).admitted(tokens, seconds)

    def remember(self, entries: Sequence[Entry], now: datetime) -> None:
        """Counts requests of the last minute, the newest first, in the limits by the minute of the models that they
        were put to: those of each address, as the ledger does not say at which it was."""
        for deployment in self._limited_by_the_minute:
            of_model = (deployment.provider, deployment.model)
            sent = [e for e in entries if (e.provider, e.model) == of_model and e.was_sent]
            self._gate(_route(Options(), deployment)).remember(sent, now)

    @property
    def forgets(self) -> bool:
        """Whether there are limits by the minute, for which `remember` is needed at a start."""
        return bool(self._limited_by_the_minute)

    @property
    def _limited_by_the_minute(self) -> list[Deployment]:
        every = (each for group in self.groups for each in group.deployments)
        return [each for each in every if each.limits.are_by_the_minute]

    def _gate(self, route: Route) -> "_Gate":
        gate = self._gates.get(route.deployment)
        if gate is None:
            gate = _Gate(route.limits, name=f"{route.options.provider}/{route.options.model}")
            self._gates[route.deployment] = gate
        return gate

    def worked(self, route: Route) -> None:
        """The route's model answered."""
        self._failures.pop(route.deployment, None)
        self._cool_until.pop(route.deployment, None)

    def failed(self, route: Route, failure: ProviderFailure) -> None:
        """The route's model did not answer."""
        if not failure.is_of_the_server:
            return
        if len(self._failures) > _MOST_FAILING:
            # Addresses are named by workflows, so there is no end to them.
            self._failures.clear()
            self._cool_until.clear()
        times = self._failures.get(route.deployment, 0) + 1
        self._failures[route.deployment] = times
        said = failure.retry_after_seconds if isinstance(failure, RateLimited) else None
        if said is not None or times >= _FAILURES_TO_COOL:
            seconds = self._cooldown_seconds if said is None else said
            self._cool_until[route.deployment] = monotonic() + seconds

    def _is_full(self, route: Route) -> bool:
        gate = self._gates.get(route.deployment)
        return gate is not None and gate.would_wait(0)

    def _expanded(self, options: Options, seen: frozenset[str]) -> list[Route]:
        group = None if options.provider else self._groups.get(options.model)
        if group is None:
            return [Route(options=options)]
        if group.name in seen:
            return []
        if options.api_base or options.api_key_env:
            raise RequestInvalid(
                f"model group {group.name!r} has addresses and keys of its own",
                resolution="Leave api_base and api_key_env out, or name a provider and a model.",
                metadata={"group": group.name},
            )
        drawn = [_route(options, deployment) for deployment in _shuffled(group.deployments)]
        # None waits for a place while another of the group has one.
        routes = sorted(drawn, key=self._is_full)
        for name in group.fallbacks:
            named = self._named(options, name)
            routes += self._expanded(named, seen | {group.name})
        return routes

    def _named(self, options: Options, name: str) -> Options:
        if name in self._groups:
            return replace(options, provider="", model=name)
        provider, _, model = name.partition("/")
        return replace(options, provider=provider, model=model)


def route_to(target: Target, options: Options) -> Route:
    """The way to a model by its provider's name, at its usual address."""
    deployment = Deployment(provider=target.provider, model=target.model)
    return _route(options, deployment)


def _route(options: Options, deployment: Deployment) -> Route:
    reached = replace(
        options,
        provider=deployment.provider,
        model=deployment.model,
        api_base=deployment.api_base,
        api_key_env=deployment.api_key_env,
    )
    return Route(options=reached, limits=deployment.limits)


def _shuffled(deployments: Sequence[Deployment]) -> list[Deployment]:
    """In an order in which each comes first as often as its weight says."""
    return sorted(deployments, key=lambda each: random.random() ** (1 / each.weight), reverse=True)


class _Gate:
    """Lets calls to one deployment through within its limits, first come, first served."""

    def __init__(self, limits: Limits, *, name: str) -> None:
        self._limits = limits
        self._name = name
        self._turn = asyncio.Lock()
        self._places = asyncio.Semaphore(limits.concurrent or 1)
        self._waiting = 0
        self._sent: deque[tuple[float, int]] = deque()

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return self._waiting

    def remember(self, sent: Sequence[Entry], now: datetime) -> None:
        """Counts requests that were sent, the newest first."""
        for entry in sent:
            ago = (now - entry.time).total_seconds()
            self._sent.appendleft((monotonic() - ago, entry.counted().tokens))

    @asynccontextmanager
    async def admitted(self, tokens: int, seconds: float) -> AsyncIterator[None]:
        """A place, within `seconds`. Raises ModelBusy."""
        await self._enter(tokens, seconds)
        try:
            yield
        finally:
            if self._limits.concurrent is not None:
                self._places.release()

    async def _enter(self, tokens: int, seconds: float) -> None:
        if self._waiting >= self._limits.queue and self.would_wait(tokens):
            queue = self._limits.queue
            raise self._busy(f"{queue} calls wait for it already" if queue else "none may wait")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds), self._turn:
                await self._wait_for_rates(tokens)
                if self._limits.concurrent is not None:
                    await self._places.acquire()
                self._sent.append((monotonic(), tokens))
        except TimeoutError as exc:
            raise self._busy(f"no place came free within {seconds:.1f} s") from exc
        finally:
            self._waiting -= 1

    def would_wait(self, tokens: int) -> bool:
        """Whether a call would have to wait now."""
        no_place = self._limits.concurrent is not None and self._places.locked()
        return no_place or self._turn.locked() or self._is_full(tokens)

    async def _wait_for_rates(self, tokens: int) -> None:
        while self._is_full(tokens):  # noqa: ASYNC110 - time alone makes room
            await asyncio.sleep(self._sent[0][0] + _MINUTE_SECONDS - monotonic())

    def _is_full(self, tokens: int) -> bool:
        """Whether one more request would pass a limit by the minute; an empty minute takes any request."""
        while self._sent and self._sent[0][0] <= monotonic() - _MINUTE_SECONDS:
            self._sent.popleft()
        if not self._sent:
            return False
        requests, most = self._limits.requests_per_minute, self._limits.tokens_per_minute
        if requests is not None and len(self._sent) >= requests:
            return True
        return most is not None and sum(each for _, each in self._sent) + tokens > most

    def _busy(self, why: str) -> ModelBusy:
        return ModelBusy(
            f"model {self._name!r} is given no more calls for now: {why}",
            resolution="Try again later, or raise its limits in the file of CADRE_LLM_MODELS_FILE.",
            metadata={"model": self._name},
        )
