"""Ports for servers of the tests."""

import random
import socket
from contextlib import suppress

__all__ = ["free_port"]

_PORTS = (10_000, 32_768)
# The tests' own chance is sown, the same in each of their processes.
_CHANCE = random.SystemRandom()


def free_port() -> int:
    """A port that nothing listens on now, and that no outgoing connection is given before something does."""
    while True:
        port = _CHANCE.randrange(*_PORTS)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
