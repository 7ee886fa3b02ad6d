"""Which pages may connect: the Origin header against an allow-list."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Origins:
    """Allows the server's own origin, the listed ones (`https://app.example.com`, exact) and, for
    development, every loopback origin."""

    def __init__(self, allowed: Sequence[str], *, loopback: bool) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)
        self._loopback = loopback

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a request with these Origin and Host headers may pass; without Origin it is no page's."""
        if origin is None:
            return True
        try:
            parts = urlsplit(origin.lower())
            name = parts.hostname
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or name is None:
            return False
        if self._loopback and name in LOOPBACK:
            return True
        return parts.netloc == (host or "").lower() or origin.lower().rstrip("/") in self._allowed
