"""WhatsApp, by Meta's Cloud API: messages to a number start runs; replies name the message that they answer.

The number named `main` has its secrets in CADRE_WHATSAPP_MAIN_APP_SECRET, CADRE_WHATSAPP_MAIN_VERIFY_TOKEN and
CADRE_WHATSAPP_MAIN_TOKEN.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from cadre_gateway.connectors.bodies import json_body
from cadre_gateway.connectors.files import attached
from cadre_gateway.connectors.whatsapp_api import WhatsAppApi, WhatsAppRefused
from cadre_gateway.connectors.whatsapp_messages import (
    SAMPLE_PERSON,
    message_of,
    question_documents,
    receipt_of,
    template_document,
    text_documents,
)
from cadre_gateway.domain.connectors import (
    Answer,
    Connector,
    DeliveryForbidden,
    DeliveryRefused,
    Incoming,
    Message,
    Parsed,
    Sample,
    Trigger,
    Variables,
    connection_variable,
)
from cadre_gateway.domain.deliveries import Delivery, Receipt, RunNews, Undeliverable
from cadre_kit.ids import new_id

__all__ = ["LastHeard", "WhatsAppConnector"]

LastHeard = Callable[[str, str, str], Awaitable[float | None]]
"""When something came last from a conversation of a connection of a kind, in unix seconds."""

_WINDOW_SECONDS = 86_400.0
_WINDOW_CLOSED = 131047
# A read receipt's dots go away after 25 seconds; so they are shown anew every fifth tick of 4.
_TICKS_BETWEEN_DOTS = 5


class WindowClosed(Undeliverable):
    """More than 24 hours have gone by since the person wrote last, and WhatsApp takes only templates then."""

    code = "WINDOW_CLOSED"

    def __init__(self, variable: str) -> None:
        super().__init__(
            "the person wrote last more than 24 hours ago, and WhatsApp takes only templates then",
            resolution=f"Set {variable} to the name and language of an approved template with one parameter, such as "
            "answer:en_US, and replay the delivery; or wait until they write again, and replay it then.",
            metadata={"variable": variable},
        )


class WhatsAppConnector(Connector):
    """`secret` is the platform's: it signs samples for numbers whose app secret is not set."""

    kind = "whatsapp"

    def __init__(
        self, *, api: WhatsAppApi, variables: Variables, secret: str, last_heard: LastHeard
    ) -> None:
        self._api = api
        self._variables = variables
        self._secret = secret
        self._last_heard = last_heard

    def verify(self, request: Incoming, triggers: Sequence[Trigger]) -> Sequence[Trigger]:
        """All triggers of the number, when its app secret signed; for a GET the verify token is compared."""
        if request.method == "GET":
            self._check_token(request)
        else:
            self._check_signature(request)
        return [trigger for trigger in triggers if trigger.enabled]

    def parse(self, request: Incoming, triggers: Sequence[Trigger]) -> Parsed:
        """All entries and changes: a change has messages, or what became of ours."""
        if request.method == "GET":
            challenge = request.query.get("hub.challenge", "")
            return Parsed(answer=Answer(body=challenge.encode(), media_type="text/plain"))
        messages: list[Message] = []
        receipts: list[Receipt] = []
        for value in self._values(request):
            for said in _dictionaries(value.get("messages")):
                found = message_of(said, value, triggers)
                messages += [found] if found is not None else []
            for status in _dictionaries(value.get("statuses")):
                known = receipt_of(status)
                receipts += [known] if known is not None else []
        return Parsed(messages=messages, receipts=receipts, answer=Answer())

    def reply(self, delivery: Delivery, run: RunNews) -> Sequence[Mapping[str, Any]]:
        """The field that the trigger names, or the questions with their buttons."""
        if run.status != "waiting":
            return self.say(delivery, run.words(delivery.reply))
        found: list[Mapping[str, Any]] = []
        for question in run.questions:
            found += question_documents(run.id, question)
        return _posts(delivery, found)

    def say(self, delivery: Delivery, text: str) -> Sequence[Mapping[str, Any]]:
        """A reply in as many messages as it takes."""
        return _posts(delivery, text_documents(text))

    async def send(self, document: Mapping[str, Any], *, post_id: str, now: float) -> str:
        """One message; outside the 24 hours in which a person may be answered, in the template that is set."""
        name = document["number"]
        heard = await self._last_heard(self.kind, name, document["conversation"])
        if heard is not None and now - heard > _WINDOW_SECONDS:
            return await self._send_template(document)
        try:
            return await self._api.send(name, document["from"], document["message"])
        except WhatsAppRefused as refused:
            if refused.number != _WINDOW_CLOSED:
                raise
        return await self._send_template(document)

    async def show_work(self, delivery: Delivery, *, tick: int) -> None:
        """Marks the message as read, and shows that an answer is being written."""
        back = delivery.back
        if tick % _TICKS_BETWEEN_DOTS == 0 and delivery.conversation != SAMPLE_PERSON:
            await self._api.mark_read(delivery.name, back["from"], back["message"])

    async def complete(self, delivery: Delivery) -> Mapping[str, Any]:
        """Fetches the image or document, if there is one."""
        files = []
        for file in delivery.content["files"]:
            raw = await self._api.download(delivery.name, file["id"])
            files.append(attached(file["name"], file["media_type"], raw))
        return {**delivery.content, "files": files}

    def sample(self, name: str, text: str, triggers: Sequence[Trigger], *, now: float) -> Sample:
        """A text message of a person that there is not."""
        key = f"wamid.sample{new_id()}"
        said = {"from": SAMPLE_PERSON, "id": key, "timestamp": str(int(now)), "type": "text"}
        value = {
            "messaging_product": "whatsapp",
            "metadata": {"phone_number_id": self._only_number(name) or "0"},
            "contacts": [{"profile": {"name": "Sample"}, "wa_id": SAMPLE_PERSON}],
            "messages": [{**said, "text": {"body": text}}],
        }
        entry = {"id": "0", "changes": [{"field": "messages", "value": value}]}
        body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
        headers = {
            "content-type": "application/json",
            "x-hub-signature-256": _signature(self._app_secret(name), body),
        }
        return Sample(path=f"/hooks/whatsapp/{name}", headers=headers, body=body, key=key)

    def _check_token(self, request: Incoming) -> None:
        right = self._variables.get(connection_variable("whatsapp", request.name, "VERIFY_TOKEN"))
        given = request.query.get("hub.verify_token", "")
        same = hmac.compare_digest((right or "").encode(), given.encode())
        if not right or not same or request.query.get("hub.mode") != "subscribe":
            raise DeliveryForbidden

    def _check_signature(self, request: Incoming) -> None:
        given = request.headers.get("x-hub-signature-256", "")
        if not given:
            raise DeliveryRefused
        right = _signature(self._app_secret(request.name), request.body)
        if not hmac.compare_digest(right.encode(), given.encode()):
            raise DeliveryForbidden

    def _app_secret(self, name: str) -> str:
        """Meta's; before there is one, one of our own, with which samples are signed."""
        set_one = self._variables.get(connection_variable("whatsapp", name, "APP_SECRET"))
        own = hmac.new(self._secret.encode(), f"whatsapp/{name}".encode(), hashlib.sha256)
        return set_one or own.hexdigest()

    def _only_number(self, name: str) -> str:
        """The phone number's id at Meta, where messages to the app's other numbers are not this connection's."""
        return self._variables.get(connection_variable("whatsapp", name, "PHONE_NUMBER_ID"), "")

    def _values(self, request: Incoming) -> Iterator[Mapping[str, Any]]:
        document = json_body(request.body)
        only = self._only_number(request.name)
        for entry in _dictionaries(document.get("entry") if isinstance(document, dict) else None):
            for change in _dictionaries(entry.get("changes")):
                value = change.get("value")
                if change.get("field") != "messages" or not isinstance(value, dict):
                    continue
                metadata = value.get("metadata")
                number = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
                if isinstance(number, str) and only in ("", number):
                    yield value

    async def _send_template(self, document: Mapping[str, Any]) -> str:
        """Once, in place of the first message: the window stays closed until the person writes."""
        name, message = document["number"], document["message"]
        variable = connection_variable("whatsapp", name, "TEMPLATE")
        template, _, language = self._variables.get(variable, "").partition(":")
        if not template:
            raise WindowClosed(variable)
        in_template = template_document(message, template=template, language=language or "en_US")
        return await self._api.send(name, document["from"], in_template)


def _signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _dictionaries(found: Any) -> list[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _posts(delivery: Delivery, documents: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Messages to who wrote; the first names what it answers."""
    back = delivery.back
    if delivery.conversation == SAMPLE_PERSON:
        return []
    context = {"context": {"message_id": back["message"]}}
    return [
        {
            "number": delivery.name,
            "from": back["from"],
            "conversation": delivery.conversation,
            "message": {
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                **back["address"],
                **(context if number == 0 else {}),
                **document,
            },
        }
        for number, document in enumerate(documents)
    ]
