"""Certificates and keys in PEM files: read, and checked at the start rather than at the first handshake."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cadre_kit.errors import FailedPrecondition

__all__ = ["Tls", "TlsFilesUnusable", "read_tls", "server_context"]


class TlsFilesUnusable(FailedPrecondition):
    """A certificate, a key or an authority cannot be used."""

    code = "TLS_FILES_UNUSABLE"


@dataclass(frozen=True, kw_only=True)
class Tls:
    """What calls between services are secured with, in PEM; all None: nothing.

    A server shows `certificate`, and asks its callers for one by `client_authorities` where there are some. A caller
    takes only servers with a certificate by `authorities`, and shows its own to those that ask.
    """

    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    authorities: bytes | None = None
    client_authorities: bytes | None = None


def read_tls(
    *, cert: Path | None, key: Path | None, ca: Path | None, client_ca: Path | None
) -> Tls:
    """What the files hold. Raises TlsFilesUnusable for one that cannot be used."""
    if cert is not None and key is not None:
        server_context(cert=cert, key=key, client_ca=client_ca)
    if ca is not None:
        _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca)
    return Tls(
        certificate=None if cert is None else cert.read_bytes(),
        key=None if key is None else key.read_bytes(),
        authorities=None if ca is None else ca.read_bytes(),
        client_authorities=None if client_ca is None else client_ca.read_bytes(),
    )


def server_context(*, cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.2 and later with a certificate; with `client_ca`, for those only who show one by it.

    Raises TlsFilesUnusable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password of ours, OpenSSL would ask for that of an encrypted key at the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as exc:
        raise _unusable(f"{cert} with the key {key}", exc) from exc
    if client_ca is not None:
        _trust(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except OSError as exc:
        raise _unusable(str(ca), exc) from exc


def _unusable(which: str, exc: Exception) -> TlsFilesUnusable:
    # An SSLError says what is wrong with a file in its reason, and nothing of what is in it.
    reason = (exc.reason if isinstance(exc, ssl.SSLError) else None) or type(exc).__name__
    return TlsFilesUnusable(
        f"the TLS files cannot be used: {which}: {reason}",
        resolution="Name PEM files that can be read: a certificate with its chain, its unencrypted key, authorities.",
        metadata={"files": which},
    )
