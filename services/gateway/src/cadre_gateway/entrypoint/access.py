"""Who asks, and what that allows: the key of a request, and the scope that each route declares."""

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request, Security, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from cadre_gateway.adapters.keys import Keys
from cadre_gateway.domain.api_keys import (
    AdminKey,
    Allowance,
    Caller,
    KeyMissing,
    KeyWrong,
    Scope,
)
from cadre_gateway.domain.people import Admissions, Person, PersonNotAllowed
from cadre_gateway.domain.rates import Rates
from cadre_kit.errors import CadreError

if TYPE_CHECKING:
    from cadre_gateway.adapters.openid import OpenIdProvider

__all__ = [
    "ADMIN",
    "READ",
    "RUN",
    "WRITE",
    "Authentication",
    "Identified",
    "People",
    "TheCaller",
    "caller_of",
    "is_by_signature",
    "is_open",
    "require",
    "scope_of",
]

_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/api/v1/schema"})
_BY_SIGNATURE = "/hooks/"
_LONGEST_KEY = 512
# Three parts, which no key of ours has.
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


def is_open(path: str) -> bool:
    """Whether no key is asked for: nothing of anybody's is there, or a signature is asked for instead."""
    return path in _OPEN_PATHS or is_by_signature(path)


def is_by_signature(path: str) -> bool:
    """Whether deliveries of triggers come here."""
    return path.startswith(_BY_SIGNATURE)


class _Key(HTTPBearer):
    """What a route asks of the key; FastAPI describes it in OpenAPI by this."""

    def __init__(self, needed: Scope) -> None:
        super().__init__(
            auto_error=False,
            scheme_name="key",
            description="A key of `cadre keys create`, the one in the file api-key in CADRE_HOME, or an ID token of "
            "the OpenID provider that is set.",
        )
        self.needed = needed

    async def __call__(self, request: HTTPConnection) -> HTTPAuthorizationCredentials | None:
        """Raises ScopeMissing."""
        require(request, self.needed)
        return None


def _needs(scope: Scope) -> params.Security:
    security: params.Security = Security(_Key(scope), scopes=[scope.value])
    return security


READ, RUN, WRITE, ADMIN = map(_needs, Scope)
"""What a route names among its dependencies: the least that the caller's key must be allowed to do."""


def scope_of(dependencies: list[params.Depends]) -> Scope | None:
    """The scope among a route's dependencies; None when it declares none."""
    keys = [each.dependency for each in dependencies if isinstance(each.dependency, _Key)]
    return keys[0].needed if keys else None


def require(request: HTTPConnection, needed: Scope) -> None:
    """Raises ScopeMissing unless the request's key has the scope. What was asked last is what the request does."""
    request.scope["cadre.needed"] = needed
    caller_of(request).check(needed)


def caller_of(request: HTTPConnection) -> Caller:
    """Whose key the request carries."""
    caller: Caller = request.scope["cadre.caller"]
    return caller


async def _the_caller(request: Request) -> Caller:
    return caller_of(request)


TheCaller = Annotated[Caller, Depends(_the_caller)]


@dataclass(frozen=True, kw_only=True)
class Identified:
    """Who asks, where that key stands with its rate, and why it is refused all the same; None when it is not."""

    caller: Caller
    allowance: Allowance | None = None
    refusal: CadreError | None = None


@dataclass(frozen=True, kw_only=True)
class People:
    """Those who signed in at an OpenID provider, and what they may do here."""

    provider: "OpenIdProvider"
    admissions: Admissions
    groups_claim: str
    rates: Rates

    async def identify(self, token: str) -> Identified:
        """Who an ID token is about. Raises IdTokenRefused, IdTokenExpired, OpenIdProviderUnusable."""
        person = Person.of(await self.provider.claims(token), groups_claim=self.groups_claim)
        caller = self.admissions.caller(person)
        if caller is None:
            nobody = Caller(name=person.name, prefix="", scope=Scope.READ)
            return Identified(caller=nobody, refusal=PersonNotAllowed(person))
        return _within(self.rates.take(person.name, now=time.time()), caller)


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """All that opens the API: keys, and ID tokens where there is an OpenID provider."""

    admin: AdminKey
    keys: Keys
    people: People | None = None

    async def identify(self, authorization: str) -> Identified:
        """Whose key or ID token the header holds. Raises KeyMissing, KeyWrong, and what `People.identify` raises."""
        scheme, _, presented = authorization.partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            raise KeyMissing(
                "the request carries no API key",
                resolution="Send the header `Authorization: Bearer KEY`, with a key of `cadre keys create` or the one "
                "in the file api-key in CADRE_HOME.",
            )
        if self.admin.opens_with(presented):
            return Identified(caller=self.admin.caller)
        if self.people is not None and _JWT.fullmatch(presented):
            return await self.people.identify(presented)
        found = await self.keys.use(presented) if len(presented) <= _LONGEST_KEY else None
        if found is None:
            raise KeyWrong(
                "the API key is not one of the gateway's",
                resolution="Send a key of `cadre keys create`, or the one in the file api-key in the CADRE_HOME of "
                "this gateway.",
            )
        key = found.key
        caller = Caller(name=key.name, prefix=key.prefix, scope=key.scope)
        if found.allowance is None:
            return Identified(caller=caller, refusal=key.refusal(time.time()))
        return _within(found.allowance, caller)


def _within(allowance: Allowance, caller: Caller) -> Identified:
    refusal = allowance.exceeded(caller.name) if allowance.retry_seconds > 0 else None
    return Identified(caller=caller, allowance=allowance, refusal=refusal)
