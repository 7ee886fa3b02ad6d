"""Which pages may connect: the Origin header against an allow-list, and the Host header in development."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

REMEMBERED: Final = 64
"""Hosts whose parsing is remembered: in development, clients name few."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
ORIGIN_REFUSED: Final = "Pages of this origin may not connect: add it to origins in the settings."
# Apps that show pages of their own have schemes of their own (capacitor://localhost, tauri://localhost, app://-).
_WRITTEN: Final = re.compile(
    r"(https?://(\*\.[a-z0-9-]+\.)?|(?!file:)[a-z][a-z0-9+.-]*://)([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?",
    re.IGNORECASE,
)


class Origins:
    """Allows the server's own origin and the listed ones: `https://app.example.com`, exact, and
    `https://*.example.com` for every sub-domain of it; `capacitor://localhost` for an app whose pages have a
    scheme of their own. Raises ValueError for any other form, as for `null`: any page can send it.

    `loopback` is for development: every loopback origin is allowed, and the server answers only to the names
    of this machine and to addresses. The owner of any other name could point it to this machine, and a page of
    that name would then have the server's own origin (DNS rebinding).
    """

    def __init__(self, allowed: Sequence[str], *, loopback: bool) -> None:
        for written in allowed:
            if not _WRITTEN.fullmatch(written.rstrip("/")):
                raise ValueError(
                    f"an origin is written https://app.example.com or https://*.example.com; {written!r} is not"
                )
        listed = [origin.rstrip("/").lower() for origin in allowed]
        self._exact = frozenset(origin for origin in listed if "*" not in origin)
        self._wild = [origin.split("*") for origin in listed if "*" in origin]
        self._loopback = loopback

    def adopt(self, other: "Origins") -> None:
        """Allow what `other` allows, from now on."""
        self._exact, self._wild, self._loopback = other._exact, other._wild, other._loopback

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a request with these Origin and Host headers may pass. Only pages send an Origin."""
        if origin is None:
            return True
        origin = origin.lower().rstrip("/")
        if origin in self._exact:
            return True
        try:
            parts = urlsplit(origin)
            name = parts.hostname
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or name is None or origin != f"{parts.scheme}://{parts.netloc}":
            return False
        if any(_under(origin, *wild) for wild in self._wild):
            return True
        if self._loopback:
            return name in LOOPBACK or (_is_address(name) and parts.netloc == (host or "").lower())
        return parts.netloc == (host or "").lower()

    def serves(self, host: str | None) -> bool:
        """Whether the server answers to a Host header."""
        return not self._loopback or not host or _is_local(host)


def _under(origin: str, scheme: str, domain: str) -> bool:
    """Whether an origin is a sub-domain: `https://` + at least one label + `.example.com`."""
    label = origin[len(scheme) : -len(domain)]
    return (
        origin.startswith(scheme) and origin.endswith(domain) and re.fullmatch(r"[a-z0-9.-]+", label) is not None
    )


@lru_cache(REMEMBERED)
def _is_local(host: str) -> bool:
    """Whether a Host header names this machine, or is an address."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and (name in LOOPBACK or name.endswith(".localhost") or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
