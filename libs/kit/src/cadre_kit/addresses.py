"""Which addresses calls on behalf of a workflow may reach: public ones, and those that the operator allows.

A name is judged by what it resolves to, at the moment of connecting, and the connection goes to the very address that
was judged: so neither redirects, nor names that change their address, nor odd notations get around it.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias
from urllib.parse import urlsplit

from cadre_kit.errors import InvalidInput, PermissionDenied, Unavailable

__all__ = [
    "Address",
    "AddressRefused",
    "AddressRules",
    "HostUnknown",
    "Resolver",
    "port_of",
    "resolve",
]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]

# Where clouds answer their machines, with secrets: Azure's looks public, and Oracle's does to older Pythons; Alibaba's,
# and Amazon's and Google's of IPv6, look like anybody's in a private network.
_METADATA = tuple(
    map(
        ipaddress.ip_network,
        ("168.63.129.16", "192.0.0.0/24", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"),
    )
)
_NEAR = tuple(
    map(
        ipaddress.ip_network,
        "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 ::1 fc00::/7".split(),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(PermissionDenied):
    """A host is at no address that may be reached."""

    code = "ADDRESS_REFUSED"


class HostUnknown(Unavailable):
    """A name has no address."""

    code = "HOST_UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class AddressRules:
    """What may be reached beside public addresses: `hosts` by name (`wiki`, or `wiki:8080` for one port), `networks`,
    and with `near` this machine and private networks, but not where clouds answer their machines."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    near: bool = False

    @classmethod
    def parse(cls, text: str) -> "AddressRules":
        """Reads hosts, addresses and CIDRs with commas between. Raises InvalidInput."""
        words = [word.strip().lower() for word in text.split(",") if word.strip()]
        networks = tuple(network for word in words if (network := _network(word)) is not None)
        hosts = frozenset(word for word in words if _network(word) is None)
        for host in hosts:
            if "/" in host or " " in host:
                raise InvalidInput(f"{host!r} is no host, address or CIDR", metadata={"host": host})
        return cls(hosts=hosts, networks=networks)

    def allowing_url(self, url: str) -> "AddressRules":
        """These, and the host and port of an address that the operator set."""
        port = port_of(url)
        return self.allowing(urlsplit(url).hostname or "", port)

    def allowing(self, host: str, port: int) -> "AddressRules":
        """These, and one host and port more."""
        return replace(self, hosts=self.hosts | {f"{_plain(host)}:{port}"})

    def judge(self, host: str, port: int, addresses: Sequence[Address]) -> Sequence[Address]:
        """Those of a host's addresses that may be reached, in order. Raises AddressRefused when none may."""
        name = _plain(host)
        if name in self.hosts or f"{name}:{port}" in self.hosts:
            return addresses
        reachable = [address for address in addresses if self._allows(address)]
        if not reachable:
            raise AddressRefused(
                f"{host!r} is at a loopback, private or otherwise reserved address, which tools may not reach",
                resolution="The operator can allow it: CADRE_ALLOWED_ADDRESSES takes hosts and CIDRs.",
                metadata={"host": host},
            )
        return reachable

    def _allows(self, address: Address) -> bool:
        return (
            _is_public(address)
            or (self.near and _is_near(address))
            or _within(address, self.networks)
        )


async def resolve(host: str, port: int) -> Sequence[Address]:
    """A host's addresses, as the system resolves it. Raises HostUnknown."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise HostUnknown(
            f"{host!r} cannot be found",
            resolution="Check the name, and that this machine can resolve it.",
            metadata={"host": host},
        ) from exc
    texts = dict.fromkeys(str(entry[4][0]) for entry in found)
    return [ipaddress.ip_address(text) for text in texts]


def port_of(url: str) -> int:
    """The port of an http or https address. Raises InvalidInput."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidInput("the address has no valid port") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("the address must begin with http:// or https:// and name a host")
    return port or (443 if parts.scheme == "https" else 80)


def _network(word: str) -> Network | None:
    try:
        return ipaddress.ip_network(word.strip("[]"), strict=False)
    except ValueError:
        return None


def _plain(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _is_public(address: Address) -> bool:
    inner = _embedded(address)
    if inner is not None:
        return _is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not _within(address, _METADATA)
    )


def _is_near(address: Address) -> bool:
    inner = _embedded(address)
    if inner is not None:
        return _is_near(inner)
    return _within(address, _NEAR) and not _within(address, _METADATA)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, on the wire or at a gateway."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour
