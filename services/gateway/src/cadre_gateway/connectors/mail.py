"""Email: mails to a mailbox start runs; replies stay in their thread. Machines are never answered (RFC 3834).

The mailbox named `desk` is read by IMAP where CADRE_EMAIL_DESK_IMAP_URL says so. A mail server can also post each mail
as it is to /hooks/email/desk, signed with CADRE_EMAIL_DESK_HOOK_SECRET, else with the platform's secret.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any

from cadre_gateway.connectors.mailboxes import OVERSIZE, Account, listening_to, send_mail
from cadre_gateway.connectors.mails import Mail, read_mail
from cadre_gateway.domain.actions import Action, Say, StartRun
from cadre_gateway.domain.connectors import (
    MOST_FILE_BYTES,
    Answer,
    Connector,
    DeliveryRefused,
    Incoming,
    Listener,
    Message,
    Parsed,
    Sample,
    Trigger,
    Variables,
    connection_variable,
)
from cadre_gateway.domain.deliveries import Delivery, RunNews
from cadre_gateway.domain.webhooks import WebhookSecret, standard_headers, verified_delivery
from cadre_kit.errors import InvalidInput
from cadre_kit.ids import new_id
from cadre_kit.logs import logger

__all__ = ["EmailConnector"]

log = logger()

_LONGEST_KEY = 200
_GITHUB_HEADER = "x-hub-signature-256"
# A name that nobody can have (RFC 2606); nothing is sent there.
_SAMPLE_SENDER = "sample@cadre.invalid"
_TOO_LARGE = (
    f"The mail is larger than I take: files up to {MOST_FILE_BYTES // 1024 // 1024} MiB in all."
)


class EmailConnector(Connector):
    """`secret` is the platform's. Without mail, a mailbox is looked at every `poll_seconds`."""

    kind = "email"

    def __init__(self, *, variables: Variables, secret: str, poll_seconds: float) -> None:
        self._variables = variables
        self._secret = secret
        self._poll_seconds = poll_seconds

    def verify(self, request: Incoming, triggers: Sequence[Trigger]) -> Sequence[Trigger]:
        """All triggers of the mailbox, when its secret signed: as Standard Webhooks, or as GitHub without an id."""
        if request.method != "POST":
            raise DeliveryRefused
        try:
            secret = self._hook_secret(request.name)
        except InvalidInput as error:
            log.warning("webhook_secret_unusable", mailbox=request.name, reason=error.message)
            raise DeliveryRefused from error
        if "webhook-signature" in request.headers:
            verified_delivery([secret], request.headers, request.body, now=request.now)
        elif not secret.signs_as_github(request.body, request.headers.get(_GITHUB_HEADER, "")):
            raise DeliveryRefused
        return [trigger for trigger in triggers if trigger.enabled]

    def parse(self, request: Incoming, triggers: Sequence[Trigger]) -> Parsed:
        """One mail, unless a machine wrote it, or somebody who may not."""
        mail = read_mail(request.body)
        if not triggers or mail.automatic or not self._may_write(request.name, mail.sender):
            return Parsed(answer=Answer())
        is_large = OVERSIZE in request.query or mail.file_bytes > MOST_FILE_BYTES
        action: Action = Say(text=_TOO_LARGE) if is_large else StartRun()
        message = _message(mail, triggers[0], action, files=() if is_large else mail.files)
        return Parsed(messages=[message], answer=Answer())

    def reply(self, delivery: Delivery, run: RunNews) -> Sequence[Mapping[str, Any]]:
        """The field that the trigger names, or what the run asks."""
        return self.say(delivery, run.words(delivery.reply))

    def say(self, delivery: Delivery, text: str) -> Sequence[Mapping[str, Any]]:
        """One mail, however long."""
        if not text.strip() or delivery.back["to"] == _SAMPLE_SENDER:
            return []
        return [{"mailbox": delivery.name, "text": text, **delivery.back}]

    async def send(self, document: Mapping[str, Any], *, post_id: str, now: float) -> str:
        """One mail, which has the same Message-ID on every try."""
        account = Account(name=document["mailbox"], variables=self._variables)
        message = _composed(document, account.address, post_id=post_id, now=now)
        await send_mail(account, message, to=document["to"])
        return ""

    def listener(self, name: str) -> AbstractAsyncContextManager[Listener] | None:
        """Reads the mailbox, where it is said how."""
        account = Account(name=name, variables=self._variables)
        if account.imap is None:
            return None
        return listening_to(account, pause_seconds=self._poll_seconds)

    def sample(self, name: str, text: str, triggers: Sequence[Trigger], *, now: float) -> Sample:
        """A mail of somebody who there is not."""
        key = f"<{new_id()}@cadre.invalid>"
        mail = EmailMessage()
        mail["From"], mail["To"] = _SAMPLE_SENDER, f"{name}@cadre.invalid"
        mail["Subject"], mail["Message-ID"] = "Sample", key
        mail["Date"] = formatdate(now)
        mail.set_content(text)
        body = mail.as_bytes()
        signature = standard_headers([self._hook_secret(name)], body, message_id=new_id(), now=now)
        return Sample(
            path=f"/hooks/email/{name}",
            headers={"content-type": "message/rfc822", **signature},
            body=body,
            key=key,
        )

    def _hook_secret(self, name: str) -> WebhookSecret:
        variable = connection_variable("email", name, "HOOK_SECRET")
        own = self._variables.get(variable)
        return WebhookSecret(own, name=variable) if own else WebhookSecret(self._secret)

    def _may_write(self, name: str, sender: str) -> bool:
        """Whether a sender is among those of CADRE_EMAIL_<NAME>_SENDERS, addresses and domains; without it, everybody
        but the mailbox itself is."""
        own = self._variables.get(connection_variable("email", name, "ADDRESS"), "")
        if sender == parseaddr(own)[1].lower():
            return False
        listed = self._variables.get(connection_variable("email", name, "SENDERS"), "")
        allowed = {one.strip().lower().lstrip("@") for one in listed.split(",") if one.strip()}
        return not allowed or sender in allowed or sender.partition("@")[2] in allowed


def _message(
    mail: Mail, trigger: Trigger, action: Action, *, files: Sequence[Mapping[str, Any]]
) -> Message:
    about = {"subject": mail.subject, "from": mail.sender, "date": mail.date}
    references = [*mail.references, mail.message_id]
    return Message(
        trigger=trigger,
        key=mail.message_id[:_LONGEST_KEY],
        content={
            "body": {**about, "message_id": mail.message_id},
            "text": mail.text,
            "sender": mail.sender,
            "conversation": mail.conversation,
            "event": "mail",
            "files": list(files),
        },
        back={
            "to": mail.answer_to,
            "subject": mail.subject,
            "in_reply_to": mail.message_id,
            "references": references,
        },
        action=action,
    )


def _composed(
    document: Mapping[str, Any], address: str, *, post_id: str, now: float
) -> EmailMessage:
    """An answer that threads as a person's would, and that says that a machine wrote it."""
    subject = document["subject"]
    mail = EmailMessage()
    mail["From"], mail["To"] = address, document["to"]
    mail["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}".strip()
    mail["Date"] = formatdate(now)
    mail["Message-ID"] = f"<{post_id}@{parseaddr(address)[1].partition('@')[2] or 'cadre.invalid'}>"
    mail["In-Reply-To"] = document["in_reply_to"]
    mail["References"] = " ".join(document["references"])
    mail["Auto-Submitted"] = "auto-replied"
    # What Exchange and Outlook heed in its place.
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(document["text"])
    return mail
