"""The servers of a cluster, and which of them to use next. No I/O."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from aerostack_realtime.protocol.errors import AerostackError

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class InvalidUrl(AerostackError, ValueError):
    """The url is not that of a server. Raised by the client itself."""

    code = "invalid_url"
    status = 400


class ServerList:
    """The urls of equal servers, in a random order so that clients spread over them.

    The current one stays in use until it fails. `random` returns a float in [0, 1). Raises InvalidUrl.
    """

    def __init__(self, urls: str | Sequence[str], random: Callable[[], float] = random.random) -> None:
        servers = [base_url(each) for each in ([urls] if isinstance(urls, str) else urls)]
        if not servers:
            raise InvalidUrl("The client needs the url of at least one server.")
        self._servers = sorted(dict.fromkeys(servers), key=lambda _: random())
        self._current = 0

    def __str__(self) -> str:
        return ", ".join(self._servers)

    @property
    def current(self) -> str:
        """The url of the server to use now, without a trailing slash."""
        return self._servers[self._current]

    def advance(self) -> None:
        """The current server failed: use the next one."""
        self._current = (self._current + 1) % len(self._servers)

    def attempts(self) -> Iterator[str]:
        """Each server once, the current one first. The one at which the caller stops becomes the current one."""
        for _ in range(len(self._servers)):
            yield self.current
            self.advance()


def base_url(url: str) -> str:
    """The `http(s)` url of a server as users write it: `ws(s)` and a trailing `/v1` are accepted. Raises
    InvalidUrl."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _SCHEMES and parts.hostname and not parts.username and not parts.query
    except ValueError:
        valid = False
    if not valid:
        shown = url if not {"@", "?"} & set(url) else "hidden, as it may hold a credential"
        raise InvalidUrl(
            f"The url needs http:// or https:// and a host, such as https://realtime.example.com: {shown!r}."
        )
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, "", ""))
