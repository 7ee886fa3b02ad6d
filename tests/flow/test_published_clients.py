"""The published clients, frame by frame: how each of them connects, which frames it sends, and what it reads.

None of their code is here. Each `Client` below lists what the client puts on the wire; the tests read answers as
the client does: by `type`, `topic`, `event` and `operation`, and without an `id` on most commands.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import pytest
from msgspec import Struct

from tests.flow.calls import Http
from tests.flow.wire import Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]

KEY = "ac_secret_dev"
HISTORY, RPC = "/api/v1/public/realtime/history", "/internal/hooks/rpc"
ERROR_CODES = {
    "AUTH_INVALID_KEY",
    "AUTH_INVALID_CREDENTIALS",
    "DB_QUERY_FAILED",
    "RATE_LIMIT_EXCEEDED",
    "VALIDATION_ERROR",
    "INTERNAL_ERROR",
}
"""The closed list of the published Python client's model."""
SECRET = "a token secret of more than 32 characters"


class Client(Struct, frozen=True):
    """How a published client connects. `topic` is its spelling of a table topic, given the table."""

    query: dict[str, str | None]
    protocols: tuple[str, ...] = ()
    subscribe: dict[str, Any] = {}
    topic: Callable[[str], str] = "table/{}/default".format
    path: str = "/api/realtime"

    async def open(self, server: "ServerProcess") -> Wire:
        wire = await Wire.open(server.url, path=self.path, query=self.query, protocols=self.protocols)
        assert (await wire.next())["type"] == "connected"
        return wire


CORE = Client({"projectId": "default", "userId": "ann"}, (f"aerostack-key.{KEY}", "aerostack-v1"))
WEB = Client({"projectId": ""}, (f"aerostack-key.{KEY}",), topic="table/{}/".format)
NODE = Client({"projectId": "default"}, (f"aerostack-key.{KEY}", "aerostack-v1"), path="//api/realtime")
PYTHON = Client({"projectId": None, "apiKey": ""}, subscribe={"filter": None}, topic="table/{}".format)
GO = Client({"projectId": None, "apiKey": KEY}, subscribe={"filter": {}}, topic="table/{}".format)
FLUTTER = Client({"projectId": None, "apiKey": KEY}, subscribe={"filter": None})
CLIENTS = {"core": CORE, "web": WEB, "node": NODE, "python": PYTHON, "go": GO, "flutter": FLUTTER}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


@pytest.fixture
async def page(node: "ServerProcess") -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(node.url) as session:
        yield session


def token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 60}, SECRET, algorithm="HS256")


# --- the socket ------------------------------------------------------------------------------------------------


async def test_a_client_connects_and_hears_the_rows_of_a_table(
    node: "ServerProcess", http: Http, client: Client, request: pytest.FixtureRequest
) -> None:
    table = f"published_{request.node.callspec.params['client']}"
    await http.sql(f"CREATE TABLE {table}(id INTEGER PRIMARY KEY, status TEXT)")
    wire = await client.open(node)
    written = client.topic(table)
    wire.say("subscribe", topic=written, **client.subscribe)
    subscribed = await wire.next()
    assert (subscribed["type"], subscribed["topic"]) == ("subscribed", f"table/{table}/default")
    assert subscribed["topic"].startswith(written), "the client finds its subscription by this prefix"
    await http.sql(f"INSERT INTO {table} VALUES (1, 'open')")
    await http.sql(f"UPDATE {table} SET status = 'paid'")
    await http.sql(f"DELETE FROM {table}")
    heard = [await wire.next() for _ in range(3)]
    assert [(each["type"], each["operation"], each["topic"]) for each in heard] == [
        ("db_change", operation, subscribed["topic"]) for operation in ("INSERT", "UPDATE", "DELETE")
    ]
    assert heard[0]["data"] == {"id": 1, "status": "open"}
    assert (heard[1]["data"]["status"], heard[1]["old"]["status"]) == ("paid", "open")
    assert heard[2]["data"]["status"] == "paid"
    wire.say("unsubscribe", topic=subscribed["topic"])
    assert (await wire.next())["type"] == "unsubscribed"
    wire.say("ping")
    assert await wire.next() == {"type": "pong"}
    wire.drop()


async def test_custom_events_and_presence_reach_others_and_the_sender(node: "ServerProcess") -> None:
    ann, bob = await CORE.open(node), await PYTHON.open(node)
    for wire in (ann, bob):
        wire.say("subscribe", topic="game/1/default")
        assert (await wire.next())["type"] == "subscribed"
    ann.say("publish", topic="game/1/default", event="moved", data={"x": 1}, id="k1")
    for wire in (ann, bob):
        event = await wire.hear("event", event="moved")
        assert (event["topic"], event["data"], event["userId"]) == ("game/1/default", {"x": 1}, "ann")
    ann.say("track", topic="game/1/default", state={"name": "Ann"})
    joined = await bob.hear("event", event="presence:join")
    assert (joined["data"]["name"], joined["userId"]) == ("Ann", "ann")
    ann.drop()
    assert (await bob.hear("event", event="presence:leave"))["userId"] == "ann"
    bob.drop()


async def test_chat_arrives_as_chat_message_for_connections_that_chat(node: "ServerProcess", dial: Dial) -> None:
    ann, bob, other = await CORE.open(node), await PYTHON.open(node), await dial(node)
    for wire in (ann, bob, other):
        wire.say("subscribe", topic="chat/lobby/default")
        await wire.hear("subscribed")
    bob.say("chat", roomId="lobby", text="hi")
    ann.say("chat", roomId="lobby", text="hello", metadata={"lang": "en"})
    for wire, types in ((bob, ["chat_message"] * 2), (other, ["event"] * 2)):
        heard = [await wire.next() for _ in types]
        assert [each["type"] for each in heard] == types
        assert {each["event"] for each in heard} == {"chat_message"}
        assert {each["data"]["text"] for each in heard} == {"hi", "hello"}
        assert {each["topic"] for each in heard} == {"chat/lobby/default"}
    assert (await ann.hear("chat_message", userId="ann"))["data"] == {
        "roomId": "lobby",
        "text": "hello",
        "userId": "ann",
        "metadata": {"lang": "en"},
    }
    ann.say("subscribe", topic="chat/later/default")
    await ann.hear("subscribed")
    bob.say("chat", roomId="later", text="again")
    assert (await ann.hear("chat_message"))["data"]["text"] == "again", "later subscriptions as well"
    ann.say("publish", topic="chat/later/default", event="message", data=1)
    assert (await ann.hear("event"))["event"] == "message", "other events of the room stay events"
    for wire in (ann, bob):
        wire.drop()


async def test_a_restart_closes_with_a_code_that_reconnects_every_client(
    server: "ServerProcess", client: Client
) -> None:
    wire = await client.open(server)
    ending = asyncio.create_task(server.terminate())
    closed = await wire.ended()
    assert closed.code == 1012, "the published Python client takes 1000 and 1001 for a wanted end"
    wire.drop()
    assert await ending == 0


async def test_another_users_token_makes_a_client_reconnect_as_that_user(serve: Serve) -> None:
    server = await serve(f'token_secret = "{SECRET}"')
    wire = await Wire.open(server.url, protocols=(f"aerostack-token.{token('ann')}", "aerostack-v1"))
    assert (await wire.next())["userId"] == "ann"
    wire.say("auth", token=token("bob"))
    assert (await wire.ended()).code == 4401
    again = await Wire.open(server.url, protocols=(f"aerostack-token.{token('bob')}", "aerostack-v1"))
    assert (await again.next())["userId"] == "bob"
    wire.drop()
    again.drop()


# --- HTTP ------------------------------------------------------------------------------------------------------


async def test_history_has_exactly_the_published_fields(node: "ServerProcess", http: Http) -> None:
    wire = await CORE.open(node)
    for number in range(3):
        wire.say("publish", topic="chat/old/default", event="m", data=number, persist=True, id=f"o{number}")
        await wire.hear("ack")
    status, body = await http.get(HISTORY, room="chat/old/default", limit=5000)
    assert (status, [each["data"] for each in body["messages"]]) == (200, [2, 1, 0])
    assert sorted(body["messages"][0]) == ["created_at", "data", "event", "id", "room_id", "user_id"]
    before = body["messages"][1]["created_at"]
    older = await http.history("chat/old/", limit="1", before=str(before))
    assert [each["data"] for each in older] == [0]
    wire.drop()


async def test_the_server_sdk_reads_the_result_itself(node: "ServerProcess", http: Http) -> None:
    status, body = await http.post(RPC, {"method": "db.query", "args": ["SELECT 1 AS n", []]})
    assert (status, body["results"], body["success"], body["count"], body["meta"]) == (
        200,
        [{"n": 1}],
        True,
        1,
        {},
    )
    assert isinstance(body["cursor"], str)
    assert body["result"]["results"] == [{"n": 1}]
    wire = await PYTHON.open(node)
    wire.say("subscribe", topic="rooms/1")
    await wire.hear("subscribed")
    status, ack = await http.post(RPC, {"method": "socket.emit", "args": ["shipped", {"id": 7}, "rooms/1"]})
    event = await wire.hear("event")
    assert (status, event["event"], event["data"]) == (200, "shipped", {"id": 7})
    assert (ack["cursor"], ack["timestamp"]) == (event["cursor"], event["timestamp"])
    wire.drop()


@pytest.mark.parametrize("args", [["e"], ["e", 1], ["e", 1, None]])
async def test_emit_without_a_room_says_what_is_missing(http: Http, args: list[Any]) -> None:
    status, body = await http.post(RPC, {"method": "socket.emit", "args": args})
    assert (status, body["code"]) == (400, "VALIDATION_ERROR")
    assert "needs a room" in body["message"]


@pytest.mark.parametrize(
    ("call", "status", "code", "ours"),
    [
        (("/v1/db/query", {"sql": "SELEC 1"}, KEY), 400, "DB_QUERY_FAILED", "bad_message"),
        (("/v1/db/batch", {"queries": [{"sql": "SELEC 1"}]}, KEY), 400, "DB_QUERY_FAILED", "bad_message"),
        ((RPC, {"method": "db.query", "args": ["SELEC 1"]}, KEY), 400, "DB_QUERY_FAILED", "bad_message"),
        (("/v1/db/query", {"sql": 7}, KEY), 400, "VALIDATION_ERROR", "bad_message"),
        (("/v1/db/query", {"sql": "SELECT 1"}, "wrong"), 401, "AUTH_INVALID_KEY", "unauthorized"),
        (("/v1/db/query", {"sql": "SELECT 1"}, ""), 401, "AUTH_INVALID_KEY", "unauthorized"),
        (("/v1/db/query", {"sql": "SELECT 1"}, "a.b.c"), 401, "AUTH_INVALID_CREDENTIALS", "unauthorized"),
        (("/v1/cache/get", {}, KEY), 404, "VALIDATION_ERROR", "not_found"),
    ],
)
async def test_an_error_has_the_published_shape_and_ours(
    http: Http, call: tuple[str, Any, str], status: int, code: str, ours: str
) -> None:
    found, body = await http.post(*call)
    assert (found, body["code"], body["error"]["code"]) == (status, code, ours)
    assert body["code"] in ERROR_CODES
    assert body["message"] == body["error"]["message"]


async def test_a_page_may_send_every_header_of_the_published_clients(page: aiohttp.ClientSession) -> None:
    wanted = "authorization,content-type,x-aerostack-key,x-api-key,x-request-id,x-sdk-version,x-project-id,"
    wanted += "x-aerostack-function"
    asked = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": wanted,
    }
    async with page.options("/v1/db/query", headers=asked) as answer:
        allowed = {each.strip().lower() for each in answer.headers["Access-Control-Allow-Headers"].split(",")}
        assert answer.status == 204
        assert allowed >= set(wanted.split(","))


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": KEY}, {"X-Aerostack-Key": KEY}, {"X-Aerostack-Key": "", "X-API-Key": KEY}]
)
async def test_an_api_key_may_come_in_either_header(http: Http, headers: Mapping[str, str]) -> None:
    for path in ("/v1/db/query", "//v1//db/query"):
        status, body = await http.post(path, {"sql": "SELECT 1 AS n"}, "", headers=headers)
        assert (status, body["results"]) == (200, [{"n": 1}])
    status, body = await http.post("/v1/db/query", {"sql": "SELECT 1"}, "", headers={"X-API-Key": "wrong"})
    assert (status, body["code"]) == (401, "AUTH_INVALID_KEY")


async def test_http_calls_for_another_project_are_refused(http: Http) -> None:
    event = {"topic": "a/b", "event": "e"}
    for project, status in (("default", 200), ("", 200), ("other", 403)):
        headers = {"X-Project-Id": project}
        assert (await http.post("/api/v1/realtime/publish", event, headers=headers))[0] == status
