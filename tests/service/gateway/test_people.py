"""People of an OpenID provider at the gateway: who is let in, as whom, and which tokens are none."""

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.fakes.openid_provider import CLIENT_ID, OpenIdProvider, openid_provider
from tests.service.gateway.conftest import Running, Start

from cadre_gateway.settings import GatewaySettings

LISTS = {
    "oidc_read": "*@example.org",
    "oidc_run": "bob@example.org",
    "oidc_write": "group:writers",
    "oidc_admin": "Ann@Example.org, group:ops",
}


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider() as running:
        yield running


@pytest.fixture
async def running(start: Start, provider: OpenIdProvider) -> AsyncIterator[Running]:
    async with start(oidc_issuer=provider.issuer, oidc_client_id=CLIENT_ID, **LISTS) as gateway:
        yield gateway


async def asked(http: httpx.AsyncClient, token: str, path: str = "/api/v1/whoami") -> Any:
    return await http.get(path, headers={"Authorization": f"Bearer {token}"})


def public_pem(provider: OpenIdProvider) -> bytes:
    return provider.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def unsigned(provider: OpenIdProvider) -> str:
    _, claims, _ = provider.token().split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": provider.key_id}).encode())
    return f"{header.decode().rstrip('=')}.{claims}."


ADMITTED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "ann@example.org", "admin"),
    ({"email": "Bob@Example.org"}, "bob@example.org", "run"),
    ({"email": "eve@example.org"}, "eve@example.org", "read"),
    ({"email": "eve@example.org", "groups": ["writers"]}, "eve@example.org", "write"),
    ({"email": None, "sub": "7", "groups": "ops"}, "7@127.0.0.1:", "admin"),
]


async def test_a_person_may_do_what_the_highest_of_their_lists_says(
    http: httpx.AsyncClient, provider: OpenIdProvider
) -> None:
    for claims, name, scope in ADMITTED:
        who = (await asked(http, provider.token(**claims))).json()

        assert who["name"].startswith(name)
        assert who["scope"] == scope


STRANGERS: list[dict[str, Any]] = [
    {"email": "eve@elsewhere.org"},
    {"email_verified": False},
    {"email_verified": None},
    {"email_verified": "true"},
    {"email": "eve@sub.example.org"},
    {"email": None, "groups": ["group:ops"]},
]


async def test_who_is_on_no_list_is_known_and_refused(
    http: httpx.AsyncClient, provider: OpenIdProvider
) -> None:
    for claims in STRANGERS:
        answer = await asked(http, provider.token(**claims))

        assert (answer.status_code, answer.json()["code"]) == (403, "PERSON_NOT_ALLOWED")
        assert "CADRE_OIDC_READ" in answer.json()["resolution"]


FOR_SOMETHING_ELSE: list[dict[str, Any]] = [
    {"aud": "another-client"},
    {"aud": None},
    {"iss": "https://elsewhere.example.org"},
    {"iss": None},
    {"exp": None},
    {"iat": None},
    {"sub": None},
    {"iat": time.time() + 86_400},
    {"nbf": time.time() + 86_400},
    {"aud": [CLIENT_ID, "another"], "azp": "another"},
    {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
]


async def test_a_token_for_something_else_opens_nothing(
    http: httpx.AsyncClient, provider: OpenIdProvider
) -> None:
    for claims in FOR_SOMETHING_ELSE:
        answer = await asked(http, provider.token(**claims))

        assert (answer.status_code, answer.json()["code"]) == (401, "ID_TOKEN_REFUSED")


async def test_an_expired_token_says_so(http: httpx.AsyncClient, provider: OpenIdProvider) -> None:
    answer = await asked(http, provider.token(exp=time.time() - 60))

    assert (answer.status_code, answer.json()["code"]) == (401, "ID_TOKEN_EXPIRED")
    assert answer.headers["www-authenticate"]


async def test_a_token_that_the_provider_did_not_sign_opens_nothing(
    http: httpx.AsyncClient, provider: OpenIdProvider
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = public_pem(provider)
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    # What a careless check takes: the public key, as if it were a secret that both know.
    confused = jwt.api_jws.PyJWS(algorithms=["HS256"])
    confused.unregister_algorithm("HS256")
    confused.register_algorithm("HS256", _AnyKey(jwt.algorithms.HMACAlgorithm.SHA256))
    by_public_key = confused.encode(
        json.dumps(claims).encode(), pem, algorithm="HS256", headers={"kid": provider.key_id}
    )
    head, body, signature = provider.token(email="bob@example.org").split(".")
    ann = provider.token().split(".")[1]
    for token in (
        provider.token(key=other),
        by_public_key,
        unsigned(provider),
        f"{head}.{ann}.{signature}",
        f"{head}.{body}.AAAA",
        "a.b.c",
    ):
        answer = await asked(http, token)

        assert answer.status_code == 401


class _AnyKey(jwt.algorithms.HMACAlgorithm):
    def prepare_key(self, key: Any) -> bytes:
        return bytes(key)


async def test_the_audit_log_names_the_person(
    http: httpx.AsyncClient, provider: OpenIdProvider
) -> None:
    stranger = {"email": "eve@elsewhere.org"}
    made = await http.post(
        "/api/v1/keys",
        json={"name": "ci", "scope": "run"},
        headers={"Authorization": f"Bearer {provider.token()}"},
    )
    await asked(http, provider.token(**stranger))
    entries = (await http.get("/api/v1/audit")).json()["entries"]

    assert made.status_code == 201
    assert [(entry["method"], entry["key"], entry["code"]) for entry in entries[:2]] == [
        ("GET", "eve@elsewhere.org", "PERSON_NOT_ALLOWED"),
        ("POST", "ann@example.org", ""),
    ]


async def test_a_scope_holds(http: httpx.AsyncClient, provider: OpenIdProvider) -> None:
    answer = await asked(http, provider.token(email="eve@example.org"), "/api/v1/keys")

    assert (answer.status_code, answer.json()["code"]) == (403, "SCOPE_MISSING")


async def test_keys_are_still_keys(running: Running, http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/whoami")).json()["name"] == "admin"
    assert (await asked(http, "cadre_no_key_at_all")).json()["code"] == "API_KEY_WRONG"


async def test_a_new_key_of_the_provider_is_found_but_not_asked_for_by_each_token(
    http: httpx.AsyncClient, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await asked(http, provider.token())
    provider.rotate()
    waiting = [(await asked(http, provider.token())).status_code for _ in range(5)]
    read = provider.discovered
    monkeypatch.setattr("cadre_gateway.adapters.openid._PAUSE_SECONDS", 0.0)
    after = await asked(http, provider.token())

    assert before.status_code == after.status_code == 200
    assert set(waiting) == {401}
    assert (read, provider.discovered) == (1, 2)


async def test_each_person_has_a_rate_of_their_own(start: Start, provider: OpenIdProvider) -> None:
    async with (
        start(oidc_issuer=provider.issuer, oidc_client_id=CLIENT_ID, oidc_rate=2, **LISTS) as one,
        httpx.AsyncClient(base_url=one.url, verify=False) as http,
    ):
        answers = [await asked(http, provider.token()) for _ in range(3)]
        other = await asked(http, provider.token(email="bob@example.org"))

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].json()["code"] == "RATE_EXCEEDED"
    assert 0 < int(answers[2].headers["Retry-After"]) <= 30
    assert (other.status_code, other.headers["RateLimit-Limit"]) == (200, "2")


async def test_a_provider_that_is_away_is_said_and_keys_still_work(start: Start) -> None:
    with openid_provider() as provider:
        token = provider.token()
    async with (
        start(oidc_issuer=provider.issuer, oidc_client_id=CLIENT_ID, **LISTS) as gateway,
        httpx.AsyncClient(base_url=gateway.url, verify=False) as http,
    ):
        answer = await asked(http, token)
        again = await asked(http, token)
        by_key = await asked(http, gateway.key)

    assert (answer.status_code, answer.json()["code"]) == (503, "OPENID_PROVIDER_UNUSABLE")
    assert again.status_code == 503
    assert by_key.status_code == 200


async def test_a_provider_that_says_it_is_another_is_not_believed(
    start: Start, provider: OpenIdProvider
) -> None:
    address = provider.issuer
    provider.issuer = "https://other.example.org"
    async with (
        start(oidc_issuer=address, oidc_client_id=CLIENT_ID, **LISTS) as gateway,
        httpx.AsyncClient(base_url=gateway.url, verify=False) as http,
    ):
        answer = await asked(http, provider.token(iss=address))

    assert answer.json()["code"] == "OPENID_PROVIDER_UNUSABLE"


@pytest.mark.parametrize(
    "settings",
    [
        {"oidc_issuer": "http://id.example.org", "oidc_client_id": "x", "oidc_read": "*"},
        {"oidc_issuer": "https://id.example.org", "oidc_read": "*"},
        {"oidc_issuer": "https://id.example.org", "oidc_client_id": "x"},
        {"oidc_client_id": "x"},
    ],
)
def test_half_a_provider_is_refused_at_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="CADRE_OIDC_"):
        GatewaySettings(_env_file=None, **settings)


async def test_without_a_provider_a_token_is_a_wrong_key(start: Start) -> None:
    with openid_provider() as provider:
        token = provider.token()
    async with (
        start() as gateway,
        httpx.AsyncClient(base_url=gateway.url, verify=False) as http,
    ):
        answer = await asked(http, token)

    assert answer.json()["code"] == "API_KEY_WRONG"
