"""API keys: what each may do, how often and until when; and the one key that is there from the start."""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from enum import Enum

from cadre_kit.errors import (
    AlreadyExists,
    CadreError,
    FailedPrecondition,
    InvalidInput,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)

__all__ = [
    "ADMIN_NAME",
    "AdminKey",
    "Allowance",
    "ApiKey",
    "Caller",
    "KeyExists",
    "KeyExpired",
    "KeyMissing",
    "KeyNotFound",
    "KeyReserved",
    "KeyRevoked",
    "KeyWrong",
    "NewSecret",
    "Rate",
    "RateExceeded",
    "Scope",
    "checked_name",
    "digest_of",
    "new_admin_key",
    "new_secret",
]

# What a sum of times loses, as floats.
_ROUNDING_SECONDS = 1e-6
ADMIN_NAME = "admin"
"""What the key in CADRE_HOME is called."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PREFIX_LETTERS = string.ascii_lowercase + string.digits


class KeyMissing(Unauthenticated):
    """The request carries no key."""

    code = "API_KEY_MISSING"


class KeyWrong(Unauthenticated):
    """The request carries a key that is not ours."""

    code = "API_KEY_WRONG"


class KeyExpired(Unauthenticated):
    """The key was valid until a time that is over."""

    code = "API_KEY_EXPIRED"


class KeyRevoked(Unauthenticated):
    """The key was taken back."""

    code = "API_KEY_REVOKED"


class ScopeMissing(PermissionDenied):
    """The key may not do this."""

    code = "SCOPE_MISSING"


class RateExceeded(LimitExceeded):
    """The caller made as many requests as it may for now."""

    code = "RATE_EXCEEDED"


class KeyNotFound(NotFound):
    """No key has the name."""

    code = "API_KEY_NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no API key is called {name!r}",
            resolution="List the keys with `cadre keys list`.",
            metadata={"name": name},
        )


class KeyExists(AlreadyExists):
    """A key of the name was made before."""

    code = "API_KEY_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a key called {name!r} was made before",
            resolution="Choose another name: costs and budgets are counted by it, those of revoked keys too. "
            "`cadre keys rotate` gives the key that is there a new secret.",
            metadata={"name": name},
        )


class KeyReserved(FailedPrecondition):
    """The key in CADRE_HOME is not kept in the database."""

    code = "API_KEY_RESERVED"

    def __init__(self) -> None:
        super().__init__(
            f"{ADMIN_NAME!r} is the key in CADRE_HOME, which is not made, changed or revoked here",
            resolution="To change it, remove the file api-key in CADRE_HOME and start the gateway again.",
        )


class KeyNameInvalid(InvalidInput):
    """A key cannot be called so."""

    code = "API_KEY_NAME_INVALID"


class Scope(Enum):
    """What a key may do; each scope includes those before it."""

    READ = "read"
    RUN = "run"
    WRITE = "write"
    ADMIN = "admin"

    def includes(self, needed: "Scope") -> bool:
        """Whether what needs `needed` is allowed."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = list(Scope)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A token bucket: `requests` fit into it, and so many come back in `seconds`."""

    requests: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds until one token is back."""
        return self.seconds / self.requests

    def take(self, full: float, now: float) -> tuple["Allowance", float]:
        """A token taken from a bucket that is full again at a time (which is all that need be known of it), and when
        it is full then. Without a token nothing is taken."""
        later = max(full, now) + self.interval
        early = later - now - self.seconds
        if early > _ROUNDING_SECONDS:
            refused = Allowance(
                rate=self, remaining=0, retry_seconds=early, reset_seconds=full - now
            )
            return refused, full
        # A little more, because what a sum of floats lacks of a whole number is no request less.
        remaining = int((self.seconds - (later - now)) / self.interval + 1e-6)
        allowed = Allowance(
            rate=self, remaining=remaining, retry_seconds=0.0, reset_seconds=later - now
        )
        return allowed, later


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key that was made; its secret is known to whoever made it only. Times are Unix times. `expires_time` None is
    never; `old_expires_time` is until when the secret before the last rotation is still valid."""

    name: str
    prefix: str
    scope: Scope
    created_time: float
    expires_time: float | None = None
    revoked_time: float | None = None
    last_used_time: float | None = None
    old_expires_time: float | None = None
    rate: Rate | None = None

    def refusal(self, now: float) -> CadreError | None:
        """Why the key is not valid any more; None when it is."""
        about = {"name": self.name, "prefix": self.prefix}
        if self.revoked_time is not None:
            return KeyRevoked(
                f"the API key {self.name!r} was revoked",
                resolution="Ask whoever runs the platform for another key.",
                metadata=about,
            )
        if self.expires_time is not None and self.expires_time <= now:
            return KeyExpired(
                f"the API key {self.name!r} has expired",
                resolution="Ask whoever runs the platform for another key.",
                metadata=about,
            )
        return None


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose key a request carries. The prefix is empty for a key that an operator chose."""

    name: str
    prefix: str
    scope: Scope

    def check(self, needed: Scope) -> None:
        """Raises ScopeMissing unless the key may do what needs this scope."""
        if not self.scope.includes(needed):
            raise ScopeMissing(
                f"this needs a key with the scope {needed.value}; that of {self.name!r} is {self.scope.value}",
                resolution="Use another key, or make one: "
                f"`cadre keys create NAME --scope {needed.value}`.",
                metadata={"scope": needed.value, "name": self.name, "has": self.scope.value},
            )


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """Where a caller stands with its rate, after this request. `retry_seconds` is above 0 when it came too early;
    `reset_seconds` is until the bucket is full again."""

    rate: Rate
    remaining: int
    retry_seconds: float
    reset_seconds: float

    def exceeded(self, name: str) -> RateExceeded:
        """The refusal of a request that came too early."""
        return RateExceeded(
            f"{name!r} may make {self.rate.requests} requests in {self.rate.seconds:g} s",
            resolution="Send it again after the seconds that Retry-After says.",
            metadata={"name": name, "retry_after_seconds": f"{self.retry_seconds:.3f}"},
        )


@dataclass(frozen=True, kw_only=True)
class NewSecret:
    """What a key is when it is made: shown to its maker, and never again."""

    prefix: str
    secret: str

    def __repr__(self) -> str:
        return f"NewSecret({self.prefix!r})"


def new_secret() -> NewSecret:
    """A secret of 256 random bits behind a public prefix that has nothing of it."""
    prefix = "cadre_" + "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(8))
    return NewSecret(prefix=prefix, secret=f"{prefix}_{secrets.token_urlsafe(32)}")


def digest_of(secret: str) -> str:
    """What is stored of a secret. A fast hash: 256 random bits cannot be guessed, whatever a guess costs, and each
    request pays for it; a slow one is for what people choose."""
    return hashlib.sha256(secret.encode()).hexdigest()


def checked_name(name: str) -> str:
    """The name that a key shall have. Raises KeyNameInvalid, KeyReserved."""
    if not _NAME.fullmatch(name):
        raise KeyNameInvalid(
            "a key's name has 1 to 63 small letters, digits, '.', '_' and '-', and begins with a letter or digit",
            resolution="Choose a name such as ci or ann.laptop.",
        )
    if name == ADMIN_NAME:
        raise KeyReserved
    return name


def new_admin_key() -> str:
    """A key of 256 random bits."""
    return "cadre_" + secrets.token_urlsafe(32)


class AdminKey:
    """The key in CADRE_HOME, by its digest only, so that nothing that shows this object shows the key."""

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest()

    @property
    def caller(self) -> Caller:
        """Who carries it."""
        return Caller(name=ADMIN_NAME, prefix="", scope=Scope.ADMIN)

    def opens_with(self, presented: str) -> bool:
        """Whether the presented key is this one; takes equally long for every wrong one."""
        return hmac.compare_digest(hashlib.sha256(presented.encode()).digest(), self._digest)
