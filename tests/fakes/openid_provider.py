"""An OpenID provider on loopback: discovery, codes with PKCE, RS256 tokens, published keys, signing out."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

CLIENT_ID = "cadre"
CLIENT_SECRET = "a-secret-of-the-client"
SECONDS = 600
_CONTINUE = (
    "<html><title>Provider</title><h1>Who are you?</h1><a href='{}'>Continue as Ann</a></html>"
)


class OpenIdProvider:
    """`person` are the claims of whoever signs in; `wrong` takes the place of claims in tokens that browsers get, and
    with `forged` they are signed with a key that is not published. `authorized` are the requests for a code."""

    def __init__(self) -> None:
        self.issuer = ""
        self.authorized: list[dict[str, str]] = []
        self.discovered = 0
        self.signed_out = 0
        self._codes: dict[str, dict[str, str]] = {}
        self.behave()
        self.rotate()

    def behave(self) -> None:
        """As at first."""
        self.person: dict[str, Any] = {
            "sub": "1",
            "email": "ann@example.org",
            "email_verified": True,
        }
        self.wrong: dict[str, Any] = {}
        self.forged = False

    def rotate(self) -> None:
        """From now on another key signs, under another id."""
        self.key_id = secrets.token_hex(4)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """What is published."""
        return self._key.public_key()

    def token(self, *, key: Any = None, algorithm: str = "RS256", **claims: Any) -> str:
        """An ID token of the person, with other claims, or signed otherwise, if told so; None leaves a claim out."""
        now = int(time.time())
        about = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + SECONDS}
        whole = {k: v for k, v in (about | self.person | claims).items() if v is not None}
        headers = {"kid": self.key_id}
        return jwt.encode(whole, key or self._key, algorithm=algorithm, headers=headers)

    def documents(self) -> dict[str, Any]:
        """What is answered to everybody, by path."""
        public = RSAAlgorithm.to_jwk(self.public_key, as_dict=True)
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "end_session_endpoint": f"{self.issuer}/logout",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            "/keys": {"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": "RS256"}]},
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Where a person is sent who agrees: back, with a code."""
        self.authorized.append(asked)
        code = secrets.token_hex(8)
        self._codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"]})
        return f"{asked['redirect_uri']}?{back}"

    def redeem(self, given: dict[str, str]) -> dict[str, Any] | None:
        """The tokens of a code, once; None when anything does not fit."""
        asked = self._codes.pop(given.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != given.get("redirect_uri"):
            return None
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (asked.get("code_challenge_method"), asked.get("code_challenge")) != ("S256", challenge):
            return None
        key = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048) if self.forged else None
        )
        token = self.token(key=key, **({"nonce": asked["nonce"]} | self.wrong))
        return {
            "access_token": "a",
            "token_type": "Bearer",
            "expires_in": SECONDS,
            "id_token": token,
        }


@contextmanager
def openid_provider() -> Iterator[OpenIdProvider]:
    """A provider on a free port, until the block ends."""
    provider = OpenIdProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            provider.discovered += parts.path.startswith("/.well-known/")
            if parts.path == "/authorize":
                page = _CONTINUE.format(provider.authorize(asked).replace("&", "&amp;"))
                self._answer(200, page.encode(), "text/html")
            elif parts.path == "/logout":
                provider.signed_out += 1
                self._answer(302, b"", "text/html", asked["post_logout_redirect_uri"])
            elif (document := provider.documents().get(parts.path)) is not None:
                self._answer(200, json.dumps(document).encode(), "application/json")
            else:
                self._answer(404, b"", "text/plain")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            given = {name: values[0] for name, values in parse_qs(body).items()}
            basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            is_client = self.headers.get("authorization") == f"Basic {basic}"
            tokens = provider.redeem(given) if is_client else None
            status = 400 if tokens is None else 200
            answer = tokens or {"error": "invalid_grant" if is_client else "invalid_client"}
            self._answer(status, json.dumps(answer).encode(), "application/json")

        def _answer(self, status: int, body: bytes, kind: str, location: str = "") -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            if location:
                self.send_header("location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
