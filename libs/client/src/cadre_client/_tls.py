"""What a client of a gateway that speaks TLS trusts, and shows."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["ClientTls"]


@dataclass(frozen=True, kw_only=True)
class ClientTls:
    """Files in PEM: the authorities that the gateway's certificate must be by (None: those of every web client), and
    the certificate with its key that is shown to a gateway that wants one."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Certificates and host names are checked. Raises OSError, which ssl.SSLError is, for files of no use."""
        context = (
            httpx.create_ssl_context()
            if self.ca_file is None
            else ssl.create_default_context(cafile=self.ca_file)
        )
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file, password="")
        return context
