"""Calls to the outside, against servers on loopback that mean no good."""

import asyncio
import gzip
import ipaddress
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.fakes.website import Website, website

from cadre_kit.addresses import Address, AddressRefused, AddressRules, resolve
from cadre_kit.errors import CadreError, DeadlineExceeded, InvalidInput
from cadre_kit.outgoing import (
    Ask,
    Fetched,
    HostNotListed,
    OutgoingFailed,
    TooLarge,
    TooManyRedirects,
    fetch,
    outgoing_client,
)

LOOPBACK = ipaddress.ip_address("127.0.0.1")
NO_WEB_ADDRESSES = (
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/",
    "//example.org",
    "http://",
    "no address",
    "http://a:b@example.org/",
    "http://[::1/",
)
NO_HTTP = (
    b"",
    b"SSH-2.0-x\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal",
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000,
)


@pytest.fixture
async def site() -> AsyncIterator[Website]:
    async with website() as found:
        yield found


async def ask(site: Website, path: str = "/", **bounds: object) -> Fetched:
    """Fetches from a site that the operator allows."""
    rules = AddressRules().allowing("127.0.0.1", site.port)
    async with outgoing_client(rules) as client:
        return await fetch(client, Ask(url=site.url + path, **bounds))  # type: ignore[arg-type]  # as Ask has them


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0"]
)
async def test_no_connection_is_made_to_this_machine(site: Website, host: str) -> None:
    async with outgoing_client(AddressRules()) as client:
        with pytest.raises(CadreError) as refused:
            await fetch(client, Ask(url=f"http://{host}:{site.port}/"))

    assert refused.value.code in ("ADDRESS_REFUSED", "INVALID_INPUT")
    assert site.connections == 0


async def test_a_redirect_inward_is_refused(site: Website) -> None:
    async with website() as inner:
        site.redirect("/", f"{inner.url}/secret")

        with pytest.raises(AddressRefused):
            await ask(site)

        assert inner.connections == 0


async def test_a_name_that_changes_its_address_is_judged_by_where_it_connects(
    site: Website,
) -> None:
    answers = iter([[ipaddress.ip_address("1.1.1.1")], [LOOPBACK]])

    async def rebinding(host: str, port: int) -> Sequence[Address]:
        return next(answers)

    assert AddressRules().judge("evil.example", 80, await rebinding("evil.example", 80))
    async with outgoing_client(AddressRules(), resolver=rebinding) as client:
        with pytest.raises(AddressRefused):
            await fetch(client, Ask(url=f"http://evil.example:{site.port}/"))
    assert site.connections == 0


async def test_the_next_address_is_tried_when_one_does_not_answer(site: Website) -> None:
    async def two(host: str, port: int) -> Sequence[Address]:
        return [ipaddress.ip_address("127.0.0.2"), LOOPBACK]

    site.page("/", "here")
    rules = AddressRules.parse("two.example")

    async with outgoing_client(rules, resolver=two) as client:
        found = await fetch(client, Ask(url=f"http://two.example:{site.port}/"))

    assert found.body == b"here"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "//example.org",
        "http://",
        "no address",
        "http://a:b@example.org/",
        "http://[::1/",
        "gopher://127.0.0.1:70/",
    ],
)
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    async with outgoing_client(AddressRules()) as client:
        with pytest.raises(InvalidInput):
            await fetch(client, Ask(url=url))


async def test_proxies_of_the_environment_are_not_used(
    site: Website, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.page("/", "direct")
    async with website() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)

        assert (await ask(site)).body == b"direct"
        assert proxy.connections == 0


async def test_credentials_stay_with_the_host_that_they_are_for(site: Website) -> None:
    async with website() as other:
        other.page("/", "seen")
        site.redirect("/", other.url + "/", status=307)
        rules = AddressRules.parse("127.0.0.1")
        headers = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Accept": "text/plain"}

        async with outgoing_client(rules) as client:
            await fetch(client, Ask(url=site.url + "/", headers=headers))

        assert site.asked[0].headers["x-api-key"] == "s3cret"
        assert "s3cret" not in str(other.asked[0].headers)
        assert other.asked[0].headers["accept"] == "text/plain"


async def test_a_redirect_on_the_same_host_keeps_what_was_sent(site: Website) -> None:
    site.redirect("/old", "/new", status=308)
    site.page("/new", "there")

    found = await ask(site, "/old", method="POST", body=b"data", headers={"X-Api-Key": "k"})

    assert found.url == site.url + "/new"
    assert [(a.method, a.body, a.headers["x-api-key"]) for a in site.asked] == [
        ("POST", b"data", "k"),
        ("POST", b"data", "k"),
    ]


async def test_a_cookie_is_seen_by_the_request_that_it_was_set_for_and_by_no_other(
    site: Website,
) -> None:
    site.page("/", status=302, location="/inside", set_cookie="session=ann; Path=/")
    site.page("/inside", "in")

    async with outgoing_client(AddressRules().allowing("127.0.0.1", site.port)) as client:
        for path in ("/", "/inside"):
            await fetch(client, Ask(url=site.url + path))

    assert [asked.headers.get("cookie") for asked in site.asked] == [None, "session=ann", None]


async def test_a_redirect_to_a_host_that_is_not_listed_is_refused(site: Website) -> None:
    site.redirect("/", "http://elsewhere.example/")

    with pytest.raises(HostNotListed):
        await ask(site, hosts=frozenset({"127.0.0.1"}))


async def test_redirects_in_a_circle_end(site: Website) -> None:
    site.redirect("/", "/")

    with pytest.raises(TooManyRedirects):
        await ask(site)

    assert len(site.asked) == 6


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_large_answer_is_not_read_to_its_end(site: Website, encoding: str) -> None:
    body = gzip.compress(bytes(50_000_000)) if encoding == "gzip" else bytes(2_000_000)
    site.page("/", body, content_encoding=encoding)

    with pytest.raises(TooLarge):
        await ask(site, max_bytes=1_000_000)


async def test_an_answer_that_was_compressed_unasked_is_read(site: Website) -> None:
    site.page("/", gzip.compress(b"plain"), content_encoding="gzip")

    assert (await ask(site)).body == b"plain"
    assert site.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_an_encoding_that_cannot_be_read_is_said(site: Website, encoding: str) -> None:
    site.page("/", b"\x01\x02", content_encoding=encoding)

    with pytest.raises(OutgoingFailed, match=encoding):
        await ask(site)


async def test_a_server_that_does_not_answer_is_left_in_time(site: Website) -> None:
    site.hang = True
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded):
        await ask(site, seconds=0.3)

    assert time.monotonic() - began < 5


async def test_cancelling_ends_a_call(site: Website) -> None:
    site.hang = True
    call = asyncio.create_task(ask(site))
    await site.was_asked.wait()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(call, 2)


@pytest.mark.parametrize("answer", NO_HTTP)
async def test_a_server_that_does_not_speak_http_is_said(site: Website, answer: bytes) -> None:
    site.pages["/"] = answer

    with pytest.raises(OutgoingFailed, match=r"127\.0\.0\.1"):
        await ask(site)


async def test_no_error_of_the_library_gets_out() -> None:
    async def nowhere(host: str, port: int) -> Sequence[Address]:
        return await resolve("127.0.0.1", port)

    async with outgoing_client(AddressRules.parse("x.example"), resolver=nowhere) as client:
        with pytest.raises(OutgoingFailed, match="cannot be connected to"):
            await fetch(client, Ask(url="http://x.example:1/"))
