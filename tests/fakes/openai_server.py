"""A provider in a thread of its own, for tests of the whole platform: OpenAI's wire format, on loopback.

It answers at once what fits the schema that was asked for, until a test tells it to wait or to misbehave.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.providers import Answer, openai_reply

Respond = Callable[[dict[str, Any]], Answer]
_GATE_SECONDS = 60.0


class OpenAiServer:
    """What was asked, in `asked`. While `gate` is cleared no request is answered; `respond` decides the answers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.respond: Respond = fitting_reply
        self.url = ""

    def behave(self) -> None:
        """As at first; what was asked is forgotten."""
        self.respond = fitting_reply
        self.asked.clear()
        self.gate.set()

    @property
    def settings(self) -> dict[str, str]:
        """The variables that make a platform use it."""
        return {"OPENAI_API_KEY": "sk-loopback", "CADRE_OPENAI_API_BASE": f"{self.url}/v1"}


def fitting_reply(body: dict[str, Any]) -> Answer:
    """A document of the schema that was asked for, else a sentence."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return openai_reply("Words." if schema is None else json.dumps(_document(schema)))


@contextmanager
def openai_server() -> Iterator[OpenAiServer]:
    """A server on a free port, until the block ends."""
    provider = OpenAiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            provider.asked.append(body)
            provider.keys.add(self.headers["authorization"])
            provider.gate.wait(_GATE_SECONDS)
            answer = provider.respond(body)
            content = b"".join(answer.chunks)
            with suppress(ConnectionError):
                self.send_response(answer.status)
                self.send_header("content-type", answer.content_type)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _document(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: _document(field) for name, field in schema["properties"].items()}
        case "boolean":
            return False
        case "integer" | "number":
            return 1
        case _:
            return "word"
