"""The rates of HTTP calls: a client beyond them learns how long to wait, and no other client notices."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt
import pytest

from tests.flow.calls import Http
from tests.flow.wire import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]

SECRET: Final = "the token secret of these calls, 32+"
HISTORY, PUBLISH = "/api/v1/public/realtime/history?room=a/b", "/api/v1/realtime/publish"


def settings(*limits: str, more: str = "") -> str:
    return "\n".join([f'token_secret = "{SECRET}"\npublishable_keys = ["pk"]', more, "[limits]", *limits])


def token(user: str, lives: float = 300) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + lives}, SECRET, algorithm="HS256")


async def statuses(http: Http, count: int, key: str, headers: Mapping[str, str] = {}) -> list[int]:
    return [(await http.get(HISTORY, key, headers))[0] for _ in range(count)]


async def test_calls_beyond_the_rate_are_refused_user_by_user(serve: Serve, calls: Calls) -> None:
    http = calls(await serve(settings("calls_per_second = 0.01", "calls_burst = 3")))
    assert await statuses(http, 4, token("ann")) == [200, 200, 200, 429]
    assert await statuses(http, 1, token("ann")) == [429], "another token makes no other user"
    assert await statuses(http, 1, token("bob")) == [200]
    assert await statuses(http, 20, "ac_secret_for_the_flow_tests") == [200] * 20


async def test_unauthenticated_calls_count_by_address(serve: Serve, calls: Calls) -> None:
    more = 'anonymous = true\ntrusted_proxies = ["127.0.0.1"]'
    http = calls(await serve(settings("calls_per_second = 0.01", "calls_burst = 4", more=more)))
    one, other = {"X-Forwarded-For": "1.2.3.4"}, {"X-Forwarded-For": "1.2.3.5"}
    found = [
        *await statuses(http, 1, "", one),
        *await statuses(http, 1, "", {**one, "X-Aerostack-Key": "pk"}),
        *await statuses(http, 1, "no.such.token", one),
        *await statuses(http, 1, token("ann", lives=-60), one),
        *await statuses(http, 1, "no.other.token", one),
        *await statuses(http, 1, "", one),
    ]
    assert found == [200, 200, 401, 401, 429, 429]
    assert await statuses(http, 1, "", other) == [200]
    assert await statuses(http, 1, token("ann"), one) == [200], "who proves to be someone is not held up"


async def test_a_refusal_says_how_long_to_wait_also_to_a_page(serve: Serve) -> None:
    server = await serve(settings("calls_per_second = 0.001", "calls_burst = 1"))
    headers = {"Authorization": f"Bearer {token('ann')}", "Origin": server.url}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        async with session.get(HISTORY) as answer:
            assert answer.status == 200
        async with session.get(HISTORY) as answer:
            body = await answer.json()
            assert (answer.status, body["error"]["code"]) == (429, "rate_limited")
            assert 900 <= int(answer.headers["Retry-After"]) <= 1000
            assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
            assert answer.headers["Connection"] == "close"


async def test_every_event_of_a_list_counts(serve: Serve, calls: Calls) -> None:
    http = calls(await serve(settings("calls_per_second = 0.01", "calls_burst = 10")))
    events: list[dict[str, Any]] = [{"topic": "a/b", "event": "e", "persist": True}] * 4
    found = [(await http.post(PUBLISH, events, token("ann")))[0] for _ in range(3)]
    assert found == [200, 200, 429]
    assert len(await http.history("a/b")) == 8, "what is refused is refused as a whole"


async def test_bytes_published_have_the_rate_that_they_have_over_websocket(serve: Serve, calls: Calls) -> None:
    http = calls(await serve(settings("publish_bytes_per_second = 0.1", "publish_bytes_burst = 2500")))
    event = {"topic": "a/b", "event": "e", "data": "x" * 1000}
    found = [(await http.post(PUBLISH, event, token("ann")))[0] for _ in range(3)]
    assert found == [200, 200, 429]
    assert await statuses(http, 1, token("ann")) == [200]


async def test_a_flood_of_calls_needs_a_connection_per_refusal(serve: Serve) -> None:
    server = await serve(settings("calls_per_second = 0.01", "calls_burst = 2", more="anonymous = true"))
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {HISTORY} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answers = await reader.read()
    writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"429"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_answered_at_any_rate(serve: Serve, calls: Calls, path: str) -> None:
    http = calls(await serve(settings("calls_per_second = 0.01", "calls_burst = 1")))
    assert [(await http.get(path, ""))[0] for _ in range(5)] == [200] * 5


async def test_the_description_tells_of_it(serve: Serve, calls: Calls) -> None:
    _, description = await calls(await serve(settings())).get("/openapi.json", "")
    for path, methods in description["paths"].items():
        for call in methods.values():
            assert ("429" in call["responses"]) == (path not in ("/healthz", "/readyz"))
