"""A local Bot API: as much of it as the gateway uses, over a real socket, and as strict as its documentation says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import httpx

BOT_ID = 777000111
TOKEN = f"{BOT_ID}:AAF-a-token-of-no-bot"
USERNAME = "helper_bot"
PERSON = {"id": 42, "is_bot": False, "first_name": "Ada", "username": "ada"}
CHAT = {"id": 42, "type": "private"}
GROUP = {"id": -1001, "type": "supergroup", "title": "All"}


class Refused(Exception):
    """An answer with `ok` false."""

    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status = status
        self.document = {"ok": False, "error_code": status, "description": description}
        if parameters:
            self.document["parameters"] = parameters


@dataclass
class TelegramServer:
    """`calls` are all methods that were asked for, with their fields. `refusals` are raised in turn by the next calls
    of the method of that name. `updates` wait for getUpdates, `files` for getFile."""

    url: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refusals: dict[str, list[Refused]] = field(default_factory=dict)
    updates: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    webhook: dict[str, Any] = field(default_factory=dict)
    polling: bool = False
    conflicts: int = 0
    _numbers: int = 1_000
    _news: threading.Condition = field(default_factory=threading.Condition)

    def number(self) -> int:
        """The next id, of an update or a message."""
        with self._news:
            self._numbers += 1
            return self._numbers

    def sent(self, method: str = "sendMessage") -> list[dict[str, Any]]:
        """The fields of all calls of a method that were not refused."""
        return [fields for name, fields in self.calls if name == method]

    def message(self, text: str = "", **more: Any) -> dict[str, Any]:
        """An update with what a person writes."""
        said = {"message_id": self.number(), "from": PERSON, "chat": CHAT, "date": 1_790_000_000}
        content = {"text": text} if text else {}
        return {"update_id": self.number(), "message": {**said, **content, **more}}

    def push(self, update: dict[str, Any], gateway: str) -> httpx.Response:
        """Sends an update to the webhook that was set, at the gateway's real address."""
        path = urlsplit(self.webhook["url"]).path
        secret = {"X-Telegram-Bot-Api-Secret-Token": self.webhook["secret_token"]}
        with httpx.Client(verify=False, trust_env=False, timeout=30) as http:
            return http.post(f"{gateway}{path}", json=update, headers=secret)

    def queue(self, *updates: dict[str, Any]) -> None:
        """Has updates wait to be asked for."""
        with self._news:
            self.updates += updates
            self._news.notify_all()

    def answer(self, method: str, fields: dict[str, Any]) -> Any:
        """What a method does. Raises Refused."""
        if waiting := self.refusals.get(method):
            raise waiting.pop(0)
        result = _METHODS[method](self, fields)
        self.calls.append((method, fields))
        return result

    def _get_me(self, _: dict[str, Any]) -> Any:
        return {"id": BOT_ID, "is_bot": True, "first_name": "Helper", "username": USERNAME}

    def _set_webhook(self, fields: dict[str, Any]) -> Any:
        secret = fields.get("secret_token", "")
        if not fields["url"].startswith("https://") or not 1 <= len(secret) <= 256:
            raise Refused(400, "Bad Request: bad webhook: HTTPS url must be provided")
        self.webhook = fields
        return True

    def _delete_webhook(self, _: dict[str, Any]) -> Any:
        self.webhook = {}
        return True

    def _get_webhook_info(self, _: dict[str, Any]) -> Any:
        return {"url": self.webhook.get("url", ""), "pending_update_count": len(self.updates)}

    def _get_updates(self, fields: dict[str, Any]) -> Any:
        if self.webhook:
            raise Refused(409, "Conflict: can't use getUpdates method while webhook is active")
        with self._news:
            if self.polling:
                self.conflicts += 1
                raise Refused(409, "Conflict: terminated by other getUpdates request")
            self.polling = True
            try:
                return self._updates_after(fields)
            finally:
                self.polling = False

    def _updates_after(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        self.updates = [u for u in self.updates if u["update_id"] >= fields["offset"]]
        # A long poll, cut short so that a test's server can stop.
        self._news.wait_for(lambda: bool(self.updates), timeout=min(fields["timeout"], 1))
        return list(self.updates)

    def _send_message(self, fields: dict[str, Any]) -> Any:
        _check_text(fields)
        for row in fields.get("reply_markup", {}).get("inline_keyboard", ()):
            if any(not 1 <= len(key["callback_data"].encode()) <= 64 for key in row):
                raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")
        return {"message_id": self.number(), "chat": {"id": fields["chat_id"]}}

    def _edit_message(self, fields: dict[str, Any]) -> Any:
        _check_text(fields)
        return {"message_id": fields["message_id"]}

    def _get_file(self, fields: dict[str, Any]) -> Any:
        if fields["file_id"] not in self.files:
            raise Refused(400, "Bad Request: invalid file_id")
        return {"file_id": fields["file_id"], "file_path": f"photos/{fields['file_id']}"}

    def _true(self, _: dict[str, Any]) -> Any:
        return True


_METHODS: dict[str, Callable[[TelegramServer, dict[str, Any]], Any]] = {
    "getMe": TelegramServer._get_me,
    "setWebhook": TelegramServer._set_webhook,
    "deleteWebhook": TelegramServer._delete_webhook,
    "getWebhookInfo": TelegramServer._get_webhook_info,
    "getUpdates": TelegramServer._get_updates,
    "sendMessage": TelegramServer._send_message,
    "editMessageText": TelegramServer._edit_message,
    "answerCallbackQuery": TelegramServer._true,
    "sendChatAction": TelegramServer._true,
    "getFile": TelegramServer._get_file,
}


def _check_text(fields: dict[str, Any]) -> None:
    length = len(fields["text"].encode("utf-16-le")) // 2
    if not fields["text"].strip():
        raise Refused(400, "Bad Request: message text is empty")
    if length > 4096:
        raise Refused(400, "Bad Request: message is too long")
    for entity in fields.get("entities", ()):
        if entity["offset"] < 0 or entity["offset"] + entity["length"] > length:
            raise Refused(400, "Bad Request: can't parse entities: out of the text")


@contextmanager
def telegram_server() -> Iterator[TelegramServer]:
    """Serves on a free port until the block ends."""
    telegram = TelegramServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fields = json.loads(self.rfile.read(int(self.headers["content-length"])))
            _, bot, method = self.path.split("/")
            try:
                if bot != f"bot{TOKEN}":
                    raise Refused(401, "Unauthorized")
                self._say(200, {"ok": True, "result": telegram.answer(method, fields)})
            except Refused as refused:
                self._say(refused.status, refused.document)

        def do_GET(self) -> None:
            prefix = f"/file/bot{TOKEN}/photos/"
            content = telegram.files.get(self.path.removeprefix(prefix))
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def _say(self, status: int, document: Any) -> None:
            with suppress(ConnectionError):  # whoever asked was killed, or went away
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(document).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    telegram.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield telegram
    finally:
        server.shutdown()
        server.server_close()
