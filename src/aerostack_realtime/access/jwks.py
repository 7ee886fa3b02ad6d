"""Key sets of identity providers (JWKS, RFC 7517): fetched in the background, the last good set kept."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import jwt
import msgspec

from aerostack_realtime.access.tokens import Algorithm, TokenKey, fit

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]
"""Fetches a URL. It may raise anything: a provider that is down must not stop this server."""

Pause = Callable[[float, asyncio.Event | None], Awaitable[None]]
"""Waits that number of seconds, or until the event is set, if one is given."""

REFRESH_SECONDS: Final = 600.0
RETRY_SECONDS: Final = 30.0
"""Between two fetches after a failure, or when tokens name a key we do not have: a client cannot make us
fetch more often than this."""
MAX_KEYS: Final = 32


async def pause(seconds: float, event: asyncio.Event | None = None) -> None:
    """Wait on the event loop's clock."""
    if event is None:
        await asyncio.sleep(seconds)
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class KeySet:
    """The keys at one URL, all for one algorithm. Before the first good fetch there are none."""

    def __init__(
        self,
        url: str,
        algorithm: Algorithm,
        fetch: Fetch,
        *,
        issuer: str | None = None,
        audience: str | None = None,
    ) -> None:
        self.url = url
        self._algorithm = algorithm
        self._fetch = fetch
        self._issuer = issuer
        self._audience = audience
        self._wanted = asyncio.Event()
        self.keys: tuple[TokenKey, ...] = ()

    @property
    def source(self) -> tuple[str, Algorithm, str | None, str | None]:
        """What it was made with: URL, algorithm, issuer and audience."""
        return self.url, self._algorithm, self._issuer, self._audience

    async def refresh(self) -> bool:
        """Fetch the set; one that cannot be fetched or read leaves the last one in place."""
        try:
            self.keys = self.parse(await self._fetch(self.url))
        except Exception as failure:
            log.warning("cannot refresh the keys at %s, keeping %d: %s", self.url, len(self.keys), failure)
            return False
        return True

    async def keep(self, pause: Pause = pause) -> None:
        """Refresh it again and again, beginning some time after the first `refresh`.

        After a success it rests `REFRESH_SECONDS`, unless a token names a key that is not here; after a failure,
        and between any two fetches, `RETRY_SECONDS`.
        """
        good = bool(self.keys)
        while True:
            self._wanted.clear()
            await pause(RETRY_SECONDS, None)
            if good:
                await pause(REFRESH_SECONDS - RETRY_SECONDS, self._wanted)
            good = await self.refresh()

    def want(self) -> None:
        """A token named a key that is not here: look for it soon."""
        self._wanted.set()

    def parse(self, document: bytes) -> tuple[TokenKey, ...]:
        """The keys in a document that fit the algorithm. Raises ValueError when there is none."""
        content: Any = msgspec.json.decode(document)
        entries = content.get("keys") if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError("it is not a key set: there is no list of keys")
        found = [key for entry in entries[:MAX_KEYS] if (key := self._key(entry)) is not None]
        if not found:
            raise ValueError(f"none of its keys is a public one for {self._algorithm}")
        return tuple(found)

    def _key(self, entry: Any) -> TokenKey | None:
        """An entry as a key; None when it is for something else. A secret in a public document is not used."""
        if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            return None
        if entry.get("alg", self._algorithm) != self._algorithm:
            return None
        try:
            key = fit(jwt.PyJWK.from_dict(entry, self._algorithm).key, self._algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            return None
        kid = entry.get("kid")
        return TokenKey(key, self._algorithm, kid if isinstance(kid, str) else None, self._issuer, self._audience)
