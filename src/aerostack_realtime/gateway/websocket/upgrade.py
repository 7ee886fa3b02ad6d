"""A request for a WebSocket (RFC 6455 §4.1), read in one step where nothing about it is unusual.

Almost every connect is one packet with a plain request, which needs neither a general HTTP parser nor a task.
Whatever is not exactly that is left to aiohttp, which accepts or refuses it like any other request.
"""

import re
from typing import Final, NamedTuple, Protocol

from aiohttp import hdrs
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
_PLAIN_QUERY: Final = re.compile(r"[A-Za-z0-9._~=&:@/-]*")
"""Queries in which nothing is escaped."""
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
"""The base64 of 16 bytes."""
_WITH_BODY: Final = frozenset({"content-length", "transfer-encoding", "expect"})

_KEY_LINE: Final = f"\r\n{hdrs.SEC_WEBSOCKET_KEY}: ".encode()
_KEY_BYTES: Final = 24
_PROTOCOL_LINE: Final = f"\r\n{hdrs.SEC_WEBSOCKET_PROTOCOL}: ".encode()
REMEMBERED: Final = 256
"""Heads that are remembered: the clients of an application send the same one, but for the key and credentials."""
REMEMBERED_BYTES: Final = 1024
"""Of a head that is remembered."""
_SHARED: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "host",
        "origin",
        "pragma",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "upgrade",
        "user-agent",
    }
)
"""The headers of a head that is remembered. Others differ from client to client, or are secrets."""


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


class _Head(NamedTuple):
    """A head that clients share; its key and sub-protocols are empty."""

    headers: CIMultiDict[str]
    query: MultiMapping[str]


_heads: Final[dict[bytes, _Head]] = {}
"""Heads without the values of their key and sub-protocols. What they mean depends on these bytes alone."""


def read(data: bytes, limits: Limits, remote: str | None, scheme: str = "http") -> Upgrade | None:
    """The plain request for a WebSocket that `data` begins with; None for anything else.

    aiohttp would accept the same request, with the same headers and query.
    """
    end = data.find(_END, 0, limits.header_bytes)
    if end < 0:
        return None
    before, key_line, rest = data[:end].partition(_KEY_LINE)
    key, rest = rest[:_KEY_BYTES], rest[_KEY_BYTES:]
    has_key = bool(key_line) and (not rest or rest.startswith(b"\r\n"))
    before, line, rest = b"".join((before, _KEY_LINE, rest)).partition(_PROTOCOL_LINE)
    protocols, line_end, after = rest.partition(b"\r\n")
    shared = b"".join((before, line, line_end, after))
    head = _heads.get(shared)
    if head is None or len(head.headers) > limits.headers:
        found = _read(data, limits, remote, scheme)
        if found is not None and has_key and (line or hdrs.SEC_WEBSOCKET_PROTOCOL not in found.headers):
            _remember(shared, found)
        return found
    try:
        key_text, protocols_text = key.decode("ascii"), protocols.decode("ascii")
    except UnicodeDecodeError:
        return None
    if _KEY.fullmatch(key_text) is None or not protocols_text.isprintable():
        return _read(data, limits, remote, scheme)
    headers = head.headers.copy()
    headers[hdrs.SEC_WEBSOCKET_KEY] = key_text
    if line:
        headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = protocols_text.strip(" ")
    return Upgrade(headers, head.query, remote, scheme, data[end + len(_END) :])


def _remember(shared: bytes, found: Upgrade) -> None:
    """Remember a head, if other clients may send it as well."""
    headers = CIMultiDict(found.headers)
    if len(shared) > REMEMBERED_BYTES:
        return
    if {*found.query} <= {"projectId"} and {each.lower() for each in headers} <= _SHARED:
        for name in (hdrs.SEC_WEBSOCKET_KEY, hdrs.SEC_WEBSOCKET_PROTOCOL):
            if name in headers:
                headers[name] = ""
        if len(_heads) >= REMEMBERED:
            del _heads[next(iter(_heads))]
        _heads[shared] = _Head(headers, found.query)


def _read(data: bytes, limits: Limits, remote: str | None, scheme: str) -> Upgrade | None:
    """A request whose head is complete, read line by line."""
    found = _HEAD.match(data)
    if found is None:
        return None
    fields: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    for line in found[2].decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        value = value.strip(" \t")
        fields.append((name, value))
        headers[name.lower()] = value
    if len(fields) > limits.headers or len(headers) < len(fields) or not _is_upgrade(headers):
        return None
    query = b"" if found[1] is None else found[1]
    return Upgrade(CIMultiDict(fields), _parsed(query.decode("ascii")), remote, scheme, data[found.end() :])


def _is_upgrade(headers: dict[str, str]) -> bool:
    """Whether headers, by their names in lower case, are those of a plain upgrade."""
    value = headers.get
    connection = value("connection", "").lower()
    return (
        value("upgrade", "").lower() == "websocket"
        and (connection == "upgrade" or "upgrade" in [each.strip() for each in connection.split(",")])
        and value("sec-websocket-version") == VERSION
        and _KEY.fullmatch(value("sec-websocket-key", "")) is not None
        and bool(value("host"))
        and _WITH_BODY.isdisjoint(headers)
    )


def _parsed(query: str) -> MultiMapping[str]:
    if not query:
        return _NO_QUERY
    if _PLAIN_QUERY.fullmatch(query) is None:
        return URL.build(path=PATH, query_string=query, encoded=True).query
    pairs = [each.partition("=") for each in query.split("&") if each]
    return MultiDict([(name, value) for name, _, value in pairs])


_NO_QUERY: Final[MultiMapping[str]] = MultiDict()
