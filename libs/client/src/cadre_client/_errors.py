"""What can go wrong between a program and the gateway, as two facts: it refused, or it is not there."""

from collections.abc import Sequence

from cadre_client._models import Problem

__all__ = ["ApiError", "ClientError", "GatewayUnreachable"]


class ClientError(Exception):
    """Anything that this client raises. `code` is UPPER_SNAKE; `resolution` says what to do, or is empty."""

    def __init__(self, message: str, *, code: str, resolution: str) -> None:
        super().__init__(message)
        self.code = code
        self.resolution = resolution


class ApiError(ClientError):
    """The gateway's answer to a request that it could not, or would not, fulfil."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        resolution: str = "",
        problems: Sequence[Problem] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(detail, code=code, resolution=resolution)
        self.status = status
        self.detail = detail
        self.problems = tuple(problems)
        self.request_id = request_id


_NOT_SENT = (
    "cannot be reached",
    "Start the platform with `cadre up`, or set CADRE_GATEWAY_URL to where it runs.",
)
_SENT = (
    "did not answer, and may have done what it was asked",
    "Before you ask again, look what it did, with `cadre runs list` for example; start it with `cadre up` if need be.",
)


class GatewayUnreachable(ClientError):
    """No answer came from the gateway's address, or not in time.

    `was_sent` says that it had been asked for something to be done, which it may have done.
    """

    def __init__(self, url: str, reason: str, *, was_sent: bool = False) -> None:
        tls = _by_tls(url, reason, was_sent)
        said, resolution = _SENT if was_sent and not tls else _NOT_SENT
        super().__init__(
            f"the gateway at {url} {said}: {reason}",
            code="GATEWAY_UNREACHABLE",
            resolution=tls or resolution,
        )
        self.url = url
        self.reason = reason
        self.was_sent = was_sent
        # It is there, and TLS keeps the two apart.
        self.by_tls = bool(tls)


_HUNG_UP = ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "disconnected", "reset by peer", "Broken pipe")


TLS_FILES = "the TLS files of its clients cannot be used"


def _by_tls(url: str, reason: str, was_sent: bool) -> str:
    """What to do about a connection that fails by TLS; empty when it does not."""
    if reason.startswith(TLS_FILES):
        return (
            "CADRE_GATEWAY_CA_FILE, CADRE_GATEWAY_CLIENT_CERT_FILE and CADRE_GATEWAY_CLIENT_KEY_FILE name PEM files "
            "that can be read; the last two go together."
        )
    if "certificate has expired" in reason:
        return "Renew the gateway's certificate, and start it again."
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return (
            "Set CADRE_GATEWAY_CA_FILE to the authority of its certificate, and CADRE_GATEWAY_URL to a name that is "
            "in the certificate."
        )
    # By TLS 1.3 a server says what it lacks after the client has begun to speak, or just hangs up.
    if url.startswith("https:") and any(said in reason for said in _HUNG_UP):
        return "If it wants a certificate, set CADRE_GATEWAY_CLIENT_CERT_FILE and CADRE_GATEWAY_CLIENT_KEY_FILE."
    if url.startswith("http:") and "disconnected" in reason and not was_sent:
        return "Start it with `cadre up`; if it speaks TLS, set CADRE_GATEWAY_URL to its https address."
    return ""
