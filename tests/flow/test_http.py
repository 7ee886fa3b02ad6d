"""The HTTP calls: answers, bounds, and errors as JSON with the matching status (docs/protocol.md §8)."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.flow.calls import Http
from tests.flow.wire import PATIENCE_SECONDS, Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

PUBLISH, QUERY, BATCH, RPC = "/api/v1/realtime/publish", "/v1/db/query", "/v1/db/batch", "/internal/hooks/rpc"
HISTORY, PRESENCE = "/api/v1/public/realtime/history?room=a/b", "/api/v1/realtime/presence?topic=a/b"


async def test_an_event_is_published(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node)
    await wire.subscribe("http/one")
    event = {"topic": "http/one", "event": "e", "data": {"a": 1}, "persist": True, "id": "h-1"}
    status, answer = await http.post(PUBLISH, event)
    heard = await wire.hear("event")
    assert status == 200
    assert (heard["data"], heard["id"], heard["cursor"]) == ({"a": 1}, "h-1", answer["cursor"])
    assert heard["timestamp"] == answer["timestamp"]
    assert "userId" not in heard
    assert (await http.post(PUBLISH, event))[1] == {**answer, "duplicate": True}
    assert len(await http.history("http/one")) == 1


async def test_a_list_is_published_in_its_order(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node)
    await wire.subscribe("http/list")
    events: list[dict[str, Any]] = [
        {"topic": "http/list", "event": "e", "data": number, "persist": number % 3 == 0} for number in range(99)
    ]
    status, body = await http.post(PUBLISH, [*events, {"topic": "not//one", "event": "e"}])
    assert status == 200
    assert [event["data"] for event in await wire.events(99)] == list(range(99))
    assert len(body["results"]) == 100
    assert body["results"][99]["error"]["code"] == "invalid_topic"


async def test_a_list_holds_at_most_a_hundred(http: Http) -> None:
    status, body = await http.post(PUBLISH, [{"topic": "a/b", "event": "e"}] * 101)
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_a_query_answers_rows_count_and_cursor(node: "ServerProcess", dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE queried(a TEXT)")
    status, body = await http.post(QUERY, {"sql": "INSERT INTO queried VALUES (?), (?)", "params": ["1", "x"]})
    assert (status, body["results"], body["count"]) == (200, [], 2)
    assert isinstance(body["cursor"], str)
    status, body = await http.post(QUERY, {"sql": "SELECT a FROM queried"})
    assert (body["results"], body["count"]) == ([{"a": "1"}, {"a": "x"}], 2)


async def test_a_batch_is_one_transaction(http: Http) -> None:
    await http.sql("CREATE TABLE batched(a INTEGER UNIQUE)")
    queries: list[dict[str, Any]] = [
        {"sql": "INSERT INTO batched VALUES (?)", "params": [1]},
        {"sql": "SELECT * FROM batched"},
    ]
    status, body = await http.post(BATCH, {"queries": queries})
    assert (status, body["success"]) == (200, True)
    assert body["results"] == [
        {"results": [], "count": 1, "success": True},
        {"results": [{"a": 1}], "count": 1, "success": True},
    ]
    twice = [{"sql": "INSERT INTO batched VALUES (2)"}] * 2
    status, body = await http.post(BATCH, {"queries": twice})
    assert (status, body["error"]["code"]) == (400, "bad_message")
    assert await http.sql("SELECT * FROM batched") == [{"a": 1}]


async def test_a_batch_holds_at_most_twenty_five(http: Http) -> None:
    one = {"sql": "SELECT 1"}
    assert (await http.post(BATCH, {"queries": [one] * 25}))[0] == 200
    status, body = await http.post(BATCH, {"queries": [one] * 26})
    assert (status, body["error"]["code"]) == (413, "too_large")


async def test_the_published_server_sdks_calls_are_answered(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node)
    await wire.subscribe("http/rpc")
    call: dict[str, Any] = {"method": "socket.emit", "args": ["shipped", {"a": 1}, "http/rpc"]}
    assert (await http.post(RPC, call))[0] == 200
    heard = await wire.hear("event")
    assert (heard["event"], heard["data"]) == ("shipped", {"a": 1})
    for args in (["SELECT 1 AS a", []], ["SELECT 1 AS a"], ["SELECT 1 AS a", None]):
        status, body = await http.post(RPC, {"method": "db.query", "args": args})
        assert (status, body["result"]["results"]) == (200, [{"a": 1}])


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ({"method": "nope", "args": []}, "unknown_type"),
        ({"method": "socket.emit", "args": ["e"]}, "bad_message"),
        ({"method": "socket.emit", "args": ["e", 1, 5]}, "bad_message"),
        ({"method": "db.query", "args": []}, "bad_message"),
        ({"method": "socket.emit", "args": ["e", 1, "a//b"]}, "invalid_topic"),
        ({"args": []}, "bad_message"),
    ],
)
async def test_a_wrong_call_is_refused(http: Http, call: dict[str, Any], code: str) -> None:
    status, body = await http.post(RPC, call)
    assert (status, body["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELEC 1", []),
        ("SELECT * FROM nowhere", []),
        ("SELECT ?", []),
        ("SELECT 1", [1]),
        ("", []),
        ("SELECT 1; SELECT 2", []),
        ("BEGIN", []),
        ("ATTACH 'x' AS y", []),
        ("SELECT \u0000", []),
    ],
)
async def test_an_sql_error_is_the_databases_message(http: Http, sql: str, params: list[Any]) -> None:
    status, body = await http.post(QUERY, {"sql": sql, "params": params})
    assert (status, body["error"]["code"]) == (400, "bad_message")
    assert "Traceback" not in body["error"]["message"]
    assert await http.sql("SELECT 1 AS a") == [{"a": 1}]


@pytest.mark.parametrize("path", [PUBLISH, QUERY, BATCH, RPC])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]]", b"null", b'"x"', b"{}", b"\xff", b'{"sql":"\xff"}', b"[" * 5000 + b"]" * 5000]
)
async def test_a_wrong_body_is_a_bad_message(http: Http, path: str, body: bytes) -> None:
    status, answer = await http.post(path, data=body)
    assert (status, answer["error"]["code"]) == (400, "bad_message")


async def test_a_missing_topic_names_the_parameter(http: Http) -> None:
    for path, parameter in (HISTORY, "room"), (PRESENCE, "topic"):
        status, answer = await http.get(path.partition("?")[0])
        assert (status, answer["error"]["code"]) == (400, "invalid_topic")
        assert f"?{parameter}=chat/general" in answer["error"]["message"]


async def test_a_body_beyond_the_limit_is_too_large(http: Http) -> None:
    status, answer = await http.post(PUBLISH, data=io.BytesIO(b" " * (1024 * 1024 + 1)))
    assert (status, answer["error"]["code"]) == (413, "too_large")
    assert "at most 1048576 bytes" in answer["error"]["message"]


async def test_an_unknown_path_is_not_found(http: Http) -> None:
    status, answer = await http.get("/api/v1/nowhere")
    assert (status, answer["error"]["code"]) == (404, "not_found")


async def test_a_wrong_method_gets_an_error(http: Http) -> None:
    status, answer = await http.get(PUBLISH)
    assert (status, answer["error"]["code"]) == (405, "bad_message")


@pytest.mark.parametrize("path", [QUERY, BATCH, RPC])
async def test_only_the_secret_key_runs_sql(http: Http, path: str) -> None:
    body = {"sql": "SELECT 1", "queries": [], "method": "db.query", "args": ["SELECT 1"]}
    for key in ("", "wrong", "a.b.c", "\u00e9"):
        status, answer = await http.post(path, body, key)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("key", ["\u00e9\u00ff", "\u20ac"])
async def test_a_key_beyond_ascii_is_refused_like_any_other(http: Http, key: str) -> None:
    for headers in ({"X-Aerostack-Key": key}, {"Authorization": f"Bearer {key}"}):
        status, answer = await http.post(QUERY, {"sql": "SELECT 1"}, "", headers=headers)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")


async def test_a_closed_server_reads_nothing_to_strangers(
    serve: Callable[[str], Awaitable["ServerProcess"]], calls: Callable[["ServerProcess"], Http]
) -> None:
    http = calls(await serve('publishable_keys = ["pk_known_to_the_server"]'))
    for path in (HISTORY, PRESENCE):
        assert (await http.get(path, ""))[0] == 401
        assert (await http.get(path, "", headers={"X-Aerostack-Key": "nope"}))[0] == 401
        assert (await http.get(path))[0] == 200


async def test_health_needs_no_credentials(http: Http) -> None:
    status, body = await http.get("/healthz", "")
    assert (status, sorted(body)) == (200, ["status", "version"])
    status, body = await http.get("/readyz", "")
    assert (status, body["status"]) == (200, "ready")
    assert set(body["parts"].values()) == {"ready"}


async def test_openapi_describes_every_call(http: Http) -> None:
    status, document = await http.get("/openapi.json", "")
    assert (status, document["openapi"][:3]) == (200, "3.1")
    described = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    assert described == {
        ("GET", "/api/v1/public/realtime/history"),
        ("POST", PUBLISH),
        ("POST", "/api/v1/realtime/streams"),
        ("POST", "/api/v1/realtime/streams/append"),
        ("POST", "/api/v1/realtime/streams/finish"),
        ("POST", "/api/v1/realtime/streams/cancel"),
        ("GET", "/api/v1/realtime/presence"),
        ("GET", "/api/v1/realtime/channels"),
        ("GET", "/api/v1/realtime/explain"),
        ("GET", "/api/v1/realtime/nodes"),
        ("GET", "/api/v1/realtime/request"),
        ("POST", "/api/v1/realtime/disconnect"),
        ("POST", "/api/v1/realtime/reload"),
        ("POST", "/api/v1/realtime/revoke"),
        ("POST", QUERY),
        ("POST", BATCH),
        ("POST", RPC),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    }
    names = set(document["components"]["schemas"])
    assert {reference.rpartition("/")[2] for reference in _references(document)} == names


async def test_a_body_that_never_comes_ends_with_408(
    serve: Callable[[str], Awaitable["ServerProcess"]],
) -> None:
    server = await serve("anonymous = true\n[limits]\nhandshake_seconds = 2")
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST {PUBLISH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + "{"
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert b" 408 " in await reader.readline()
    writer.transport.abort()


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(_references, node.values()))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()
