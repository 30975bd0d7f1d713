"""Somebody who is told how runs end: takes POSTs, and answers with the statuses that it is given, then with 204."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """`asked` are the headers, in lower case, and bodies of all requests in turn."""

    url: str = ""
    asked: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    retry_after: str = ""


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """Serves on that port, or a free one, until the block ends."""
    told = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = told.statuses.pop(0) if told.statuses else 204
            told.paths.append(self.path)
            told.asked.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("location", "/elsewhere")
            if told.retry_after:
                self.send_header("retry-after", told.retry_after)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}/told"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
