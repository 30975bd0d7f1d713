"""Slack's Web API over a real socket: as much of chat.postMessage, and of files, as its documentation says."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "xoxb-a-token-of-no-app"


@dataclass
class SlackServer:
    """`answers` are given in turn, as status, headers and document; then every message is taken. `files` are given to
    who has the scope for it, by their path."""

    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    answers: list[tuple[int, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    def answer(self, token: str, message: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        """What Slack says to a message."""
        if self.answers:
            return self.answers.pop(0)
        if token != f"Bearer {TOKEN}":
            return 200, {}, {"ok": False, "error": "invalid_auth"}
        if not message.get("text") or not message.get("channel"):
            return 200, {}, {"ok": False, "error": "no_text"}
        self.messages.append(message)
        return 200, {}, {"ok": True, "ts": "1700000000.000100", "message": message}


@contextmanager
def slack_server() -> Iterator[SlackServer]:
    """Serves on a free port until the block ends."""
    slack = SlackServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            token = self.headers.get("authorization", "")
            assert self.path == "/api/chat.postMessage"
            status, headers, document = slack.answer(token, json.loads(body))
            self.send_response(status)
            for name, value in {**headers, "content-type": "application/json"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def do_GET(self) -> None:
            content = slack.files.get(self.path)
            known = self.headers.get("authorization") == f"Bearer {TOKEN}" and content is not None
            self.send_response(200 if known else 302)
            if not known:
                self.send_header("location", "/signin")
            self.end_headers()
            self.wfile.write(content if known and content is not None else b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    slack.url = f"http://127.0.0.1:{server.server_port}/api"
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
