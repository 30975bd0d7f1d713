"""People who signed in at the organization's OpenID provider: who they are here, and what they may do."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cadre_gateway.domain.api_keys import Caller, Scope
from cadre_kit.errors import PermissionDenied, Unauthenticated

__all__ = [
    "Admissions",
    "IdTokenExpired",
    "IdTokenRefused",
    "Person",
    "PersonNotAllowed",
    "is_secure",
]

_NAME_CHARACTERS = 63
_PLAIN = re.compile(r"[!-~]+@[!-~]+")
_GROUP = "group:"
_OWN_HOSTS = ("127.0.0.1", "::1", "localhost")


class IdTokenRefused(Unauthenticated):
    """What the request carries is no ID token for this gateway."""

    code = "ID_TOKEN_REFUSED"


class IdTokenExpired(Unauthenticated):
    """The ID token was valid until a time that is over."""

    code = "ID_TOKEN_EXPIRED"


class PersonNotAllowed(PermissionDenied):
    """Who signed in is on none of the lists."""

    code = "PERSON_NOT_ALLOWED"

    def __init__(self, person: "Person") -> None:
        super().__init__(
            f"the person {person.name!r} is on no list of those who may use this platform",
            resolution="Ask whoever runs it to add your verified e-mail address, or a group of yours, to "
            "CADRE_OIDC_READ, CADRE_OIDC_RUN, CADRE_OIDC_WRITE or CADRE_OIDC_ADMIN.",
            metadata={"name": person.name},
        )


def is_secure(url: str) -> bool:
    """Whether nobody on the way can change what an address answers: by TLS, or because it is on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _OWN_HOSTS)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who an ID token is about. `email` is empty unless the provider says that it verified it."""

    issuer: str
    subject: str
    email: str = ""
    groups: frozenset[str] = frozenset()

    @classmethod
    def of(cls, claims: Mapping[str, object], *, groups_claim: str) -> "Person":
        """The person of claims that were checked. A group's name may also stand alone instead of in a list."""
        groups, email = claims.get(groups_claim, ()), claims.get("email")
        listed = groups if isinstance(groups, list) else [groups]
        verified = claims.get("email_verified") is True and isinstance(email, str)
        return cls(
            issuer=str(claims["iss"]),
            subject=str(claims["sub"]),
            email=str(email).lower() if verified else "",
            groups=frozenset(group for group in listed if isinstance(group, str)),
        )

    @property
    def name(self) -> str:
        """What the audit log and the costs call them: the e-mail address, else the provider's id and host. It has an @,
        which no key's name has, and at most 63 characters."""
        host = self.issuer.partition("://")[2].partition("/")[0]
        name = self.email or f"{self.subject}@{host}"
        if _PLAIN.fullmatch(name) and len(name) <= _NAME_CHARACTERS:
            return name
        digest = hashlib.sha256(f"{self.issuer} {self.subject}".encode()).hexdigest()
        return f"{digest[:32]}@openid"


@dataclass(frozen=True, kw_only=True)
class Admissions:
    """Who has which scope: e-mail addresses, `*@` with a domain, `group:` with a group, or `*` for everybody."""

    lists: Mapping[Scope, Sequence[str]]

    @classmethod
    def parse(cls, lists: Mapping[Scope, str]) -> "Admissions":
        """Reads lists with commas between."""
        return cls(
            lists={
                scope: [word.strip() for word in text.split(",") if word.strip()]
                for scope, text in lists.items()
            }
        )

    def caller(self, person: Person) -> Caller | None:
        """The person with the highest scope of a list that they are on; None when they are on none."""
        for scope in reversed(Scope):
            if any(_names(word, person) for word in self.lists.get(scope, ())):
                return Caller(name=person.name, prefix="", scope=scope)
        return None


def _names(word: str, person: Person) -> bool:
    if word.startswith(_GROUP):
        return word.removeprefix(_GROUP) in person.groups
    if word == "*":
        return True
    if word.startswith("*@"):
        return bool(person.email) and person.email.rpartition("@")[2] == word[2:].lower()
    return bool(person.email) and person.email == word.lower()
