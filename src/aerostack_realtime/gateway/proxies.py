"""The address that a request comes from, also behind trusted proxies.

The settings are checked with it by every command, so it does not import aiohttp.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNKNOWN: Final = "unknown"
_SUBSCRIBER_BITS: Final = 64
"""An IPv6 client can choose its addresses from a whole /64 (RFC 6177), so a /64 counts as one client."""
REMEMBERED: Final = 4096
"""Parsed peer addresses that are remembered: parsing is 4 µs of a connect, and clients reconnect."""


class Proxies:
    """The proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, as addresses or networks.

    Raises ValueError.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: list[Network] = [ipaddress.ip_network(each, strict=False) for each in trusted]

    def of(self, request: BaseRequest) -> str:
        """The address of the client that sent a request."""
        return self.client(request.remote, request.headers.getall("X-Forwarded-For", []))

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The client's address: the last hop that is not a trusted proxy, so that addresses which a client
        writes into the header itself are never used."""
        if not (self._trusted and forwarded):
            return _named(peer or "")
        hops = [each.strip() for header in forwarded for each in header.split(",") if each.strip()]
        address = _address(peer or "")
        while hops and address is not None and self._trusts(address):
            hop = _address(hops.pop())
            if hop is None:
                break
            address = hop
        return _grouped(address)

    def secure(self, request: BaseRequest) -> bool:
        """Whether the client's own connection uses TLS, which a trusted proxy reports in X-Forwarded-Proto."""
        forwarded = request.headers.get("X-Forwarded-Proto")
        return request.secure or (forwarded == "https" and self.trusts(request.remote))

    def trusts(self, peer: str | None) -> bool:
        """Whether a peer is one of the proxies."""
        if not self._trusted:
            return False
        address = _address(peer or "")
        return address is not None and self._trusts(address)

    def _trusts(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _address(written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(written.partition("%")[0].strip("[]"))
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


@lru_cache(REMEMBERED)
def _named(peer: str) -> str:
    return _grouped(_address(peer))


def _grouped(address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> str:
    if address is None:
        return UNKNOWN
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _SUBSCRIBER_BITS), strict=False).network_address)
