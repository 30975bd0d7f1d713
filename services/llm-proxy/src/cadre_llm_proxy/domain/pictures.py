"""Which pictures models are shown."""

import re

__all__ = ["PICTURE_BYTES", "PICTURE_TYPES", "is_picture", "picture_type"]

PICTURE_BYTES = 8 * 1024 * 1024
"""How large one may be."""
_SIGNATURES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
PICTURE_TYPES = tuple(sorted(_SIGNATURES))
"""The media types that every provider takes."""


def picture_type(data: bytes) -> str:
    """The media type of a picture, by how it begins; empty when it is none."""
    return next((kind for kind in PICTURE_TYPES if is_picture(data, kind)), "")


def is_picture(data: bytes, media_type: str) -> bool:
    """Whether the bytes begin as those of a picture of that media type do."""
    return _SIGNATURES[media_type].match(data) is not None
