"""Pictures at addresses that workflows name, fetched here for models that fetch none themselves."""

from dataclasses import replace
from time import monotonic

from cadre_kit import outgoing
from cadre_kit.addresses import AddressRules
from cadre_kit.errors import CadreError
from cadre_llm_proxy.domain.calls import Ask, Image, Message
from cadre_llm_proxy.domain.facts import ImageUnusable
from cadre_llm_proxy.domain.pictures import PICTURE_BYTES, PICTURE_TYPES, picture_type

__all__ = ["PictureFetching"]

_ALL_BYTES = 32 * 1024 * 1024
_OK = 200


class PictureFetching:
    """Puts pictures in the place of their addresses. Only addresses that the rules allow are asked: public ones, unless
    they say more."""

    def __init__(self, rules: AddressRules) -> None:
        self._client = outgoing.outgoing_client(rules)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def shown(self, ask: Ask) -> Ask:
        """The request with its pictures in it, and so much less time left. Raises ImageUnusable."""
        until, left = monotonic() + ask.seconds, _ALL_BYTES
        messages: list[Message] = []
        for message in ask.messages:
            images: list[Image] = []
            for image in message.images:
                found = image
                if image.url:
                    found = await self._fetched(image.url, until - monotonic(), left)
                    left -= len(found.data)
                images.append(found)
            messages.append(replace(message, images=tuple(images)))
        return replace(ask, messages=tuple(messages), seconds=max(0.0, until - monotonic()))

    async def _fetched(self, url: str, seconds: float, most: int) -> Image:
        asked = outgoing.Ask(url=url, seconds=max(0.0, seconds), max_bytes=min(most, PICTURE_BYTES))
        try:
            found = await outgoing.fetch(self._client, asked)
        except CadreError as exc:
            raise _unusable(f"an image cannot be fetched: {exc.message}") from exc
        if found.status != _OK:
            raise _unusable(f"an image cannot be fetched: its address answers {found.status}")
        media_type = picture_type(found.body)
        if not media_type:
            raise _unusable(f"what is at an image's address is none of {', '.join(PICTURE_TYPES)}")
        return Image(data=found.body, media_type=media_type)


def _unusable(message: str) -> ImageUnusable:
    return ImageUnusable(
        message,
        resolution="Put the image itself into the message, or name a public address that anybody can fetch it from.",
    )
