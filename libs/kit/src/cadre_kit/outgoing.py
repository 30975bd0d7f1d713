"""HTTP calls to the outside on behalf of a workflow: addresses checked at every connection, time, size and redirects
bounded, nothing taken from the environment, no credentials sent on to another host."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore2
import httpx2

from cadre_kit.addresses import AddressRules, Resolver, resolve
from cadre_kit.errors import (
    CadreError,
    DeadlineExceeded,
    InvalidInput,
    LimitExceeded,
    PermissionDenied,
    Unavailable,
)

__all__ = [
    "Ask",
    "Fetched",
    "HostNotListed",
    "OutgoingFailed",
    "TooLarge",
    "TooManyRedirects",
    "fetch",
    "outgoing_client",
]

_CONNECT_SECONDS = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Whatever else a caller sends was meant for the host that it named.
_HEADERS_FOR_ANYBODY = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_HEADERS_OF_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade"}
)


class OutgoingFailed(Unavailable):
    """A host did not answer, or not in HTTP."""

    code = "OUTGOING_FAILED"


class TooLarge(LimitExceeded):
    """An answer is larger than asked for."""

    code = "RESPONSE_TOO_LARGE"


class TooManyRedirects(LimitExceeded):
    """A host sends on and on."""

    code = "TOO_MANY_REDIRECTS"


class HostNotListed(PermissionDenied):
    """The request, or a redirect, goes to a host that is not among those listed."""

    code = "HOST_NOT_LISTED"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request, and its bounds. `hosts` are the only ones that may be asked, redirects included; empty means any."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hosts: frozenset[str] = frozenset()
    seconds: float = 30.0
    max_bytes: int = 1_048_576
    max_redirects: int = 5


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """An answer, whatever its status. `url` is where the last redirect led."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    charset: str


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that the rules allow, and to the very address that was judged."""

    def __init__(self, rules: AddressRules, resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first allowed address that takes one. Raises AddressRefused, HostUnknown."""
        addresses = self._rules.judge(host, port, await self._resolver(host, port))
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(
            str(addresses[-1]), port, timeout, local_address, socket_options
        )

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Never: a socket file is on this machine."""
        raise PermissionDenied("tools may not reach socket files")

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx's own transport over connections that are checked. Answers end with an error at `max_bytes`."""

    def __init__(
        self, rules: AddressRules, *, resolver: Resolver = resolve, max_bytes: int | None = None
    ) -> None:
        context = httpx2.create_ssl_context()
        super().__init__(verify=context, trust_env=False)
        # The public constructor takes no network backend; the pool does.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=50,
            max_keepalive_connections=10,
            keepalive_expiry=5.0,
            network_backend=GuardedBackend(rules, resolver),
        )
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, its body still to be read."""
        response = await super().handle_async_request(request)
        if self._max_bytes is None:
            return response
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.DecodingError("the answer is compressed, though not asked for so")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            status_code=response.status_code,
            headers=response.headers,
            stream=_Bounded(response.stream, self._max_bytes),
            extensions=response.extensions,
        )


class _Bounded(httpx2.AsyncByteStream):
    """A body that breaks off when it is too long, for readers that would take it all."""

    def __init__(self, inner: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._inner = inner
        self._left = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise httpx2.ReadError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def outgoing_client(
    rules: AddressRules,
    *,
    resolver: Resolver = resolve,
    headers: Mapping[str, str] | None = None,
    read_seconds: float = 60.0,
    max_bytes: int | None = None,
    keep_cookies: bool = False,
) -> httpx2.AsyncClient:
    """A client that reaches only what the rules allow; it follows no redirects. The caller closes it.

    `max_bytes` bounds every answer, for readers that cannot; `fetch` does so by itself. `keep_cookies` is for a client
    of one conversation with one host: what a host sets for one workflow must not be sent to it for another.
    """
    return httpx2.AsyncClient(
        transport=GuardedTransport(rules, resolver=resolver, max_bytes=max_bytes),
        headers={"accept-encoding": "identity", **(headers or {})},
        cookies=None if keep_cookies else CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx2.Timeout(read_seconds, connect=_CONNECT_SECONDS),
        trust_env=False,
        follow_redirects=False,
    )


async def fetch(client: httpx2.AsyncClient, ask: Ask) -> Fetched:
    """The answer to a request, its redirects followed.

    Raises AddressRefused, HostNotListed, HostUnknown, OutgoingFailed, TooLarge, TooManyRedirects, DeadlineExceeded.
    """
    try:
        async with asyncio.timeout(ask.seconds):
            return await _follow(client, ask)
    except TimeoutError as exc:
        host = _host(ask.url)
        raise DeadlineExceeded(
            f"{host!r} did not answer in full within {ask.seconds:g} s", metadata={"host": host}
        ) from exc


async def _follow(client: httpx2.AsyncClient, ask: Ask) -> Fetched:
    # Pages that set a cookie and send on want to see it; it is gone when the answer is there.
    cookies = httpx2.Cookies()
    for _ in range(ask.max_redirects + 1):
        async with _asked(client, ask, cookies) as response:
            cookies.extract_cookies(response)
            target = _target(response)
            if target is None:
                return await _read(response, ask.max_bytes)
        ask = _redirected(ask, response.status_code, target)
    raise TooManyRedirects(
        f"more than {ask.max_redirects} redirects", metadata={"redirects": str(ask.max_redirects)}
    )


@asynccontextmanager
async def _asked(
    client: httpx2.AsyncClient, ask: Ask, cookies: httpx2.Cookies
) -> AsyncIterator[httpx2.Response]:
    headers = {k: v for k, v in ask.headers.items() if k.lower() not in _HEADERS_OF_OURS}
    try:
        request = client.build_request(
            ask.method,
            _checked_url(ask),
            headers={**headers, "accept-encoding": "identity"},
            content=ask.body or None,
            cookies=cookies,
        )
        response = await client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as exc:
        raise _translated(exc, _host(ask.url)) from exc


def _checked_url(ask: Ask) -> httpx2.URL:
    url = httpx2.URL(ask.url)
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(
            "the address must begin with http:// or https:// and name a host",
            resolution="Write it in full, such as https://example.org/page.",
        )
    if url.userinfo:
        raise InvalidInput("the address must not hold a user name or password")
    if ask.hosts and url.host.lower() not in ask.hosts:
        raise HostNotListed(
            f"{url.host!r} is not among the hosts that this tool may ask",
            resolution="List it under the tool's config: hosts.",
            metadata={"host": url.host},
        )
    return url


def _target(response: httpx2.Response) -> str | None:
    location = response.headers.get("location")
    if response.status_code not in _REDIRECTS or not location:
        return None
    return str(response.request.url.join(location))


def _redirected(ask: Ask, status: int, target: str) -> Ask:
    before, after = httpx2.URL(ask.url), httpx2.URL(target)
    if _origin(before) != _origin(after):
        kept = {k: v for k, v in ask.headers.items() if k.lower() in _HEADERS_FOR_ANYBODY}
        ask = replace(ask, headers=kept)
    if status == 303 or (status in (301, 302) and ask.method == "POST"):
        method = "HEAD" if ask.method == "HEAD" else "GET"
        ask = replace(ask, method=method, body=b"")
    return replace(ask, url=target)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host.lower(), url.port


async def _read(response: httpx2.Response, max_bytes: int) -> Fetched:
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > max_bytes:
            raise _too_large(response, max_bytes)
    body = _decoded(bytes(raw), response, max_bytes)
    return Fetched(
        url=str(response.request.url),
        status=response.status_code,
        headers=dict(response.headers),
        body=body,
        charset=response.charset_encoding or "utf-8",
    )


def _decoded(raw: bytes, response: httpx2.Response, max_bytes: int) -> bytes:
    """The body as it was before a host compressed it unasked; never more of it than may be read."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity") or not raw:
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise OutgoingFailed(
            f"the answer is encoded as {encoding[:40]!r}, though it was asked for as it is",
            metadata={"encoding": encoding[:40]},
        )
    try:
        body = zlib.decompressobj(wbits=47).decompress(raw, max_bytes + 1)
    except zlib.error as exc:
        raise OutgoingFailed("the answer's gzip encoding is damaged") from exc
    if len(body) > max_bytes:
        raise _too_large(response, max_bytes)
    return body


def _too_large(response: httpx2.Response, max_bytes: int) -> TooLarge:
    host = response.request.url.host
    return TooLarge(
        f"the answer of {host!r} is larger than {max_bytes} bytes",
        metadata={"host": host, "max_bytes": str(max_bytes)},
    )


def _host(url: str) -> str:
    try:
        return httpx2.URL(url).host[:253]
    except (httpx2.InvalidURL, UnicodeError):
        return ""


def _translated(exc: Exception, host: str) -> CadreError:
    metadata = {"host": host}
    match exc:
        case httpx2.InvalidURL() | httpx2.UnsupportedProtocol() | UnicodeError():
            return InvalidInput("the address is not a valid http or https address")
        case httpx2.TimeoutException():
            return DeadlineExceeded(f"{host!r} did not answer in time", metadata=metadata)
        case httpx2.ConnectError():
            return OutgoingFailed(f"{host!r} cannot be connected to", metadata=metadata)
        case _:
            return OutgoingFailed(f"{host!r} broke off its answer", metadata=metadata)
