"""A request for a WebSocket (RFC 6455 §4.1), read in one step where nothing about it is unusual.

Almost every connect is one packet with a plain request, which needs neither a general HTTP parser nor a task.
Whatever is not exactly that is left to aiohttp, which accepts or refuses it like any other request.
"""

import re
from typing import Final, Protocol

from multidict import CIMultiDict, MultiDict, MultiMapping
from yarl import URL

from aerostack_realtime.gateway.limits.settings import Limits

PATH: Final = "/api/realtime"
VERSION: Final = "13"

_END: Final = b"\r\n\r\n"
_HEAD: Final = re.compile(
    rf"GET {PATH}(?:\?([!\"$-~]*))? HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~\t]*\r\n)+)\r\n".encode()
)
"""Printable ASCII, names of letters and digits, lines that end in CR LF, no fragment. No part can match in two
ways, so its cost is linear in the length."""
_FIELD: Final = re.compile(r"([A-Za-z0-9-]+):([ -~\t]*)\r\n")
_PLAIN_QUERY: Final = re.compile(r"[A-Za-z0-9._~=&:@/-]*")
"""Queries in which nothing is escaped."""
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
"""The base64 of 16 bytes."""
_WITH_BODY: Final = ("Content-Length", "Transfer-Encoding", "Expect")


class ConnectRequest(Protocol):
    """A request for a WebSocket, as a connect sees it: aiohttp's, or an `Upgrade`."""

    @property
    def headers(self) -> MultiMapping[str]: ...

    @property
    def query(self) -> MultiMapping[str]: ...

    @property
    def remote(self) -> str | None: ...

    @property
    def scheme(self) -> str: ...


class Upgrade:
    """A plain request for a WebSocket. `remote` is the peer's address, `scheme` http or https as its transport has
    it, `rest` what came after the head."""

    __slots__ = ("headers", "query", "remote", "rest", "scheme")

    def __init__(
        self, headers: MultiMapping[str], query: MultiMapping[str], remote: str | None, scheme: str, rest: bytes
    ) -> None:
        self.headers = headers
        self.query = query
        self.remote = remote
        self.scheme = scheme
        self.rest = rest


def read(data: bytes, limits: Limits, remote: str | None, scheme: str = "http") -> Upgrade | None:
    """The plain request for a WebSocket that `data` begins with; None for anything else.

    aiohttp would accept the same request, with the same headers and query.
    """
    if data.find(_END, 0, limits.header_bytes) < 0:
        return None
    found = _HEAD.match(data)
    if found is None:
        return None
    fields = [(name, value.strip(" \t")) for name, value in _FIELD.findall(found[2].decode("ascii"))]
    headers = CIMultiDict(fields)
    if len(fields) > limits.headers or len({name.lower() for name, _ in fields}) < len(fields):
        return None
    if not _is_upgrade(headers):
        return None
    query = b"" if found[1] is None else found[1]
    return Upgrade(headers, _parsed(query.decode("ascii")), remote, scheme, data[found.end() :])


def _is_upgrade(headers: MultiMapping[str]) -> bool:
    value = headers.get
    return (
        value("Upgrade", "").lower() == "websocket"
        and "upgrade" in [each.strip() for each in value("Connection", "").lower().split(",")]
        and value("Sec-WebSocket-Version") == VERSION
        and _KEY.fullmatch(value("Sec-WebSocket-Key", "")) is not None
        and bool(value("Host"))
        and not any(name in headers for name in _WITH_BODY)
    )


def _parsed(query: str) -> MultiMapping[str]:
    if not query:
        return _NO_QUERY
    if _PLAIN_QUERY.fullmatch(query) is None:
        return URL.build(path=PATH, query_string=query, encoded=True).query
    pairs = (each.partition("=") for each in query.split("&") if each)
    return MultiDict((name, value) for name, _, value in pairs)


_NO_QUERY: Final[MultiMapping[str]] = MultiDict()
