"""The key that opens the API."""

import hashlib
import hmac
import secrets

__all__ = ["ApiKey", "new_api_key"]


def new_api_key() -> str:
    """A key of 256 random bits."""
    return "cadre_" + secrets.token_urlsafe(32)


class ApiKey:
    """Knows the key by its digest only, so that nothing that shows this object shows the key."""

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest()

    def opens_with(self, presented: str) -> bool:
        """Whether the presented key is this one; takes equally long for every wrong one."""
        return hmac.compare_digest(hashlib.sha256(presented.encode()).digest(), self._digest)
