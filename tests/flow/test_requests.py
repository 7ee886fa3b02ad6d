"""Requests that are none, or are larger than the limits: refused without being logged, and nobody else notices."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.flow.wire import PATIENCE_SECONDS, Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]


def limits(*written: str) -> str:
    return "\n".join(["anonymous = true", "[limits]", *written])


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end of the connection."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await reader.read()


async def head(server: "ServerProcess", *lines: str) -> int:
    """The status that a request with these lines is answered with."""
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        status = int((await reader.readline()).split()[1])
    writer.close()
    return status


@pytest.mark.parametrize(
    ("size", "lines"),
    [
        ("the request line", ["GET /healthz?x={fill} HTTP/1.1", "Host: x"]),
        ("a value", ["GET /healthz HTTP/1.1", "Host: x", "X: {fill}"]),
        ("a name", ["GET /healthz HTTP/1.1", "Host: x", "{fill}: y"]),
    ],
)
async def test_the_head_of_a_request_is_bounded(serve: Serve, dial: Dial, size: str, lines: list[str]) -> None:
    server = await serve(limits("header_bytes = 2000"))
    for fill, status in (("x" * 1900, 200), ("x" * 2100, 431)):
        assert await head(server, *(line.format(fill=fill) for line in lines)) == status
    await dial(server)


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /api/realtime?token=HUSH HTTP/9\r\n\r\n",
        b"GET /api/realtime HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer HUSH\0\r\n\r\n",
        b"GET /api/realtime HTTP/1.1\r\nHost: x\r\nAuthorization: HUSH" + b"x" * 10_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nHUSH\r\n\r\n",
    ],
)
async def test_malformed_requests_are_refused_not_logged_not_echoed(serve: Serve, request_head: bytes) -> None:
    server = await serve(limits())
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request_head)
    answer = await _rest(reader)
    writer.close()
    assert answer.split()[1] in (b"400", b"431")
    assert b'"bad_message"' in answer
    assert b"Content-Security-Policy" in answer
    assert b"HUSH" not in answer
    log = server.log.read_text()
    assert "HUSH" not in log
    assert "Traceback" not in log
    assert '"reason":"bad_message"' in log


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 9\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"]
)
async def test_an_incomplete_body_is_not_a_server_error(serve: Serve, rest: bytes) -> None:
    server = await serve(limits())
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"POST /v1/db/query HTTP/1.1\r\nHost: x\r\n" + rest)
    writer.write_eof()
    answer = await _rest(reader)
    writer.close()
    assert answer == b"" or answer.split()[1] == b"400"
    await server.terminate()
    assert "Traceback" not in server.log.read_text()


async def test_a_request_has_so_many_headers_at_most(serve: Serve, dial: Dial) -> None:
    server = await serve(limits("headers = 10"))
    for count, status in ((10, 200), (20, 400)):
        assert (
            await head(server, "GET /healthz HTTP/1.1", "Host: x", *(f"X{n}: y" for n in range(1, count)))
            == status
        )
    await dial(server)
