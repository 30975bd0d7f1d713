"""A Prefect server as far as batches need one: it takes flow runs, and nobody runs them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cadre_kit.ids import new_id


class _Handler(BaseHTTPRequestHandler):
    """Answers every request with an object that has an id, and is a flow run that goes on; knows no flow runs."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        return

    def _answer(self) -> None:
        flow_run = {"id": new_id(), "state_type": "RUNNING"}
        body = json.dumps([] if self.path.endswith("/filter") else flow_run).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def prefect_server(port: int) -> Iterator[None]:
    """A server on a port of 127.0.0.1."""
    with ThreadingHTTPServer(("127.0.0.1", port), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
