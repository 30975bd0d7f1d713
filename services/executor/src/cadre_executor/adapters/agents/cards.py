"""Agent cards of A2A 1.0: read, and what we need of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from cadre_executor.domain.agents import (
    AgentCardInvalid,
    AgentVersionUnsupported,
    Binding,
    Card,
    Credential,
    Interface,
    Skill,
)
from cadre_kit.addresses import port_of
from cadre_kit.errors import InvalidInput

__all__ = ["WELL_KNOWN", "Wire", "card_url_of", "parse_card"]

WELL_KNOWN = "/.well-known/agent-card.json"
_VERSION = "1.0"
_LARGEST = 256 * 1024
_LONGEST_TEXT = 10_000


class Wire(BaseModel):
    """What others send: camelCase, with whatever a later version adds."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel), extra="ignore"
    )


class _Interface(Wire):
    url: str = Field(max_length=2000)
    protocol_binding: str = ""
    protocol_version: str = ""
    tenant: str = Field("", max_length=200)


class _Skill(Wire):
    id: str = Field(max_length=200)
    name: str = Field("", max_length=200)
    description: str = Field("", max_length=_LONGEST_TEXT)
    tags: list[str] = Field(default_factory=list, max_length=100)
    examples: list[str] = Field(default_factory=list, max_length=100)


class _ApiKey(Wire):
    location: Literal["header", "query", "cookie"]
    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")


class _Http(Wire):
    scheme: str = ""


class _Scheme(Wire):
    api_key_security_scheme: _ApiKey | None = None
    http_auth_security_scheme: _Http | None = None
    oauth2_security_scheme: dict[str, Any] | None = None
    open_id_connect_security_scheme: dict[str, Any] | None = None


class _Requirement(Wire):
    schemes: dict[str, Any] = Field(default_factory=dict)


class _Card(Wire):
    name: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=_LONGEST_TEXT)
    version: str = Field("", max_length=100)
    supported_interfaces: list[_Interface] = Field(default_factory=list, max_length=20)
    skills: list[_Skill] = Field(default_factory=list, max_length=500)
    security_schemes: dict[str, _Scheme] = Field(default_factory=dict)
    security_requirements: list[_Requirement] = Field(default_factory=list)


def card_url_of(url: str) -> str:
    """Where the card is: at the address itself when it has a path that names a file, else at the well-known place."""
    port_of(url)
    parts = urlsplit(url)
    if parts.path.endswith(".json"):
        return url
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + WELL_KNOWN, "", ""))


def parse_card(document: object) -> Card:
    """The card of a document. Raises AgentCardInvalid and AgentVersionUnsupported."""
    if not isinstance(document, Mapping) or len(json.dumps(document)) > _LARGEST:
        raise _invalid(f"it must be a JSON object of at most {_LARGEST // 1024} KiB")
    try:
        card = _Card.model_validate(document)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _invalid(f"{where}: {first['msg']}") from exc
    return Card(
        title=card.name,
        description=card.description,
        version=card.version,
        interface=_interface(card),
        document=document,
        skills=tuple(_skill(skill) for skill in card.skills),
        credential=_credential(card),
    )


def _interface(card: _Card) -> Interface:
    """The first that we speak. Raises AgentVersionUnsupported, and AgentCardInvalid for an address that is none."""
    bindings = {binding.value: binding for binding in Binding}
    for one in card.supported_interfaces:
        is_ours = one.protocol_version == _VERSION or one.protocol_version.startswith(
            f"{_VERSION}."
        )
        if is_ours and one.protocol_binding in bindings:
            try:
                port_of(one.url)
            except InvalidInput as error:
                raise _invalid(f"supportedInterfaces: {error.message}") from error
            return Interface(
                url=one.url.rstrip("/"),
                binding=bindings[one.protocol_binding],
                tenant=one.tenant,
            )
    offers = ", ".join(
        f"{one.protocol_binding or '?'} {one.protocol_version or '0.3'}"
        for one in card.supported_interfaces
    )
    raise AgentVersionUnsupported(
        f"the agent speaks {offers or 'an earlier A2A'}; A2A {_VERSION} by JSONRPC or HTTP+JSON is needed",
        resolution="Bring the agent to A2A 1.0.",
        metadata={"offers": offers[:1000]},
    )


def _skill(skill: _Skill) -> Skill:
    return Skill(
        id=skill.id,
        name=skill.name or skill.id,
        description=skill.description,
        tags=tuple(skill.tags),
        examples=tuple(skill.examples),
    )


def _credential(card: _Card) -> Credential | None:
    """How the agent wants a secret: by the first of its requirements that one secret can meet. None when it wants none.
    Raises AgentCardInvalid when there is no such way."""
    if not card.security_requirements:
        return None
    wanted: Sequence[str] = []
    for requirement in card.security_requirements:
        wanted = list(requirement.schemes)
        if not wanted:
            return None
        found = [_by_scheme(card.security_schemes.get(name)) for name in wanted]
        if len(found) == 1 and found[0] is not None:
            return found[0]
    raise _invalid(f"it wants credentials that one token or key in a header cannot be: {wanted}")


def _by_scheme(scheme: _Scheme | None) -> Credential | None:
    match scheme:
        case _Scheme(api_key_security_scheme=_ApiKey(location="header", name=name)):
            return Credential(header=name, prefix="")
        case _Scheme(http_auth_security_scheme=_Http(scheme=written)) if written:
            return Credential(prefix=f"{written.capitalize()} ")
        case (
            _Scheme(oauth2_security_scheme=dict()) | _Scheme(open_id_connect_security_scheme=dict())
        ):
            return Credential()
    return None


def _invalid(why: str) -> AgentCardInvalid:
    return AgentCardInvalid(
        f"the agent's card cannot be used: {why}",
        resolution="Look at what the address answers; the card is described by A2A 1.0.",
    )
