"""Slack: mentions, direct messages and slash commands to an app start runs; replies go into the thread.

The app named `helper` has its secrets in CADRE_SLACK_HELPER_SIGNING_SECRET and CADRE_SLACK_HELPER_BOT_TOKEN.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from cadre_gateway.connectors.bodies import json_body
from cadre_gateway.connectors.files import attached
from cadre_gateway.connectors.marks import SLACK, marked_pieces, slack_escaped
from cadre_gateway.connectors.webhook import retry_after
from cadre_gateway.domain.actions import Say, StartRun
from cadre_gateway.domain.connectors import (
    FILES_TOO_LARGE,
    MOST_FILE_BYTES,
    Answer,
    AttachmentTooLarge,
    Connector,
    DeliveryRefused,
    Incoming,
    Message,
    Parsed,
    Sample,
    Trigger,
    Variables,
    connection_variable,
    required,
)
from cadre_gateway.domain.deliveries import Delivery, RunNews, TryAgain, Undeliverable
from cadre_gateway.domain.webhooks import is_recent
from cadre_kit.ids import new_id
from cadre_kit.outgoing import Ask, TooLarge, TooManyRedirects, fetch

__all__ = ["SlackConnector"]

_FORM = "application/x-www-form-urlencoded"
_LONGEST_TEXT = 4_000
_SEND_SECONDS = 20.0
_MENTION_AT_START = re.compile(r"^\s*<@[A-Z0-9]+(?:\|[^>]*)?>\s*")
# Where samples come from; nothing is sent there.
_SAMPLE_CHANNEL = "C0SAMPLE"
# Messages of people with more than words; every other subtype says what became of a message, or of the channel.
_SAID = (None, "", "file_share", "thread_broadcast", "me_message")
# What Slack may answer that another try can change; everything else is for a person.
_PASSING = frozenset(
    "ratelimited rate_limited internal_error fatal_error service_unavailable request_timeout".split()
)


class FileRefused(Undeliverable):
    """Slack does not give a file that came with a message."""

    code = "FILE_REFUSED"

    def __init__(self) -> None:
        super().__init__(
            "Slack does not give a file that came with the message",
            resolution="Give the app the scope files:read, install it anew, and replay the delivery.",
        )


class SlackConnector(Connector):
    """Speaks the Events API, slash commands and chat.postMessage. `api_url` is where Slack's Web API is."""

    kind = "slack"

    def __init__(self, *, variables: Variables, api_url: str, client: httpx2.AsyncClient) -> None:
        self._variables = variables
        self._api_url = api_url.rstrip("/")
        self._client = client

    def verify(self, request: Incoming, triggers: Sequence[Trigger]) -> Sequence[Trigger]:
        """All triggers of the app, when its signing secret signed."""
        secret = self._variables.get(connection_variable("slack", request.name, "SIGNING_SECRET"))
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        given = request.headers.get("x-slack-signature", "")
        if not secret or not is_recent(timestamp, request.now):
            raise DeliveryRefused
        right = _signature(secret, timestamp, request.body)
        if not hmac.compare_digest(right.encode(), given.encode()):
            raise DeliveryRefused
        return [trigger for trigger in triggers if trigger.enabled]

    def parse(self, request: Incoming, triggers: Sequence[Trigger]) -> Parsed:
        """A slash command is a form, an event is JSON."""
        if request.headers.get("content-type", "").startswith(_FORM):
            fields = dict(
                parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
            )
            return _command(fields, triggers)
        document = json_body(request.body)
        said = document if isinstance(document, dict) else {}
        if said.get("type") == "url_verification":
            challenge = json.dumps({"challenge": said.get("challenge", "")})
            return Parsed(answer=Answer(body=challenge.encode()))
        event, event_id = said.get("event"), said.get("event_id")
        found = []
        if isinstance(event, dict) and isinstance(event_id, str) and _is_asked(event):
            files = self._files(event)
            found = [_message(event, event_id, t, files) for t in _for_messages(triggers)]
        return Parsed(messages=found, answer=Answer())

    def reply(self, delivery: Delivery, run: RunNews) -> Sequence[Mapping[str, Any]]:
        """The field that the trigger names, in the thread of what was asked."""
        return self.say(delivery, run.words(delivery.reply))

    def say(self, delivery: Delivery, text: str) -> Sequence[Mapping[str, Any]]:
        """A reply in as many messages as it takes."""
        if delivery.back["channel"] == _SAMPLE_CHANNEL:
            return []
        return [
            {"app": delivery.name, "text": piece, **delivery.back}
            for piece in marked_pieces(text, SLACK, limit=_LONGEST_TEXT)
        ]

    async def complete(self, delivery: Delivery) -> Mapping[str, Any]:
        """Fetches the files that came along."""
        files = []
        left = MOST_FILE_BYTES
        for file in delivery.content["files"]:
            raw = await self._download(delivery.name, file["url"], max_bytes=left)
            files.append(attached(file["name"], file["media_type"], raw))
            left -= len(raw)
        return {**delivery.content, "files": files}

    async def send(self, document: Mapping[str, Any], *, post_id: str, now: float) -> str:
        """One chat.postMessage."""
        message = {
            key: document[key] for key in ("channel", "thread_ts", "text") if key in document
        }
        ask = Ask(
            url=f"{self._api_url}/chat.postMessage",
            method="POST",
            headers={
                "content-type": "application/json; charset=utf-8",
                **self._authorization(document["app"]),
            },
            body=json.dumps(message).encode(),
            seconds=_SEND_SECONDS,
            max_redirects=0,
        )
        answer = await fetch(self._client, ask)
        _judge(answer.status, answer.headers, answer.body)
        return ""

    def _files(self, event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What came along and lies at Slack; files elsewhere are only linked to."""
        listed = event.get("files")
        return [
            _file(file)
            for file in (listed if isinstance(listed, list) else ())
            if isinstance(file, dict) and self._may_show_token(file.get("url_private"))
        ]

    def _may_show_token(self, url: Any) -> bool:
        """Whether an address is Slack's."""
        scheme, host = _origin(url) if isinstance(url, str) else ("", "")
        known = scheme == "https" and f".{host}".endswith(".slack.com")
        return known or (scheme, host) == _origin(self._api_url)

    async def _download(self, name: str, url: str, *, max_bytes: int) -> bytes:
        ask = Ask(
            url=url,
            headers=self._authorization(name),
            seconds=_SEND_SECONDS,
            max_bytes=max_bytes,
            max_redirects=0,
        )
        try:
            answer = await fetch(self._client, ask)
        except TooLarge as exc:
            raise AttachmentTooLarge from exc
        except TooManyRedirects as exc:
            # Whoever may not read it is sent to a page to sign in.
            raise FileRefused from exc
        if answer.status == 429 or answer.status >= 500:
            raise TryAgain(
                f"Slack answered {answer.status} for a file",
                after_seconds=retry_after(answer.headers),
            )
        if answer.status != 200:
            raise FileRefused
        return answer.body

    def _authorization(self, name: str) -> dict[str, str]:
        token = required(self._variables, connection_variable("slack", name, "BOT_TOKEN"))
        return {"authorization": f"Bearer {token}"}

    def sample(self, name: str, text: str, triggers: Sequence[Trigger], *, now: float) -> Sample:
        """A mention, or the slash command of an app that has only such triggers; nothing is replied to it."""
        secret = required(self._variables, connection_variable("slack", name, "SIGNING_SECRET"))
        command = "" if _for_messages(triggers) else next((t.command for t in triggers), "")
        key = f"Ev{new_id()}"
        body = _sample_command(command, text, key) if command else _sample_event(text, key, now)
        timestamp = str(int(now))
        return Sample(
            path=f"/hooks/slack/{name}",
            headers={
                "content-type": _FORM if command else "application/json",
                "x-slack-request-timestamp": timestamp,
                "x-slack-signature": _signature(secret, timestamp, body),
            },
            body=body,
            key=key,
        )


def _signature(secret: str, timestamp: str, body: bytes) -> str:
    signed = f"v0:{timestamp}:".encode() + body
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _for_messages(triggers: Sequence[Trigger]) -> list[Trigger]:
    """The trigger for mentions and direct messages: the first that is for no command."""
    return [trigger for trigger in triggers if not trigger.command][:1]


def _is_asked(event: Mapping[str, Any]) -> bool:
    """Mentions, and messages in direct conversations, of people. A mention in a channel may come as a message too, and
    one that was edited comes again, as another event."""
    if event.get("bot_id") or event.get("hidden") or event.get("edited"):
        return False
    if event.get("subtype") not in _SAID:
        return False
    mentioned = event.get("type") == "app_mention"
    direct = event.get("type") == "message" and event.get("channel_type") == "im"
    texts = all(isinstance(event.get(key), str) for key in ("text", "user", "channel", "ts"))
    return (mentioned or direct) and texts


def _message(
    event: Mapping[str, Any], event_id: str, trigger: Trigger, files: Sequence[Mapping[str, Any]]
) -> Message:
    thread = str(event.get("thread_ts") or event["ts"])
    # A direct conversation is one, whatever threads are in it; in a channel each thread is.
    direct = event.get("channel_type") == "im"
    is_large = sum(file["size"] for file in files) > MOST_FILE_BYTES
    return Message(
        trigger=trigger,
        action=Say(text=FILES_TOO_LARGE) if is_large else StartRun(),
        key=event_id[:200],
        content={
            "body": event,
            "text": _unescaped(_MENTION_AT_START.sub("", event["text"])),
            "sender": event["user"],
            "conversation": f"{event['channel']}/{event['user'] if direct else thread}",
            "event": event["type"],
            "files": [] if is_large else list(files),
        },
        back={"channel": event["channel"], "thread_ts": thread},
    )


def _file(file: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "url": file["url_private"],
        "name": str(file.get("name") or "file")[:200],
        "media_type": str(file.get("mimetype") or "application/octet-stream")[:100],
        "size": file["size"] if isinstance(file.get("size"), int) else 0,
    }


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc.lower()


def _command(fields: Mapping[str, str], triggers: Sequence[Trigger]) -> Parsed:
    command, channel = fields.get("command", ""), fields.get("channel_id", "")
    taking = [t for t in triggers if t.command == command] or _for_messages(triggers)
    key = fields.get("trigger_id", "")
    if not (taking and command and channel and key):
        return Parsed(answer=_only_to_them("Nothing here takes this command."))
    user = fields.get("user_id", "")
    message = Message(
        trigger=taking[0],
        key=key[:200],
        content={
            # The token is a secret of Slack's older kind, and the address may post into the channel.
            "body": {k: v for k, v in fields.items() if k not in ("token", "response_url")},
            "text": _unescaped(fields.get("text", "")),
            "sender": user,
            "conversation": f"{channel}/{user}",
            "event": command,
            "files": [],
        },
        back={"channel": channel},
    )
    return Parsed(messages=[message], answer=_only_to_them("Working on it."))


def _only_to_them(text: str) -> Answer:
    return Answer(body=json.dumps({"response_type": "ephemeral", "text": text}).encode())


def _judge(status: int, headers: Mapping[str, str], body: bytes) -> None:
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or status == 429 or status >= 500:
        raise TryAgain(f"Slack answered {status}", after_seconds=retry_after(headers))
    if said.get("ok") is True:
        return
    error = str(said.get("error", ""))[:100]
    if error in _PASSING:
        raise TryAgain(f"Slack answered {error}", after_seconds=retry_after(headers))
    raise Undeliverable(
        f"Slack refuses the reply: {error or status}",
        resolution="Invite the app to the channel (not_in_channel), give it the scope chat:write (missing_scope), or "
        "set its bot token anew (invalid_auth); then replay the delivery.",
    )


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _sample_event(text: str, key: str, now: float) -> bytes:
    event = {
        "type": "app_mention",
        "user": "U0SAMPLE",
        "text": f"<@U0APP> {slack_escaped(text)}",
        "ts": f"{now:.6f}",
        "channel": _SAMPLE_CHANNEL,
    }
    return json.dumps({"type": "event_callback", "event_id": key, "event": event}).encode()


def _sample_command(command: str, text: str, key: str) -> bytes:
    fields = {
        "command": command,
        "text": slack_escaped(text),
        "user_id": "U0SAMPLE",
        "channel_id": _SAMPLE_CHANNEL,
        "trigger_id": key,
    }
    return urlencode(fields).encode()
