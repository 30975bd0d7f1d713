"""Page tokens: opaque to callers, and good only for the listing that gave them."""

import base64
import binascii
import hashlib
import json

from cadre_memory.domain.items import FieldInvalid
from cadre_memory.domain.namespaces import Namespace

_MARK_CHARACTERS = 16
# No key begins so: it has more bytes than one may have.
_NAMESPACES = "namespaces" * 100


def page_token(namespace: Namespace, key_prefix: str, *, last_key: str) -> str:
    """Names the page after `last_key`."""
    content = _mark(namespace, key_prefix) + last_key
    return base64.urlsafe_b64encode(content.encode()).decode()


def key_before(token: str, namespace: Namespace, key_prefix: str) -> str:
    """The key after which the page begins; "" for the first one. Raises FieldInvalid for a token of another listing."""
    if not token:
        return ""
    try:
        content = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        content = ""
    mark = _mark(namespace, key_prefix)
    if not content.startswith(mark):
        raise FieldInvalid(
            "page_token",
            "page_token is not one that this listing gave",
            code="PAGE_TOKEN_INVALID",
            resolution="Pass next_page_token of the previous answer, with the same namespace and key_prefix.",
        )
    return content.removeprefix(mark)


def namespaces_token(above: Namespace, *, last: Namespace) -> str:
    """Names the page of namespaces after `last`."""
    return page_token(above, _NAMESPACES, last_key=json.dumps(last))


def namespace_before(token: str, above: Namespace) -> Namespace:
    """The namespace after which the page begins; () for the first one. Raises FieldInvalid for another's token."""
    last = key_before(token, above, _NAMESPACES)
    return tuple(json.loads(last)) if last else ()


def _mark(namespace: Namespace, key_prefix: str) -> str:
    listing = json.dumps([namespace, key_prefix])
    return hashlib.sha256(listing.encode()).hexdigest()[:_MARK_CHARACTERS]
