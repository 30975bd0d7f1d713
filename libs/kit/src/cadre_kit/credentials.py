"""How the services of one installation know each other: a token that every call carries, and TLS where it is set."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from cadre_kit.errors import CadreError, Unauthenticated
from cadre_kit.logs import logger
from cadre_kit.secret_files import read_or_make
from cadre_kit.tls import Tls, read_tls
from cadre_kit.wire import TOKEN_MISSING, TOKEN_WRONG, status_of

if TYPE_CHECKING:
    # Which takes longer to load than all else that a health check needs.
    from cadre_kit.settings import ServiceSettings

__all__ = ["TOKEN_HEADER", "Credentials", "TokenInterceptor", "load_credentials"]

log = logger()

TOKEN_HEADER = "authorization"
_SCHEME = "Bearer"
# Balancers and containers ask it, and it tells nothing but whether the service is well.
_HEALTH = "/grpc.health."
_RESOLUTION = (
    "Send the metadata `authorization: Bearer TOKEN`, with the token in the file service-token in "
    "the CADRE_HOME of the services, or their CADRE_SERVICE_TOKEN."
)


class TokenMissing(Unauthenticated):
    """A call carries no service token."""

    code = TOKEN_MISSING


class TokenWrong(Unauthenticated):
    """A call carries another installation's service token, or an old one."""

    code = TOKEN_WRONG


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a service shows to the others, and wants to see of them."""

    token: str = field(repr=False)
    tls: Tls = field(default_factory=Tls)

    @property
    def bearer(self) -> str:
        """What goes into the metadata of a call, under `TOKEN_HEADER`."""
        return f"{_SCHEME} {self.token}"


def load_credentials(settings: ServiceSettings) -> Credentials:
    """The credentials that the settings name; the first service of an installation makes its token.

    Raises SecretFileUnusable and TlsFilesUnusable.
    """
    return Credentials(
        token=_token(settings),
        tls=read_tls(
            cert=settings.service_tls_cert_file,
            key=settings.service_tls_key_file,
            ca=settings.service_tls_ca_file,
            client_ca=settings.service_tls_client_ca_file,
        ),
    )


def _token(settings: ServiceSettings) -> str:
    if settings.service_token is not None:
        return settings.service_token.get_secret_value()
    path = settings.service_token_file or settings.home / "service-token"
    return read_or_make(path, _new_token)


def _new_token() -> str:
    """A token of 256 random bits."""
    return "cadre_service_" + secrets.token_urlsafe(32)


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without the installation's token before their request is read, whatever they ask for.

    Keeps the token's digest only. A health check may come without one.
    """

    def __init__(self, token: str) -> None:
        self._digest = _digest(token)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """What follows, for a call that may come in; else what refuses it."""
        presented = _presented(handler_call_details)
        if presented is not None and hmac.compare_digest(_digest(presented), self._digest):
            return await continuation(handler_call_details)
        method = handler_call_details.method
        if presented is None and method.startswith(_HEALTH):
            return await continuation(handler_call_details)
        return _refusing(_refusal(presented), method)


def _presented(details: grpc.HandlerCallDetails) -> str | None:
    """The token that a call carries, empty when it is none by its scheme; None without one."""
    for key, value in details.invocation_metadata or ():
        if key == TOKEN_HEADER:
            scheme, _, token = str(value).partition(" ")
            return token if scheme.lower() == _SCHEME.lower() else ""
    return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _refusal(presented: str | None) -> CadreError:
    if presented is None:
        return TokenMissing("the call carries no service token", resolution=_RESOLUTION)
    return TokenWrong("the call's service token is not this installation's", resolution=_RESOLUTION)


def _refusing(error: CadreError, method: str) -> grpc.RpcMethodHandler[Any, Any]:
    async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        log.info("call_refused", method=method, code=error.code, peer=context.peer())
        await context.abort_with_status(status_of(error))

    # As a stream, of which no request is read before it is asked for.
    return grpc.stream_stream_rpc_method_handler(refuse)
