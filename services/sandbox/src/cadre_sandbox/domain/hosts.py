"""Lists of hosts: by name (`data.example.org`), all below one (`*.example.com`), every one (`*`), or with a port."""

from collections.abc import Iterable

__all__ = ["HostList"]

_PORTS = (80, 443)


class HostList:
    """Which hosts and ports a list allows. One without a port means 80 and 443."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = [_split(host) for host in hosts]

    def allows(self, host: str, port: int) -> bool:
        """Whether a connection to that host and port may be made."""
        name = _plain(host)
        return any(_matches(name, pattern) and port in ports for pattern, ports in self._hosts)

    def covers(self, entry: str) -> bool:
        """Whether everything that `entry`, itself of a list, allows is allowed."""
        name, ports = _split(entry)
        return any(
            (name == pattern or _matches(name, pattern)) and set(ports) <= set(allowed)
            for pattern, allowed in self._hosts
        )


def _split(entry: str) -> tuple[str, tuple[int, ...]]:
    name, colon, port = entry.lower().rpartition(":")
    if colon and port.isdigit():
        return _plain(name), (int(port),)
    return _plain(entry), _PORTS


def _plain(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _matches(name: str, pattern: str) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
    return name == pattern
