"""Connections to addresses that workflows name: each is judged when it is connected to, however it is written."""

import ipaddress
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cadre_kit.addresses import AddressRules, resolve

__all__ = ["JudgedResolver", "judge_literal"]

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class JudgedResolver(AbstractResolver):
    """Finds of a name the addresses that may be reached; connections go to these very ones."""

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Those addresses. Raises AddressRefused, HostUnknown."""
        found = self._rules.judge(host, port, await resolve(host, port))
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=_FAMILIES[address.version],
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


def judge_literal(url: URL, rules: AddressRules) -> None:
    """Judges an address that is written as one, of which no resolver is asked. Raises AddressRefused, InvalidURL."""
    host = url.host or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError as exc:
        if ":" in host:
            raise aiohttp.InvalidURL(str(url)) from exc
        return
    rules.judge(host, url.port or 0, [address])
