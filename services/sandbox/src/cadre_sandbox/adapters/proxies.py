"""The one opening in a container's network: a proxy on a socket file, which knows the hosts that a program may reach.

The container has no interface but loopback, and no names are resolved in it. A name is resolved here, its addresses are
judged, and the connection goes to the very one that was judged (`cadre_kit.addresses`).
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from cadre_kit.addresses import Address, AddressRules, Resolver, resolve
from cadre_kit.errors import CadreError, PermissionDenied
from cadre_sandbox.domain.hosts import HostList

__all__ = ["Proxies", "Proxy"]

_HEAD_BYTES = 16 * 1024
_HEAD_SECONDS = 10.0
_CONNECT_SECONDS = 10.0
_CONNECTIONS = 16
# In one direction of one connection.
_MOST_BYTES = 256 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_ENDED_HEAD = b"\r\n\r\n"
_NOT_IN_A_LINE = frozenset(b"\r\n\0")
# Those of one connection, which is ours to make anew.
_OWN_HEADERS = (
    b"connection:",
    b"proxy-connection:",
    b"proxy-authorization:",
    b"host:",
    b"keep-alive:",
)


class _Refused(PermissionDenied):
    """What a program asks of the proxy is not allowed."""

    code = "HOST_NOT_ALLOWED"


class Proxies:
    """Makes proxies; `rules` say which addresses may be reached beside public ones."""

    def __init__(self, rules: AddressRules, *, resolver: Resolver = resolve) -> None:
        self._rules = rules
        self._resolver = resolver

    async def start(self, hosts: HostList) -> "Proxy":
        """A proxy to those hosts."""
        folder = Path(tempfile.mkdtemp(prefix="cadre-proxy-"))
        proxy = Proxy(folder, hosts, self._rules, self._resolver)
        await proxy.listen()
        return proxy


class Proxy:
    """Serves one container over the socket file `path`."""

    def __init__(
        self, folder: Path, hosts: HostList, rules: AddressRules, resolver: Resolver
    ) -> None:
        self.path = folder / "proxy"
        self._hosts = hosts
        self._rules = rules
        self._resolver = resolver
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        """Begins to serve."""
        self._server = await asyncio.start_unix_server(self._accept, self.path, limit=_HEAD_BYTES)
        # The folder is ours alone; the container's user has to reach the file in it.
        self.path.chmod(0o666)

    def close(self) -> None:
        """Ends it with every connection."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= _CONNECTIONS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(_ENDED_HEAD)
            await self._pass_on(head, reader, writer)
        except CadreError as error:
            await _say(writer, b"403 Forbidden", f"{error.code}: {error.message}\n")
        except (OSError, TimeoutError):
            await _say(writer, b"502 Bad Gateway", "the host could not be reached\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            await _say(writer, b"400 Bad Request", "this is no request to a proxy\n")
        finally:
            writer.close()

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        _check_lines(head)
        line, _, headers = head.partition(b"\r\n")
        method, target, version = line.split(b" ")
        if method == b"CONNECT":
            host, port = _authority(target.decode("ascii"))
            async with self._connected(host, port) as (there, to_there):
                writer.write(version + b" 200 Connection established\r\n\r\n")
                await _both_ways(reader, to_there, there, writer)
            return
        url = urlsplit(target.decode("ascii"))
        if url.scheme != "http" or not url.hostname or url.username is not None:
            raise ValueError("no plain absolute address")
        async with self._connected(url.hostname, url.port or 80) as (there, to_there):
            to_there.write(_origin_head(method, url, version, headers))
            await _both_ways(reader, to_there, there, writer)

    @asynccontextmanager
    async def _connected(
        self, host: str, port: int
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if not self._hosts.allows(host, port):
            raise _Refused(
                f"{host[:200]}:{port} is not among the hosts that this program may reach"
            )
        async with asyncio.timeout(_CONNECT_SECONDS):
            found = self._rules.judge(host, port, await self._resolver(host, port))
            there, to_there = await _first_that_answers(found, port)
        try:
            yield there, to_there
        finally:
            to_there.close()


async def _first_that_answers(
    addresses: Sequence[Address], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(str(address), port)
    return await asyncio.open_connection(str(addresses[-1]), port)


def _check_lines(head: bytes) -> None:
    """Raises ValueError where another server might see other headers than this one does."""
    lines = head.removesuffix(_ENDED_HEAD).split(b"\r\n")
    if any(set(line) & _NOT_IN_A_LINE or line[:1] in (b" ", b"\t") for line in lines):
        raise ValueError("a line that can be read in two ways")
    names = [line.partition(b":")[0] for line in lines[1:]]
    if any(name != name.strip() for name in names):
        raise ValueError("a header's name with space around it")


def _authority(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port is None or parts.username is not None:
        raise ValueError("no host and port")
    return parts.hostname, parts.port


def _origin_head(method: bytes, url: SplitResult, version: bytes, headers: bytes) -> bytes:
    """The request as the host itself takes it, for one exchange."""
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    kept = [h for h in headers.split(b"\r\n") if h and not h.lower().startswith(_OWN_HEADERS)]
    lines = [
        b" ".join((method, path.encode(), version)),
        b"Host: " + url.netloc.encode(),
        b"Connection: close",
        *kept,
    ]
    return b"\r\n".join(lines) + _ENDED_HEAD


async def _both_ways(
    reader: asyncio.StreamReader,
    to_there: asyncio.StreamWriter,
    there: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    await asyncio.gather(_copy(reader, to_there), _copy(there, writer))


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    left = _MOST_BYTES
    with contextlib.suppress(ConnectionError):
        while left > 0 and (data := await source.read(_CHUNK_BYTES)):
            left -= len(data)
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


async def _say(writer: asyncio.StreamWriter, status: bytes, text: str) -> None:
    body = text.encode()
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain; charset=utf-8\r\n"
    with contextlib.suppress(ConnectionError):
        writer.write(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
