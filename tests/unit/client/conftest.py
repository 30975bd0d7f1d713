"""A real HTTP server that answers as it is told, and remembers what it was asked."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.certificates import Authority

from cadre_client import Client, ClientTls


@dataclass(frozen=True, kw_only=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b"{}"
    content_type: str = "application/json"
    # Says more bytes than it sends, and hangs up.
    broken_off: bool = False
    # Hangs up without a word.
    silent: bool = False


@dataclass
class Gateway:
    """Gives the answers in turn; the last one again and again."""

    url: str = ""
    key: str = "cadre_right"
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def will_answer(self, document: Any, status: int = 200) -> None:
        self.answers.append(Answer(status=status, body=json.dumps(document).encode()))

    def will_stream(self, *events: dict[str, Any], broken_off: bool = False) -> None:
        self.will_send(*map(sse, events), broken_off=broken_off)

    def will_send(self, *parts: str, broken_off: bool = False) -> None:
        body = "".join(parts).encode()
        self.answers.append(
            Answer(body=body, content_type="text/event-stream", broken_off=broken_off)
        )

    def will_hang_up(self) -> None:
        self.answers.append(Answer(silent=True))

    def next_answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.headers.get("authorization") != f"Bearer {self.key}":
            return Answer(status=401, body=json.dumps(problem("UNAUTHENTICATED")).encode())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def sse(event: dict[str, Any]) -> str:
    data = json.dumps(event, ensure_ascii=False)
    return f": keep-alive\n\nid: {event['sequence']}\nevent: {event['type']}\ndata: {data}\n\n"


def event(sequence: int, kind: str = "node_started", **more: Any) -> dict[str, Any]:
    return {"sequence": sequence, "time": "2026-11-22T14:00:00Z", "type": kind, **more}


def run_document(status: str = "running", **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 2, "cost_usd": "0.0000001", "calls": 1}
    return {"id": "01R", "workflow": "w", "version": 1, "status": status, "usage": usage, **more}


def problem(code: str) -> dict[str, Any]:
    return {"code": code, "detail": code.lower(), "resolution": "", "problems": None}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving() as told:
        yield told


@pytest.fixture
def tls_gateway(tmp_path: Path) -> Iterator[tuple[Gateway, Client]]:
    """One that speaks TLS, and its client."""
    authority = Authority(tmp_path, "ours")
    shown = authority.certificate("gateway", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.cert, shown.key)
    with (
        serving(context) as told,
        Client(
            told.url, told.key, timeout_seconds=5, tls=ClientTls(ca_file=authority.ca)
        ) as client,
    ):
        yield told, client


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Gateway]:
    told = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = told.next_answer(
                Asked(method=self.command, path=self.path, headers=headers, body=body)
            )
            self.close_connection = answer.broken_off or answer.silent
            if answer.silent:
                return
            self.send_response(answer.status)
            self.send_header("content-type", answer.content_type)
            self.send_header("content-length", str(len(answer.body) + 9 * answer.broken_off))
            self.send_header("x-request-id", "req-1")
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        told.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield told
        server.shutdown()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(gateway.url, gateway.key, timeout_seconds=5) as opened:
        yield opened


@pytest.fixture
def documents() -> Any:
    """Makes the documents that a gateway answers with."""

    class Documents:
        event = staticmethod(event)
        problem = staticmethod(problem)
        run = staticmethod(run_document)
        sse = staticmethod(sse)

    return Documents
