"""The opening in a container's network, spoken to as a hostile program would: it leads to the listed hosts only.

What must not be reached is a real server on this machine; it counts every connection, also one that says nothing.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.fakes.website import Website, website

from cadre_kit.addresses import Address, AddressRules, Resolver, resolve
from cadre_sandbox.adapters.proxies import Proxies, Proxy
from cadre_sandbox.domain.hosts import HostList

_HEAD_BYTES = 16 * 1024


@dataclass(frozen=True)
class Opening:
    """A proxy, the server that its list names, and one on this machine that it does not."""

    proxy: Proxy
    allowed: Website
    secret: Website

    def filled_in(self, text: str) -> str:
        """`A` and `S` in braces stand for the two ports."""
        return text.replace("{A}", str(self.allowed.port)).replace("{S}", str(self.secret.port))

    async def said(self, request: str | bytes) -> bytes:
        """What the proxy answers before it closes; nothing where it does not listen."""
        data = request if isinstance(request, bytes) else self.filled_in(request).encode()
        reader, writer = await asyncio.open_unix_connection(self.proxy.path)
        async with asyncio.timeout(20):
            writer.write(data)
            writer.write_eof()
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()


@asynccontextmanager
async def opening(
    hosts: str, *, reached: str, resolver: Resolver = resolve
) -> AsyncIterator[Opening]:
    async with website() as allowed, website() as secret:
        allowed.page("/", "welcome")
        allowed.page("/search", "found")
        secret.page("/", "LEAKED")
        ports = {"{A}": str(allowed.port), "{S}": str(secret.port)}
        for name, port in ports.items():
            hosts, reached = hosts.replace(name, port), reached.replace(name, port)
        rules = AddressRules.parse(reached)
        proxy = await Proxies(rules, resolver=resolver).start(HostList(hosts.split(",")))
        try:
            yield Opening(proxy, allowed, secret)
        finally:
            proxy.close()


@pytest_asyncio.fixture
async def one_host() -> AsyncIterator[Opening]:
    """The list names one host with its port, and another whose address the operator does not let anybody reach."""
    async with opening("localhost:{A},localhost:{S},*", reached="localhost:{A}") as made:
        yield made


def get(url: str, *headers: str) -> str:
    return "\r\n".join([f"GET {url} HTTP/1.1", "Host: localhost", *headers, "", ""])


def tunnel(authority: str) -> str:
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\nGET / HTTP/1.1\r\n\r\n"


async def test_the_listed_host_is_reached(one_host: Opening) -> None:
    body = "a=1"
    post = f"POST http://localhost:{{A}}/ HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}"

    plain = await one_host.said(get("http://localhost:{A}/"))
    asked = await one_host.said(get("http://LOCALHOST:{A}?q=1/2"))
    posted = await one_host.said(post)
    tunnelled = await one_host.said(tunnel("localhost:{A}"))

    assert plain.endswith(b"welcome")
    assert asked.endswith(b"welcome")
    assert posted.endswith(b"welcome")
    assert tunnelled.startswith(b"HTTP/1.1 200 ")
    assert tunnelled.endswith(b"welcome")
    assert [one.path for one in one_host.allowed.asked] == ["/", "/?q=1/2", "/", "/"]
    assert one_host.allowed.asked[2].body == b"a=1"


REFUSED = {
    "a name that leads to this machine": get("http://localhost:{S}/"),
    "a tunnel to this machine": tunnel("localhost:{S}"),
    "its address": get("http://127.0.0.1:{S}/"),
    "the listed host's own address": get("http://127.0.0.1:{A}/"),
    "its address in a tunnel": tunnel("127.0.0.1:{S}"),
    "a short address": get("http://127.1:{S}/"),
    "an address as one number": get("http://2130706433:{S}/"),
    "an address in hexadecimal": get("http://0x7f000001:{S}/"),
    "an address in octal": get("http://0177.0.0.1:{S}/"),
    "any address": get("http://0.0.0.0:{S}/"),
    "a loopback address of IPv6": get("http://[::1]:{S}/"),
    "an IPv4 address inside IPv6": get("http://[::ffff:127.0.0.1]:{S}/"),
    "an IPv4 address inside IPv6, in a tunnel": tunnel("[::ffff:7f00:1]:{S}"),
    "any address of IPv6": tunnel("[::]:{S}"),
    "a link-local address": get("http://[fe80::1]/"),
    "an address with a zone": get("http://[fe80::1%25lo]/"),
    "NAT64": get("http://[64:ff9b::7f00:1]/"),
    "6to4": get("http://[2002:7f00:1::]/"),
    "metadata of a cloud": get("http://169.254.169.254/latest/meta-data/"),
    "metadata as one number": get("http://2852039166/"),
    "metadata by IPv6": get("http://[fd00:ec2::254]/"),
    "metadata in a tunnel": tunnel("169.254.169.254:80"),
    "a private network": get("http://10.0.0.1/"),
    "a private network in a tunnel": tunnel("192.168.0.1:443"),
    "carriers' addresses": tunnel("100.64.0.1:443"),
    "broadcast": get("http://255.255.255.255/"),
    "multicast": get("http://224.0.0.1/"),
    "another port of the listed host": tunnel("localhost:22"),
    "the engine's port": tunnel("localhost:2375"),
    "mail": tunnel("mail.example.com:25"),
    "a listed host as the user's name": get("http://localhost:{A}@127.0.0.1:{S}/"),
    "a listed host as the user's name, in a tunnel": tunnel("localhost:{A}@127.0.0.1:{S}"),
    "a listed host in the fragment": get("http://127.0.0.1:{S}#@localhost:{A}/"),
    "a listed host in the query": get("http://127.0.0.1:{S}?@localhost:{A}/"),
    "a listed host behind a backslash": get("http://127.0.0.1:{S}\\@localhost:{A}/"),
    "a listed host as a label": get("http://localhost.127.0.0.1:{S}/"),
    "a name with a tab": get("http://127.0.0.1\t:{S}/"),
    "a name with a zero byte": get("http://127.0.0.1\0.localhost:{S}/"),
    "a name that is escaped": get("http://%31%32%37.0.0.1:{S}/"),
    "a name in another alphabet": get("http://①②⑦.0.0.1:{S}/"),
    "a file": get("file:///etc/passwd"),
    "FTP": get("ftp://localhost:{A}/"),
    "TLS by the proxy itself": get("https://localhost:{S}/"),
    "no host": get("/"),
    "no host in an address": get("http:///etc/passwd"),
    "a tunnel to no port": tunnel("localhost"),
    "a tunnel to port 0": tunnel("localhost:0"),
    "a tunnel to a port too large": tunnel("localhost:65536"),
    "a tunnel to a port in words": tunnel("localhost:http"),
    "a tunnel to an address": tunnel("http://127.0.0.1:{S}/"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_nothing_else_is_reached(name: str, one_host: Opening) -> None:
    said = await one_host.said(REFUSED[name])

    status = said.split(b" ", 2)[1]
    assert status in (b"400", b"403", b"502"), said
    assert (one_host.secret.connections, one_host.allowed.connections) == (0, 0)


ODD = {
    "a bare line feed hides a host": get("http://localhost:{A}/", "X: a\nHost: internal"),
    "a bare return hides a host": get("http://localhost:{A}/", "X: a\rHost: internal"),
    "a space behind a name": get("http://localhost:{A}/", "Host : internal"),
    "a folded line": get("http://localhost:{A}/", "X: a", " Host: internal"),
    "a zero byte": get("http://localhost:{A}/", "X: a\0b"),
    "two spaces": "GET  http://localhost:{A}/ HTTP/1.1\r\n\r\n",
    "no version": "GET http://localhost:{A}/\r\n\r\n",
    "nothing": "\r\n\r\n",
    "half a head": "GET http://localhost:{A}/ HTTP/1.1\r\n",
    "a head that is too long": get("http://localhost:{A}/", "X: " + "a" * _HEAD_BYTES),
}


@pytest.mark.parametrize("name", ODD)
async def test_what_could_be_read_in_two_ways_is_not_passed_on(
    name: str, one_host: Opening
) -> None:
    said = await one_host.said(ODD[name])

    assert said.startswith(b"HTTP/1.1 400 "), said
    assert one_host.allowed.connections == 0


async def test_bytes_that_are_no_request_are_refused(one_host: Opening) -> None:
    hello = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()

    assert (await one_host.said(hello.read())).startswith(b"HTTP/1.1 400 ")
    assert (await one_host.said(get("http://localhost:{A}/"))).endswith(b"welcome")


async def test_the_host_is_told_who_was_judged_and_no_secret_of_the_proxy(
    one_host: Opening,
) -> None:
    await one_host.said(get("http://localhost:{A}/", "Proxy-Authorization: x", "Accept: a/b"))

    headers = one_host.allowed.asked[0].headers
    assert headers["host"] == f"localhost:{one_host.allowed.port}"
    assert (headers["connection"], headers["accept"]) == ("close", "a/b")
    assert "proxy-authorization" not in headers


async def test_a_redirect_has_to_be_asked_for_anew(one_host: Opening) -> None:
    one_host.allowed.redirect("/", f"http://localhost:{one_host.secret.port}/")

    said = await one_host.said(get("http://localhost:{A}/"))

    assert said.startswith(b"HTTP/1.1 302 ")
    assert one_host.secret.connections == 0


async def test_no_more_connections_than_sixteen_are_held(one_host: Opening) -> None:
    held = [await asyncio.open_unix_connection(one_host.proxy.path) for _ in range(16)]
    try:
        assert await one_host.said(get("http://localhost:{A}/")) == b""
    finally:
        for _, writer in held:
            writer.close()
    async with asyncio.timeout(20):
        while not (await one_host.said(get("http://localhost:{A}/"))).endswith(b"welcome"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def answering(*answers: Sequence[str]) -> Resolver:
    """Names that lead to the first answer, then to the next, and so on."""
    left = list(answers)

    async def resolver(host: str, port: int) -> Sequence[Address]:
        return [ipaddress.ip_address(text) for text in left.pop(0)]

    return resolver


async def test_a_name_that_changes_its_address_is_judged_each_time() -> None:
    names = answering(["127.0.0.2"], ["127.0.0.1"])
    async with opening("news.example:{S}", reached="127.0.0.2/32", resolver=names) as made:
        async with website("127.0.0.2", made.secret.port) as public:
            public.page("/", "welcome")

            first = await made.said(get("http://news.example:{S}/"))
            second = await made.said(get("http://news.example:{S}/"))

    assert first.endswith(b"welcome")
    assert second.startswith(b"HTTP/1.1 403 ")
    assert made.secret.connections == 0


async def test_of_several_addresses_only_those_that_may_be_are_reached() -> None:
    names = answering(["127.0.0.1", "::1", "127.0.0.3", "127.0.0.2"])
    async with opening("news.example:{S}", reached="127.0.0.2/31", resolver=names) as made:
        async with website("127.0.0.2", made.secret.port) as public:
            public.page("/", "welcome")

            said = await made.said(get("http://news.example:{S}/"))

    assert said.endswith(b"welcome")
    assert made.secret.connections == 0
