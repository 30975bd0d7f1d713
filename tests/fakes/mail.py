"""Mail servers on loopback: pymap's IMAP server as a process, and aiosmtpd, which keeps what it is sent."""

import email
import email.policy
import imaplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from tests.ports import free_port

USER, PASSWORD = "demouser", "demopass"
ADDRESS = "Desk <desk@example.org>"
_START_SECONDS = 60.0


@dataclass
class SmtpServer:
    """`mails` are all that were taken, `answers` what is said to the next ones in place of taking them."""

    url: str = ""
    mails: list[EmailMessage] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Takes a mail."""
        if not session.authenticated:
            return "530 Authentication required"
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@contextmanager
def smtp_server() -> Iterator[SmtpServer]:
    """Serves on a free port until the block ends; only who has the password may send."""
    kept = SmtpServer()

    def knows(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        right = LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=data == right)

    controller = Controller(
        kept,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=knows,
        auth_require_tls=False,
    )
    controller.start()
    kept.url = f"smtp://127.0.0.1:{controller.port}"
    try:
        yield kept
    finally:
        controller.stop()


@dataclass(frozen=True)
class ImapServer:
    """A mailbox, as its owner's mail program sees it."""

    port: int

    @property
    def url(self) -> str:
        """Where it is."""
        return f"imap://127.0.0.1:{self.port}"

    def append(self, *mails: bytes) -> None:
        """Mails that arrive."""
        with self._opened() as imap:
            for mail in mails:
                assert imap.append("INBOX", "", "", mail)[0] == "OK"

    def unread(self) -> int:
        """How many were not read yet."""
        with self._opened() as imap:
            return len(imap.uid("SEARCH", "UNSEEN")[1][0].split())

    def empty(self) -> None:
        """Marks all as read that is there."""
        with self._opened() as imap:
            imap.store("1:*", "+FLAGS", r"(\Seen)")

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4]:
        imap = imaplib.IMAP4("127.0.0.1", self.port, timeout=30)
        try:
            imap.login(USER, PASSWORD)
            imap.select("INBOX")
            yield imap
        finally:
            imap.logout()


@contextmanager
def imap_server() -> Iterator[ImapServer]:
    """Serves on a free port until the block ends."""
    port = free_port()
    program = Path(sys.executable).parent / "pymap"
    listening = ["--host", "127.0.0.1", "--port", str(port), "--no-tls"]
    process = subprocess.Popen(
        [str(program), *listening, "dict", "--demo-data"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        server = ImapServer(port)
        _await(server, process)
        server.empty()
        yield server
    finally:
        process.kill()
        process.wait()


def _await(server: ImapServer, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up:
        assert process.poll() is None, "the IMAP server has ended"
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            return
        time.sleep(0.1)
    raise AssertionError("the IMAP server does not answer")


def a_mail(text: str = "Is it on?", *, key: str = "<1@example.com>", **headers: str) -> bytes:
    """A mail of Ada's."""
    mail = EmailMessage()
    about = {"From": "Ada <Ada@example.com>", "To": "desk@example.org", "Subject": "The heating"}
    for name, value in {**about, "Message-ID": key, **headers}.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail.as_bytes()
