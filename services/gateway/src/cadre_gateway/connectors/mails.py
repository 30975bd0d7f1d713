"""Mails as they come: what they say, whom they answer, and whether a machine wrote them."""

import email
import email.policy
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage, Message, MIMEPart
from email.utils import getaddresses
from html.parser import HTMLParser
from typing import Any

from cadre_gateway.connectors.files import attached
from cadre_kit.errors import InvalidInput

__all__ = ["Mail", "MailUnreadable", "read_mail", "text_of_html"]

_ID = re.compile(r"<[^<>\s]{1,500}>")
_LONGEST_TEXT = 200_000
_MOST_REFERENCES = 20
# RFC 3834 and what came before it. Whoever sends so is not to be answered.
_MACHINES = re.compile(
    r"^(mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?)([+@-]|$)", re.IGNORECASE
)
_MASS = ("bulk", "junk", "list", "auto_reply")
_LIST_HEADERS = ("List-Id", "List-Unsubscribe", "X-Autoreply", "X-Autorespond", "X-Loop")
# What the parser raises for headers and bodies that are damaged beyond what it mends.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


class MailUnreadable(InvalidInput):
    """What came is no mail, or one that names nobody."""

    code = "MAIL_UNREADABLE"


@dataclass(frozen=True, kw_only=True)
class Mail:
    """`message_id` is a digest where the mail has none. `references` are those that it answers, the thread's first one
    first. `answer_to` is where an answer goes. `automatic`: a machine wrote it, or it went to many."""

    message_id: str
    sender: str
    answer_to: str
    subject: str
    date: str
    text: str
    references: tuple[str, ...]
    files: tuple[Mapping[str, Any], ...]
    automatic: bool

    @property
    def conversation(self) -> str:
        """The thread: the id of its first mail, or a digest where that is long."""
        first = self.references[0] if self.references else self.message_id
        plain = first.strip("<>")
        return plain if len(plain) <= 150 else hashlib.sha256(plain.encode()).hexdigest()

    @property
    def file_bytes(self) -> int:
        """How large its files are in all."""
        return sum(int(file["size"]) for file in self.files)


def read_mail(raw: bytes) -> Mail:
    """Raises MailUnreadable."""
    try:
        return _read(raw)
    except _DAMAGE as exc:
        raise MailUnreadable(
            f"the mail cannot be read: {type(exc).__name__}",
            resolution="Send a message of RFC 5322, as it is.",
        ) from exc


def text_of_html(page: str) -> str:
    """What a reader of a page sees, its paragraphs and list items in lines of their own."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.found).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _read(raw: bytes) -> Mail:
    found = email.message_from_bytes(raw, policy=email.policy.default)
    sender = _address(found, "From")
    if not sender:
        raise MailUnreadable("the mail does not say whom it is from")
    ids = _ID.findall(_header(found, "Message-ID"))
    digest = f"<{hashlib.sha256(raw).hexdigest()}@unnamed>"
    references = _ID.findall(_header(found, "References")) or _ID.findall(
        _header(found, "In-Reply-To")
    )
    return Mail(
        message_id=ids[0] if ids else digest,
        sender=sender,
        answer_to=_address(found, "Reply-To") or sender,
        subject=_header(found, "Subject")[:500],
        date=_header(found, "Date")[:100],
        text=_text(found)[:_LONGEST_TEXT],
        references=(*references[:1], *references[1:][-_MOST_REFERENCES:]),
        files=tuple(_files(found)),
        automatic=_is_automatic(found, sender),
    )


def _header(found: Message, name: str) -> str:
    """A header in one line, without NUL, which some databases cannot hold; empty where it is not there."""
    return " ".join(str(found.get(name, "")).replace("\0", "").split())


def _address(found: Message, name: str) -> str:
    addresses = [address for _, address in getaddresses([_header(found, name)]) if "@" in address]
    return addresses[0].lower()[:254] if addresses else ""


def _is_automatic(found: Message, sender: str) -> bool:
    submitted = _header(found, "Auto-Submitted").lower()
    return (
        submitted not in ("", "no")
        or _header(found, "Precedence").lower() in _MASS
        or any(name in found for name in _LIST_HEADERS)
        or "x-auto-response-suppress" in found
        or _header(found, "Return-Path") == "<>"
        or found.get_content_type() == "multipart/report"
        or _MACHINES.match(sender) is not None
    )


def _text(found: EmailMessage) -> str:
    part = found.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    written = _decoded(part)
    return text_of_html(written) if part.get_content_type() == "text/html" else written.strip()


def _decoded(part: Message) -> str:
    raw = part.get_payload(decode=True)
    charset = part.get_content_charset("utf-8")
    try:
        return raw.decode(charset, "replace") if isinstance(raw, bytes) else ""
    except LookupError:
        return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""


def _files(found: EmailMessage) -> Iterator[Mapping[str, Any]]:
    """Whatever is no words, wherever it is: some programs put files into one of several forms of the words."""
    words = found.get_body(preferencelist=("plain", "html"))
    for part, is_one_of_several in _leaves(found):
        is_text = part.get_content_type() in ("text/plain", "text/html")
        if part is words or (is_text and is_one_of_several and not part.is_attachment()):
            continue
        raw = _raw(part)
        if raw:
            name = part.get_filename() or "attachment"
            yield attached(name[:200], part.get_content_type(), raw)


def _leaves(part: MIMEPart, *, several: bool = False) -> Iterator[tuple[MIMEPart, bool]]:
    """All parts that hold something, and whether each is within one of several forms of the same."""
    if part.get_content_maintype() != "multipart":
        yield part, several
        return
    for each in part.iter_parts():
        inner = several or part.get_content_subtype() == "alternative"
        yield from _leaves(each, several=inner)


def _raw(part: MIMEPart) -> bytes:
    """What a part holds; of a mail that came as a file, that mail."""
    if part.is_multipart():
        return b"".join(each.as_bytes() for each in part.iter_parts())
    raw = part.get_payload(decode=True)
    return raw if isinstance(raw, bytes) else b""


class _Reader(HTMLParser):
    """Keeps what is shown."""

    _HIDDEN = frozenset({"script", "style", "head", "title", "template"})
    _BLOCKS = frozenset("p div ul ol table h1 h2 h3 h4 h5 h6".split())
    _LINES = frozenset("br div p li tr h1 h2 h3 h4 h5 h6 hr".split())

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag in self._LINES:
            self.found.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in self._BLOCKS:
            self.found.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(re.sub(r"\s+", " ", data))
