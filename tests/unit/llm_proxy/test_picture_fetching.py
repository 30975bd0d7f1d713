"""Pictures at addresses, fetched from a web server on loopback."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.fakes.website import Website, website

from cadre_kit.addresses import AddressRules
from cadre_llm_proxy.adapters.picture_fetching import PictureFetching
from cadre_llm_proxy.domain.calls import Ask, Image, Message, Options, Role, Target
from cadre_llm_proxy.domain.facts import ImageUnusable

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Website]:
    async with website() as found:
        yield found


@pytest_asyncio.fixture
async def fetching(site: Website) -> AsyncIterator[PictureFetching]:
    found = PictureFetching(AddressRules.parse(f"127.0.0.1:{site.port}"))
    yield found
    await found.close()


def asked(*urls: str) -> Ask:
    images = tuple(Image(url=url) for url in urls)
    return Ask(
        target=Target(provider="google", model="m"),
        options=Options(),
        messages=(Message(role=Role.USER, content="What is it?", images=images),),
        output_schema=None,
        seconds=20,
    )


async def test_pictures_take_the_place_of_their_addresses(
    fetching: PictureFetching, site: Website
) -> None:
    site.page("/a", PNG, kind="text/plain")
    site.redirect("/b", "/a")

    shown = await fetching.shown(asked(f"{site.url}/a", f"{site.url}/b"))

    assert shown.messages[0].images == (Image(data=PNG, media_type="image/png"),) * 2
    assert 0 < shown.seconds < 20


async def test_what_is_no_picture_cannot_be_used(fetching: PictureFetching, site: Website) -> None:
    site.page("/page", "<html>")
    site.page("/large", PNG + bytes(9 * 1024 * 1024))
    site.redirect("/inward", "http://127.0.0.1:1/secret.png")

    for path in ("/page", "/large", "/inward", "/missing"):
        with pytest.raises(ImageUnusable):
            await fetching.shown(asked(site.url + path))


async def test_no_more_is_fetched_than_all_pictures_may_have(
    fetching: PictureFetching, site: Website
) -> None:
    site.page("/large", PNG + bytes(8 * 1024 * 1024 - len(PNG)))

    with pytest.raises(ImageUnusable):
        await fetching.shown(asked(*[f"{site.url}/large"] * 5))
