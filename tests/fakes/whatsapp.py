"""Meta's Graph API over a real socket: messages, read receipts and media of the Cloud API, as its manual says."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "EAAG-a-token-of-no-number"
APP_SECRET = "a-secret-of-no-app"
NUMBER_ID = "106540352242922"
PERSON = "16505551234"
USER_ID = "US.13491208655302741918"


@dataclass
class WhatsAppServer:
    """`messages` are all that were sent, `read` all that were marked as read. `refusals`, a status and an error code,
    are given in turn to the next messages. `media` are files by id."""

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    read: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[tuple[int, int]] = field(default_factory=list)
    media: dict[str, bytes] = field(default_factory=dict)

    def answer(self, fields: dict[str, Any]) -> tuple[int, Any]:
        """What Meta says to a POST to /<phone-number-id>/messages."""
        if fields.get("status") == "read":
            self.read.append(fields)
            return 200, {"success": True}
        if self.refusals:
            status, code = self.refusals.pop(0)
            return status, {"error": {"message": f"(#{code}) no", "code": code, "type": "x"}}
        problem = _problem(fields)
        if problem:
            return 400, {"error": {"message": f"(#100) {problem}", "code": 100, "type": "x"}}
        self.messages.append(fields)
        person = fields.get("to") or fields["recipient"]
        return 200, {
            "messaging_product": "whatsapp",
            "contacts": [{"input": person}],
            "messages": [{"id": f"wamid.out{len(self.messages)}"}],
        }


def _problem(fields: dict[str, Any]) -> str:
    """What the Cloud API would refuse."""
    if fields.get("messaging_product") != "whatsapp" or not (fields.keys() & {"to", "recipient"}):
        return "a parameter is missing"
    match fields["type"]:
        case "text":
            return "" if 1 <= len(fields["text"]["body"]) <= 4096 else "text.body is too long"
        case "interactive":
            return _interactive_problem(fields["interactive"])
        case "template":
            (body,) = fields["template"]["components"]
            words = body["parameters"][0]["text"]
            return "a parameter has a line break" if "\n" in words else ""
    return "the type is unknown"


def _interactive_problem(said: dict[str, Any]) -> str:
    if not 1 <= len(said["body"]["text"]) <= 1024:
        return "interactive.body is too long"
    if said["type"] == "button":
        keys = [one["reply"] for one in said["action"]["buttons"]]
        fits = len(keys) <= 3 and all(1 <= len(key["title"]) <= 20 for key in keys)
    else:
        keys = said["action"]["sections"][0]["rows"]
        fits = len(keys) <= 10 and all(1 <= len(key["title"]) <= 24 for key in keys)
    return "" if fits and all(len(key["id"]) <= 256 for key in keys) else "a button is too long"


def signed(document: Any, secret: str = APP_SECRET) -> tuple[bytes, dict[str, str]]:
    """A body and the headers that Meta sends it with."""
    body = json.dumps(document, ensure_ascii=True).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return body, {
        "content-type": "application/json",
        "x-hub-signature-256": f"sha256={signature}",
    }


def delivered(*values: dict[str, Any], field: str = "messages") -> dict[str, Any]:
    """A body with a change for each of the values."""
    changes = [
        {
            "field": field,
            "value": {
                "messaging_product": "whatsapp",
                "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER_ID},
                **value,
            },
        }
        for value in values
    ]
    entry = [{"id": "102290129340398", "changes": [change]} for change in changes]
    return {"object": "whatsapp_business_account", "entry": entry}


def text(body: str, key: str = "wamid.1", **contact: str) -> dict[str, Any]:
    """The value of a change with a text message."""
    return message({"type": "text", "text": {"body": body}}, key, **contact)


def message(said: dict[str, Any], key: str = "wamid.1", **contact: str) -> dict[str, Any]:
    """The value of a change with a message."""
    known = contact or {"wa_id": PERSON, "user_id": USER_ID}
    sender = {"from": known["wa_id"]} if "wa_id" in known else {}
    return {
        "contacts": [{"profile": {"name": "Ada"}, **known}],
        "messages": [{**sender, "id": key, "timestamp": "1790000000", **said}],
    }


@contextmanager
def whatsapp_server() -> Iterator[WhatsAppServer]:
    """Serves on a free port until the block ends."""
    meta = WhatsAppServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fields = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == f"/v23.0/{NUMBER_ID}/messages"
            if self._is_genuine():
                self._say(*meta.answer(fields))

        def do_GET(self) -> None:
            kind, _, media_id = self.path.removeprefix("/").partition("/")
            if not self._is_genuine():
                return
            if kind == "v23.0":
                self._say(200, {"id": media_id, "url": f"{meta.url}/../media/{media_id}"})
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(meta.media[self.path.rpartition("/")[2]])

        def _is_genuine(self) -> bool:
            if self.headers.get("authorization") == f"Bearer {TOKEN}":
                return True
            self._say(401, {"error": {"message": "Invalid OAuth access token", "code": 190}})
            return False

        def _say(self, status: int, document: Any) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    meta.url = f"http://127.0.0.1:{server.server_port}/v23.0"
    try:
        yield meta
    finally:
        server.shutdown()
        server.server_close()
