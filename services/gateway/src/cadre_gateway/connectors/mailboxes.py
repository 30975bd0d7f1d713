"""How mail is fetched from a mailbox (IMAP) and sent (SMTP)."""

import asyncio
import email.policy
import imaplib
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parseaddr
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import aiosmtplib

from cadre_gateway.domain.connectors import (
    Incoming,
    Listener,
    Variables,
    connection_variable,
    required,
)
from cadre_gateway.domain.deliveries import TryAgain, Undeliverable
from cadre_kit.errors import InvalidInput, Unavailable
from cadre_kit.logs import logger

__all__ = ["OVERSIZE", "Account", "listening_to", "send_mail"]

log = logger()

OVERSIZE = "oversize"
"""Says, in the query of what was fetched, that a mail was too large, and only its headers were taken."""

_MOST_BYTES = 10 * 1024 * 1024
# Threads that wait for a server end with the process at the latest; so this is within the 5 s in which it stops.
_CONNECT_SECONDS = 4.0
_ANSWER_SECONDS = 15.0
_SEND_SECONDS = 25.0
_AT_ONCE = 20
_LONG_LINES = email.policy.SMTP.clone(max_line_length=990)
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_Found = TypeVar("_Found")


class MailboxUnreachable(Unavailable):
    """A mail server cannot be reached, or does not let us in."""

    code = "MAILBOX_UNREACHABLE"


class MailRefused(MailboxUnreachable):
    """The server does not give or mark a mail; the connection holds."""

    code = "MAIL_REFUSED"


class MailAddressInvalid(InvalidInput):
    """The address of a mail server cannot be used."""

    code = "MAIL_ADDRESS_INVALID"


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a mail server is. Without `tls` from the beginning, it is begun before the password is said, but with a
    server of this machine."""

    host: str
    port: int
    tls: bool
    folder: str = "INBOX"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return self.host == "localhost"


@dataclass(frozen=True, kw_only=True)
class Account:
    """A mailbox's variables: the mailbox `desk` has CADRE_EMAIL_DESK_ADDRESS, _PASSWORD, _IMAP_URL and _SMTP_URL, and
    _USER where that is not the address."""

    name: str
    variables: Variables

    @property
    def address(self) -> str:
        """Whom mails are from. Raises SecretNotSet."""
        return self._required("ADDRESS")

    @property
    def user(self) -> str:
        """Who signs in."""
        return self._variable("USER") or parseaddr(self.address)[1]

    @property
    def password(self) -> str:
        """Raises SecretNotSet."""
        return self._required("PASSWORD")

    @property
    def imap(self) -> Server | None:
        """Where mail is fetched; None where it is not. Raises MailAddressInvalid."""
        url = self._variable("IMAP_URL")
        return _server(url, schemes={"imaps": 993, "imap": 143}) if url else None

    @property
    def smtp(self) -> Server:
        """Where mail is sent. Raises SecretNotSet, MailAddressInvalid."""
        return _server(self._required("SMTP_URL"), schemes={"smtps": 465, "smtp": 587})

    def _variable(self, what: str) -> str:
        return self.variables.get(connection_variable("email", self.name, what), "")

    def _required(self, what: str) -> str:
        return required(self.variables, connection_variable("email", self.name, what))


def _server(url: str, *, schemes: dict[str, int]) -> Server:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in schemes or not parts.hostname or parts.username:
        raise MailAddressInvalid(
            f"the address of a mail server begins with one of {', '.join(schemes)}, and names a host and no user",
            resolution=f"Set it as {next(iter(schemes))}://mail.example.org.",
        )
    return Server(
        host=parts.hostname,
        port=port or schemes[parts.scheme],
        tls=parts.scheme.endswith("s"),
        folder=unquote(parts.path.strip("/")) or "INBOX",
    )


async def send_mail(account: Account, message: EmailMessage, *, to: str) -> None:
    """Sends a mail. Raises SecretNotSet, MailAddressInvalid, TryAgain, Undeliverable."""
    server = account.smtp
    if not to.isascii():
        raise Undeliverable("the receiver's address has letters that mail servers do not agree on")
    try:
        # In all, and not for each word of it: another gateway would take it as not sent.
        async with asyncio.timeout(_SEND_SECONDS):
            await aiosmtplib.send(
                # Folded at 78 characters, ids longer than that would be encoded, and threads fall apart.
                message.as_bytes(policy=_LONG_LINES),
                sender=parseaddr(account.address)[1],
                recipients=[to],
                hostname=server.host,
                port=server.port,
                username=account.user,
                password=account.password,
                use_tls=server.tls,
                # None: where the server offers it.
                start_tls=False if server.tls else (None if server.is_here else True),
                timeout=_SEND_SECONDS,
            )
    except aiosmtplib.SMTPException as exc:
        raise _unsent(exc) from exc
    except OSError as exc:
        raise TryAgain(f"the mail server cannot be reached: {type(exc).__name__}") from exc


def _unsent(exc: aiosmtplib.SMTPException) -> TryAgain | Undeliverable:
    codes = [exc.code] if isinstance(exc, aiosmtplib.SMTPResponseException) else []
    if isinstance(exc, aiosmtplib.SMTPRecipientsRefused):
        codes = [each.code for each in exc.recipients]
    said = f"the mail server does not take the mail: {codes[0] if codes else type(exc).__name__}"
    if not codes or any(400 <= code < 500 for code in codes):
        return TryAgain(said)
    return Undeliverable(
        said,
        resolution="Check the receiver's address, and the mailbox's user and password; then replay the delivery.",
    )


@asynccontextmanager
async def listening_to(account: Account, *, pause_seconds: float) -> AsyncIterator[Listener]:
    """Fetches what is unread, and looks again after `pause_seconds` without any. Raises MailboxUnreachable,
    SecretNotSet, MailAddressInvalid."""
    server = account.imap
    assert server is not None
    session = _Session(server)
    try:
        await _in_thread(lambda: session.open(account.user, account.password))
        yield _Fetching(session, account.name, pause_seconds)
    finally:
        session.cut_off()


class _Fetching:
    """Marks as read what is stored, and passes over what the server cannot give."""

    def __init__(self, session: "_Session", name: str, pause_seconds: float) -> None:
        self._session = session
        self._name = name
        self._pause_seconds = pause_seconds
        self._passed_over: set[str] = set()

    async def fetch(self) -> Sequence[Incoming]:
        unread = await _in_thread(self._session.unread)
        uids = [uid for uid in unread if uid not in self._passed_over]
        if not uids:
            await asyncio.sleep(self._pause_seconds)
            return []
        found = []
        for uid in uids[:_AT_ONCE]:
            try:
                found.append(await self._incoming(uid))
            except MailRefused as error:
                self._pass_over(uid, error)
        return found

    async def confirm(self, request: Incoming) -> None:
        uid = request.query["uid"]
        try:
            await _in_thread(lambda: self._session.mark_read(uid))
        except MailRefused as error:
            self._pass_over(uid, error)

    def _pass_over(self, uid: str, error: MailRefused) -> None:
        log.warning("mail_passed_over", mailbox=self._name, uid=uid, code=error.code)
        self._passed_over.add(uid)

    async def _incoming(self, uid: str) -> Incoming:
        raw, is_whole = await _in_thread(lambda: self._session.message(uid))
        query = {"uid": uid} if is_whole else {"uid": uid, OVERSIZE: "yes"}
        return Incoming(
            method="IMAP", name=self._name, headers={}, body=raw, now=time.time(), query=query
        )


class _Session:
    """A connection to an IMAP server; its calls block, for 15 seconds at most each."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._imap: imaplib.IMAP4 | None = None

    def open(self, user: str, password: str) -> None:
        server, trust = self._server, ssl.create_default_context()
        if server.tls:
            imap: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                server.host, server.port, ssl_context=trust, timeout=_CONNECT_SECONDS
            )
        else:
            imap = imaplib.IMAP4(server.host, server.port, timeout=_CONNECT_SECONDS)
        self._imap = imap
        imap.sock.settimeout(_ANSWER_SECONDS)
        if not server.tls and not server.is_here:
            imap.starttls(trust)
        imap.login(user, password)
        _checked(imap.select(_quoted(server.folder)))

    def unread(self) -> list[str]:
        # Without it, some servers do not say what came since.
        _checked(self._open.noop())
        (found,) = _checked(self._open.uid("SEARCH", "UNSEEN"))[:1] or [b""]
        return found.decode().split() if isinstance(found, bytes) else []

    def message(self, uid: str) -> tuple[bytes, bool]:
        """The mail, or only its headers if it is too large, and whether it is whole. Empty where there is none."""
        size = _SIZE.search(_flat(_checked(self._open.uid("FETCH", uid, "(RFC822.SIZE)"))))
        is_whole = size is None or int(size.group(1)) <= _MOST_BYTES
        part = "(BODY.PEEK[])" if is_whole else "(BODY.PEEK[HEADER])"
        for each in _checked(self._open.uid("FETCH", uid, part)):
            if isinstance(each, tuple):
                return each[1], is_whole
        return b"", is_whole

    def mark_read(self, uid: str) -> None:
        _checked(self._open.uid("STORE", uid, "+FLAGS", r"(\Seen)"))

    def cut_off(self) -> None:
        """Ends it without a word, also a call that is under way: whoever stops does not wait for a server."""
        if self._imap is not None:
            with suppress(OSError):
                self._imap.shutdown()

    @property
    def _open(self) -> imaplib.IMAP4:
        assert self._imap is not None
        return self._imap


async def _in_thread(call: Callable[[], _Found]) -> _Found:
    try:
        return await asyncio.to_thread(call)
    except (imaplib.IMAP4.error, OSError) as exc:
        lost = isinstance(exc, imaplib.IMAP4.abort | OSError)
        # What the server says may hold what was said to it.
        raise (MailboxUnreachable if lost else MailRefused)(
            f"the mailbox cannot be read: {type(exc).__name__}",
            resolution="Check the address of the IMAP server, its user, password and folder.",
        ) from exc


def _checked(answer: tuple[str, list[_Found]]) -> list[_Found]:
    kind, found = answer
    if kind != "OK":
        raise imaplib.IMAP4.error("refused")
    return [each for each in found if each is not None]


def _flat(found: Sequence[object]) -> bytes:
    parts = [each if isinstance(each, tuple) else (each,) for each in found]
    return b" ".join(part for each in parts for part in each if isinstance(part, bytes))


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
