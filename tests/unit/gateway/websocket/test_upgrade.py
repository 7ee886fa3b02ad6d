"""Which requests for a WebSocket are read in one step, and that the others are left to aiohttp."""

import asyncio
from base64 import b64encode

import pytest
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket import upgrade
from aerostack_realtime.gateway.websocket.upgrade import REMEMBERED, Upgrade, read

LIMITS = Limits()
KEY = b64encode(b"0123456789abcdef")
PLAIN = (
    b"GET /api/realtime?projectId=p&userId=ann HTTP/1.1\r\n"
    b"Host: localhost:8787\r\n"
    b"Connection: keep-alive, Upgrade\r\n"
    b"Upgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\n"
    b"Sec-WebSocket-Protocol: aerostack-v1, aerostack-token.t\r\n"
    b"X-Forwarded-For: \t10.0.0.1 , 10.0.0.2 \t\r\n"
    b"\r\n"
)


def with_line(line: bytes) -> bytes:
    return PLAIN.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")


def with_header(name: bytes, value: bytes | None) -> bytes:
    """The plain request with another value of a header, or without it."""
    lines = [line for line in PLAIN.split(b"\r\n") if not line.startswith(name + b":")]
    return b"\r\n".join(lines) if value is None else b"\r\n".join([*lines[:-2], name + b": " + value, b"", b""])


def test_a_plain_request_is_read() -> None:
    found = read(PLAIN, LIMITS, "10.0.0.9")
    assert found is not None
    assert found.remote == "10.0.0.9"
    assert found.headers["sec-websocket-protocol"] == "aerostack-v1, aerostack-token.t"
    assert found.headers.getall("X-Forwarded-For") == ["10.0.0.1 , 10.0.0.2"]
    assert dict(found.query) == {"projectId": "p", "userId": "ann"}
    assert found.rest == b""


def test_what_follows_the_request_is_kept() -> None:
    found = read(PLAIN + b"\x81\x80mask", LIMITS, None)
    assert found is not None
    assert found.rest == b"\x81\x80mask"


def test_the_case_of_names_and_tokens_does_not_matter() -> None:
    for changed in (
        PLAIN.replace(b"Upgrade: websocket", b"uPGRADE: WebSocket"),
        PLAIN.replace(b"Host:", b"hOST:"),
    ):
        assert read(changed, LIMITS, None) is not None


@pytest.mark.parametrize("places", range(0, len(PLAIN), 7))
def test_a_request_in_several_packets_is_left_to_aiohttp(places: int) -> None:
    assert read(PLAIN[:places], LIMITS, None) is None


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/2.0"),
        PLAIN.replace(b"GET ", b"POST "),
        PLAIN.replace(b"GET ", b"get "),
        PLAIN.replace(b"GET /api", b"GET //api"),
        PLAIN.replace(b"GET /api", b"GET http://localhost/api"),
        PLAIN.replace(b"/api/realtime?", b"/api/realtime/?"),
        PLAIN.replace(b"/api/realtime?", b"/api/realtime#?"),
        PLAIN.replace(b"userId=ann", b"userId=ann#x"),
        PLAIN.replace(b"userId=ann", b"userId=a n"),
        PLAIN.replace(b"userId=ann", b"userId=\xc3\xa9"),
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(b"Host: localhost", b"Host : localhost"),
        PLAIN.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        PLAIN.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        with_header(b"Upgrade", None),
        with_header(b"Connection", None),
        with_header(b"Connection", b"close"),
        with_header(b"Connection", b"xUpgrade"),
        with_header(b"Host", None),
        with_header(b"Host", b""),
        with_header(b"Sec-WebSocket-Version", None),
        with_header(b"Sec-WebSocket-Version", b"12"),
        with_header(b"Sec-WebSocket-Version", b"8"),
        with_header(b"Sec-WebSocket-Key", None),
        with_header(b"Sec-WebSocket-Key", KEY[:-1]),
        with_header(b"Sec-WebSocket-Key", KEY + b"="),
        with_header(b"Sec-WebSocket-Key", b64encode(b"0123456789abcde")),
        with_header(b"Sec-WebSocket-Key", b"*" * 22 + b"=="),
        with_line(b"Sec-WebSocket-Key: " + KEY),
        with_line(b"x-forwarded-for: 10.0.0.3"),
        with_line(b"Content-Length: 0"),
        with_line(b"transfer-encoding: chunked"),
        with_line(b"Expect: 100-continue"),
        with_line(b" folded"),
        with_line(b"no colon"),
        with_line(b"Under_score: 1"),
        with_line(b"Name: \x00"),
        with_line(b"Name: a\rb"),
        with_line(b"Name: \xff"),
        with_line(b": no name"),
        b"\r\n" + PLAIN,
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01",
    ],
)
def test_an_unusual_request_is_left_to_aiohttp(data: bytes) -> None:
    assert read(data, LIMITS, None) is None


def test_a_head_beyond_the_limits_is_left_to_aiohttp() -> None:
    assert read(PLAIN, replace(LIMITS, header_bytes=len(PLAIN) - 1), None) is None
    assert read(PLAIN, replace(LIMITS, header_bytes=len(PLAIN)), None) is not None
    assert read(PLAIN, replace(LIMITS, headers=6), None) is None
    assert read(PLAIN, replace(LIMITS, headers=7), None) is not None


def test_hostile_heads_cost_no_more_than_their_length() -> None:
    size = 1 << 20
    limits = replace(LIMITS, header_bytes=2 * size, headers=size)
    for line in (
        b"A:" + b" " * size + b"\x00",
        b"A:" + b" \t" * (size // 2),
        b"A" * size,
        b"A:\r\n" * (size // 4),
    ):
        read(with_line(line), limits, None)


class Sink(asyncio.Protocol):
    """What aiohttp's parser reports a body to."""

    def pause_reading(self) -> None: ...


def by_aiohttp(data: bytes) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The headers and the query of a request that aiohttp takes for an upgrade."""
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(Sink(), loop, 2**16, max_line_size=8190, max_field_size=8190)  # type: ignore[arg-type]
        [(head, _)], upgraded, _ = parser.feed_data(data)
    finally:
        loop.close()
    assert upgraded
    assert head.upgrade
    return list(head.headers.items()), list(head.url.query.items())


@given(
    query=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30),
    names=st.lists(st.from_regex(r"X-[A-Za-z0-9-]{1,8}", fullmatch=True), max_size=3, unique_by=str.lower),
    value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30),
)
def test_aiohttp_reads_the_same(query: str, names: list[str], value: str) -> None:
    lines = b"".join(f"{name}: {value}\r\n".encode() for name in names)
    data = PLAIN.replace(b"projectId=p&userId=ann", query.encode()).replace(b"Host:", lines + b"Host:")
    found = read(data, LIMITS, None)
    if found is None:
        return
    headers, pairs = by_aiohttp(data)
    assert isinstance(found, Upgrade)
    assert list(found.headers.items()) == headers
    assert list(found.query.items()) == pairs


SHARED = (
    b"GET /api/realtime?projectId=p HTTP/1.1\r\n"
    b"Host: localhost:8787\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: aerostack-v1, aerostack-token.t\r\n"
    b"Upgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"\r\n"
)
"""A request whose head many clients send."""


def meaning(found: Upgrade | None) -> object:
    return found and (list(found.headers.items()), list(found.query.items()), found.remote, found.rest)


@given(
    at=st.integers(0, len(SHARED)),
    removed=st.integers(0, 40),
    added=st.sampled_from(["", " ", "\t", "=", "A", "\r\n", "\r", "\n", ": ", "\xff", KEY.decode(), ", x"])
    | st.just("Sec-WebSocket-Key: ")
    | st.just("\r\nSec-WebSocket-Key: " + KEY.decode())
    | st.just("\r\nSec-WebSocket-Protocol: x")
    | st.just("Sec-WebSocket-Protocol: "),
)
def test_a_remembered_head_changes_no_answer(at: int, removed: int, added: str) -> None:
    data = SHARED[:at] + added.encode("latin-1") + SHARED[at + removed :]
    upgrade._heads.clear()
    expected = meaning(read(data, LIMITS, "10.0.0.9"))
    upgrade._heads.clear()
    for known in (SHARED, data):
        read(known, LIMITS, None)
        assert meaning(read(data, LIMITS, "10.0.0.9")) == expected


@pytest.mark.parametrize("last", [b"Sec-WebSocket-Key: " + KEY, b"Sec-WebSocket-Protocol: a, aerostack-key.b"])
def test_any_line_of_a_remembered_head_may_be_its_last(last: bytes) -> None:
    lines = [each for each in SHARED.split(b"\r\n")[:-2] if not each.startswith(last[:18])]
    data = b"\r\n".join([*lines, last, b"", b"rest"])
    upgrade._heads.clear()
    first, again = read(data, LIMITS, None), read(data, LIMITS, None)
    assert len(upgrade._heads) == 1
    assert meaning(first) == meaning(again)
    assert again is not None
    assert again.rest == b"rest"


def test_heads_are_remembered_without_credentials() -> None:
    upgrade._heads.clear()
    assert read(SHARED.replace(b"token.t", b"token.marker"), LIMITS, None) is not None
    assert len(upgrade._heads) == 1
    assert "marker" not in repr(upgrade._heads)


@pytest.mark.parametrize(
    "data",
    [
        SHARED.replace(b"projectId=p", b"token=marker"),
        SHARED.replace(b"projectId=p", b"projectId=p&apiKey=marker"),
        SHARED.replace(b"Upgrade: w", b"Authorization: Bearer marker\r\nUpgrade: w"),
        SHARED.replace(b"Upgrade: w", b"Cookie: marker\r\nUpgrade: w"),
        SHARED.replace(b"Upgrade: w", b"X-Forwarded-For: marker\r\nUpgrade: w"),
        SHARED.replace(b"Upgrade: w", b"Origin: " + b"m" * 1024 + b"\r\nUpgrade: w"),
    ],
)
def test_a_head_of_one_client_is_not_remembered(data: bytes) -> None:
    upgrade._heads.clear()
    assert read(data, LIMITS, None) is not None
    assert not upgrade._heads


def test_a_remembered_head_is_checked_against_the_limits() -> None:
    assert read(SHARED, LIMITS, None) is not None
    assert read(SHARED, replace(LIMITS, headers=5), None) is None
    assert read(SHARED, replace(LIMITS, header_bytes=len(SHARED) - 1), None) is None


def test_as_many_heads_are_remembered_as_there_is_room_for() -> None:
    upgrade._heads.clear()
    for number in range(REMEMBERED + 2):
        assert read(SHARED.replace(b"8787", b"%d" % (1000 + number)), LIMITS, None) is not None
    assert len(upgrade._heads) == REMEMBERED


def test_the_headers_of_two_requests_with_one_head_are_their_own() -> None:
    first = read(SHARED, LIMITS, None)
    second = read(SHARED.replace(b"token.t", b"token.u"), LIMITS, None)
    assert first is not None
    assert second is not None
    assert first.headers["Sec-WebSocket-Protocol"].endswith("token.t")
    assert second.headers["Sec-WebSocket-Protocol"].endswith("token.u")
