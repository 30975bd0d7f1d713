"""A web server on loopback that answers with the bytes that a test gives it, and notes what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(kw_only=True)
class Website:
    """Answers by path without its query; a path that is not there gets a 404. `hang` answers nothing until closed."""

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    hang: bool = False
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(
        self,
        path: str,
        body: bytes | str = b"",
        *,
        status: int = 200,
        kind: str = "text/html; charset=utf-8",
        **headers: str,
    ) -> None:
        """Puts an answer at a path; `location="..."` and the like become headers."""
        content = body.encode() if isinstance(body, str) else body
        said = {"content-type": kind, "content-length": str(len(content)), "connection": "close"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        self.pages[path] = f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + content

    def json(self, path: str, value: Any, *, status: int = 200) -> None:
        """Puts a JSON document at a path."""
        self.page(path, json.dumps(value), status=status, kind="application/json")

    def redirect(self, path: str, location: str, *, status: int = 302) -> None:
        """Sends whoever asks for a path elsewhere."""
        self.page(path, status=status, location=location)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            asked = await _read(reader)
            self.asked.append(asked)
            self.was_asked.set()
            if self.hang:
                await reader.read()
            missing = b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            writer.write(self.pages.get(asked.path.split("?")[0], missing))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    pairs = [line.split(":", 1) for line in head[1:] if ":" in line]
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method=method, path=path, headers=headers, body=body)


@asynccontextmanager
async def website(address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Website]:
    """A server, on a free port when none is given."""
    site = Website()
    server = await asyncio.start_server(site.answer, address, port)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
