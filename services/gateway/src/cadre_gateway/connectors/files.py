"""Files that come with messages, as workflows get them."""

import base64
from collections.abc import Mapping
from typing import Any

__all__ = ["attached"]


def attached(name: str, media_type: str, raw: bytes) -> Mapping[str, Any]:
    """A file: `data` is base64, `size` in bytes. Name and media type are the sender's, and not trusted."""
    data = base64.b64encode(raw).decode()
    return {"name": name, "media_type": media_type, "size": len(raw), "data": data}
