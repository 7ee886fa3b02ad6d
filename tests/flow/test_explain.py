"""Explain: the causes of docs/guides/explain.md, each with the sentence it gets."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from aerostack_realtime import Aerostack, Explanation, Payload
from aerostack_realtime.gateway.websocket.protocol import STALLED_BYTES
from tests.flow.calls import Http
from tests.flow.command import aerostack
from tests.flow.wire import PATIENCE_SECONDS, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]

SECRET: Final = "the token secret of these explanations"
SETTINGS: Final = f"""
token_secret = "{SECRET}"
[[channels]]
topic = "chat/{{room}}"
subscribe = "user.claims.level > 1 && user.claims.staff"
publish = "user.id == 'ann'"
history = "authenticated"
presence = "authenticated"
[[channels]]
topic = "rooms/{{room}}"
subscribe = "authenticated"
publish = "authenticated"
members = {{ table = "members", room = "{{room}}", person = "{{user.id}}" }}
[[channels]]
topic = "open/**"
subscribe = "authenticated"
publish = "authenticated"
presence = "authenticated"
history = "authenticated"
[[logs]]
pattern = "open/short"
max_count = 2
[[tables]]
name = "orders"
rows = {{ owner = "user.id" }}
columns = ["id", "owner", "status"]
[[tables]]
name = "bids"
rows = "row.amount > 10 && row.secret < 5"
columns = ["id", "amount"]
"""
ORDERS: Final = "CREATE TABLE orders(id INTEGER PRIMARY KEY, owner TEXT, status TEXT, margin INTEGER)"


class Scene:
    """A server with these rules, and users on it."""

    def __init__(self, server: "ServerProcess", http: Http) -> None:
        self.server = server
        self.http = http
        self.wires: list[Wire] = []

    async def user(self, name: str, **claims: Any) -> Wire:
        now = time.time()
        payload = {"sub": name, "iat": now - 10, "exp": now + 300, **claims}
        wire = await Wire.open(
            self.server.url,
            protocols=["aerostack-v1", f"aerostack-token.{jwt.encode(payload, SECRET, algorithm='HS256')}"],
        )
        self.wires.append(wire)
        wire.connected = await wire.hear("connected")
        return wire

    async def refused(self, name: str, query: dict[str, str] | None = None, **claims: Any) -> None:
        """Connect as a user who is refused."""
        token = jwt.encode({"sub": name, **claims}, SECRET, algorithm="HS256")
        protocols = ["aerostack-v1", f"aerostack-token.{token}"]
        wire = await Wire.open(self.server.url, query=query or {}, protocols=protocols)
        self.wires.append(wire)
        assert (await wire.next())["type"] == "error"

    async def send(self, topic: str, id: str, data: Any = None, **fields: Any) -> None:
        body = {"topic": topic, "event": "message", "data": data, "id": id, **fields}
        status, answer = await self.http.post("/api/v1/realtime/publish", body)
        assert status == 200, answer

    async def sql(self, statement: str) -> None:
        status, answer = await self.http.post("/v1/db/query", {"sql": statement})
        assert status == 200, answer

    async def explain(self, **question: Any) -> dict[str, Any]:
        status, answer = await self.http.get("/api/v1/realtime/explain", **question)
        assert status == 200, answer
        return answer  # type: ignore[no-any-return]

    async def code(self, **question: Any) -> str:
        return str((await self.explain(**question))["code"])


@pytest.fixture
async def scene(serve: Serve, calls: Calls, shell: Callable[[str], Awaitable[str]]) -> AsyncIterator[Scene]:
    await shell("CREATE TABLE members(room TEXT, person TEXT); INSERT INTO members VALUES ('7', 'ann')")
    server = await serve(SETTINGS)
    made = Scene(server, calls(server))
    yield made
    for wire in made.wires:
        wire.drop()


# --- rights ------------------------------------------------------------------------------------------------


async def test_a_right_is_explained_by_the_false_operand_and_its_values(scene: Scene) -> None:
    await scene.user("ann", level=1, staff=True)
    answer = await scene.explain(topic="chat/1", user="ann", access="subscribe")
    assert answer["code"] == "denied"
    assert "user.claims.level > 1 is false" in answer["verdict"]
    rule = next(each for each in answer["findings"] if each["code"] == "rule")
    assert rule["facts"]["false"] == "user.claims.level > 1"
    assert rule["facts"]["values"] == {"user.claims.level": 1}
    assert answer["setting"]["line"] == 'subscribe = "user.claims.level > 1 && user.claims.staff"'
    assert (answer["setting"]["section"], answer["setting"]["number"]) == ("channels", 1)


async def test_a_missing_membership_is_named(scene: Scene) -> None:
    await scene.user("ann")
    answer = await scene.explain(topic="rooms/8", user="ann", access="subscribe")
    assert answer["code"] == "denied"
    assert "room = '8'" in answer["verdict"]


# --- events ------------------------------------------------------------------------------------------------


async def test_an_event_that_was_sent_is_said_to_be_sent(scene: Scene) -> None:
    ann = await scene.user("ann")
    await ann.subscribe("open/1")
    await scene.send("open/1", "e1")
    await ann.hear("event")
    assert await scene.code(topic="open/1", user="ann", event="e1") == "sent"


async def test_a_user_who_was_not_connected(scene: Scene) -> None:
    await scene.send("open/1", "e1")
    assert await scene.code(topic="open/1", user="ann", event="e1") == "not_connected"
    await scene.user("ann")
    assert await scene.code(topic="open/1", user="ann", event="e1") == "not_connected"


async def test_a_user_who_subscribed_to_another_spelling(scene: Scene) -> None:
    ann = await scene.user("ann")
    await ann.subscribe("open/lobbi")
    await scene.send("open/lobby", "e1")
    answer = await scene.explain(topic="open/lobby", user="ann", event="e1")
    assert answer["code"] == "wrong_topic"
    assert "open/lobbi" in answer["verdict"]
    assert await scene.code(topic="open/lobbi", user="ann", event="e1") == "wrong_topic"


async def test_a_client_that_names_another_project(scene: Scene) -> None:
    ann = await scene.user("ann")
    await ann.subscribe("open/1/shop")
    await scene.send("open/1", "e1")
    assert await scene.code(topic="open/1", user="ann", event="e1") == "other_project"


async def test_a_user_who_subscribed_later_or_not_at_all(scene: Scene) -> None:
    ann, bob = await scene.user("ann"), await scene.user("bob")
    await scene.send("open/1", "e1")
    await ann.subscribe("open/1")
    assert await scene.code(topic="open/1", user="ann", event="e1") == "subscribed_later"
    assert await scene.code(topic="open/1", user="bob", event="e1") == "not_subscribed"
    await bob.subscribe("open/1")
    await bob.ask("unsubscribe", topic="open/1")
    await scene.send("open/1", "e2")
    assert await scene.code(topic="open/1", user="bob", event="e2") == "unsubscribed"


async def test_a_refused_subscription_names_the_rule(scene: Scene) -> None:
    ann = await scene.user("ann", level=9, staff=False)
    assert (await ann.ask("subscribe", topic="chat/1"))["type"] == "error"
    await scene.send("chat/1", "e1")
    answer = await scene.explain(topic="chat/1", user="ann", event="e1")
    assert answer["code"] == "refused"
    assert "user.claims.staff is false" in answer["verdict"]
    assert answer["setting"]["name"] == "subscribe"


async def test_echo_and_presence_that_are_off(scene: Scene) -> None:
    ann = await scene.user("ann")
    await ann.subscribe("open/1", presence=False)
    await ann.publish("open/1", 1, id="e1", echo=False)
    assert await scene.code(topic="open/1", user="ann", event="e1") == "echo_off"
    bob = await scene.user("bob")
    await bob.subscribe("open/1")
    await bob.ask("track", topic="open/1", state={})
    joined = await bob.hear("event")
    assert await scene.code(topic="open/1", user="ann", event=joined["id"]) == "presence_off"


async def test_a_refused_publish_is_explained_to_whoever_waits(scene: Scene) -> None:
    bob = await scene.user("bob")
    assert (await bob.ask("publish", topic="chat/1", event="m", data=1, id="e1"))["type"] == "error"
    answer = await scene.explain(topic="chat/1", user="ann", event="e1")
    assert answer["code"] == "publish_refused"
    assert "user.id == 'ann' is false" in answer["findings"][-1]["sentence"]
    assert answer["setting"]["name"] == "publish"


async def test_an_event_that_a_client_resumed_to(scene: Scene) -> None:
    ann = await scene.user("ann")
    cursor = (await ann.subscribe("open/1"))["cursor"]
    ann.drop()
    await scene.send("open/1", "e1")
    again = await scene.user("ann")
    await again.subscribe("open/1", since=cursor)
    assert await scene.code(topic="open/1", user="ann", event="e1") == "resumed_later"


async def test_an_unknown_event_is_not_guessed(scene: Scene) -> None:
    assert await scene.code(topic="open/1", user="ann", event="nothing") == "not_recorded"


async def test_a_deleted_membership_evicts(scene: Scene) -> None:
    ann = await scene.user("ann")
    await ann.subscribe("rooms/7")
    await scene.sql("DELETE FROM members")
    await ann.hear("unsubscribed")
    await scene.send("rooms/7", "e1")
    answer = await scene.explain(topic="rooms/7", user="ann", event="e1")
    assert answer["code"] == "evicted"
    assert "members" in answer["verdict"]
    assert answer["setting"]["name"] == "members"


# --- rows --------------------------------------------------------------------------------------------------


async def test_rows_that_a_filter_a_rule_or_hidden_columns_keep_back(scene: Scene) -> None:
    await scene.sql(ORDERS)
    ann = await scene.user("ann")
    await ann.subscribe("orders", filter={"status": "paid"})
    await scene.sql(
        "INSERT INTO orders VALUES (1, 'ann', 'new', 70), (2, 'bob', 'paid', 71), (3, 'ann', 'paid', 72)"
    )
    await ann.hear("db_change")
    answer = await scene.explain(topic="orders", user="ann", row="1")
    assert (answer["code"], "status" in answer["verdict"]) == ("filter", True)
    answer = await scene.explain(topic="orders", user="ann", row="2")
    assert answer["code"] == "row_rule"
    assert answer["setting"]["name"] == "rows"
    assert await scene.code(topic="orders", user="ann", row="3") == "row_sent"
    await scene.sql("UPDATE orders SET margin = 987654 WHERE id = 3")
    await scene.sql("INSERT INTO orders VALUES (4, 'ann', 'paid', 0)")
    await ann.hear("db_change")
    answer = await scene.explain(topic="orders", user="ann", row="3")
    assert answer["code"] == "hidden_columns"
    assert "margin" in answer["verdict"]
    assert "987654" not in str(answer)


async def test_the_operand_of_a_row_rule_hides_hidden_columns(scene: Scene) -> None:
    await scene.sql("CREATE TABLE bids(id INTEGER PRIMARY KEY, amount INTEGER, secret INTEGER)")
    ann = await scene.user("ann")
    await ann.subscribe("bids")
    await scene.sql("INSERT INTO bids VALUES (1, 5, 1), (2, 20, 987654), (3, 20, 1)")
    await ann.hear("db_change")
    answer = await scene.explain(topic="bids", user="ann", row="1")
    assert "row.amount > 10 is false, where row.amount = 5" in answer["verdict"]
    answer = await scene.explain(topic="bids", user="ann", row="2")
    assert "row.secret < 5 is false" in answer["verdict"]
    assert "987654" not in str(answer)


async def test_a_filter_on_a_column_of_another_type(scene: Scene) -> None:
    await scene.sql(ORDERS)
    ann = await scene.user("ann")
    await ann.subscribe("orders", filter={"id": "1"})
    await scene.sql("INSERT INTO orders VALUES (1, 'ann', 'new', 0)")
    bob = await scene.user("bob")
    await bob.subscribe("orders")
    await scene.sql("INSERT INTO orders VALUES (9, 'bob', 'new', 0)")
    await bob.hear("db_change")
    assert await scene.code(topic="orders", user="ann", row="1") == "filter_type"


async def test_a_table_that_is_not_watched(scene: Scene) -> None:
    await scene.sql(ORDERS)
    assert await scene.code(topic="orders", user="ann", row="1") == "table_not_watched"


# --- connections -------------------------------------------------------------------------------------------


async def test_the_end_of_a_connection(scene: Scene) -> None:
    ann = await scene.user("ann")
    id = ann.connected["connectionId"]
    assert await scene.code(connection=id) == "open"
    await scene.http.post("/api/v1/realtime/revoke", {"userId": "ann"})
    assert (await ann.ended()).code == 4403
    answer = await scene.explain(connection=id)
    assert answer["code"] == "closed"
    assert "4403" in answer["verdict"]
    assert await scene.code(connection="unknown") == "not_recorded"


async def test_only_the_secret_key_may_ask(scene: Scene) -> None:
    token = jwt.encode({"sub": "ann", "exp": time.time() + 300}, SECRET, algorithm="HS256")
    status, _ = await scene.http.get("/api/v1/realtime/explain", key=token, topic="open/1", user="ann")
    assert status == 403


# --- refused connections, limits, slow clients, gaps -------------------------------------------------------


async def test_a_connection_that_was_refused(scene: Scene) -> None:
    await scene.send("open/1", "e1")
    await scene.refused("ann", exp=time.time() - 300)
    answer = await scene.explain(topic="open/1", user="ann", event="e1")
    assert answer["code"] == "connection_refused"
    assert "expired" in answer["verdict"]
    await scene.refused("bob", {"projectId": "shop"}, exp=time.time() + 300)
    answer = await scene.explain(topic="open/1", user="bob", event="e1")
    assert "holds no project 'shop'" in answer["verdict"]


async def test_a_revoked_user_and_a_token_of_another_user(scene: Scene) -> None:
    ann, bob = await scene.user("ann"), await scene.user("bob")
    await ann.subscribe("open/1")
    await scene.http.post("/api/v1/realtime/revoke", {"userId": "ann"})
    assert (await ann.ended()).code == 4403
    await scene.send("open/1", "e1")
    answer = await scene.explain(topic="open/1", user="ann", event="e1")
    assert answer["code"] == "closed"
    assert "disconnected by the admin" in answer["verdict"]
    token = jwt.encode({"sub": "eve", "exp": time.time() + 300}, SECRET, algorithm="HS256")
    bob.say("auth", token=token)
    assert (await bob.ended()).code == 4401
    answer = await scene.explain(connection=bob.connected["connectionId"])
    assert "another user's token" in answer["verdict"]


async def test_a_publish_by_http_that_a_rule_refuses(scene: Scene) -> None:
    token = jwt.encode({"sub": "bob", "exp": time.time() + 300}, SECRET, algorithm="HS256")
    body = {"topic": "chat/1", "event": "m", "data": 1, "id": "e1"}
    status, _ = await scene.http.post("/api/v1/realtime/publish", body, key=token)
    assert status == 403
    assert await scene.code(topic="chat/1", user="ann", event="e1") == "publish_refused"


async def test_a_publish_beyond_a_limit(serve: Serve, calls: Calls) -> None:
    limits = "[limits]\nmessages_per_second = 1\nmessages_burst = 3\nframe_bytes = 1024\n"
    server = await serve(f'token_secret = "{SECRET}"\n{limits}')
    made = Scene(server, calls(server))
    ann = await made.user("ann")
    large = await ann.ask("publish", topic="open/1", event="m", data="x" * 2000, id="large")
    assert large["code"] == "too_large"
    for _ in range(3):
        answer = await ann.ask("publish", topic="open/1", event="m", data=1, id="fast")
    assert answer["code"] == "rate_limited"
    assert "for its size" in (await made.explain(topic="open/1", user="bob", event="large"))["verdict"]
    ann.drop()


async def test_a_restart_is_a_gap(scene: Scene) -> None:
    ann = await scene.user("ann")
    await ann.subscribe("open/1")
    await scene.send("open/1", "e0", persist=True)
    cursor = stored = (await ann.hear("event", id="e0"))["cursor"]
    ann.drop()
    await scene.send("open/1", "e1")
    await scene.server.kill()
    await scene.server.start()
    again = await scene.user("ann")
    assert (await again.subscribe("open/1", since=cursor))["recovered"] is False
    answer = await scene.explain(topic="open/1", user="ann", event="e1")
    assert answer["code"] == "gap"
    assert "no longer recorded" in answer["verdict"]
    bob = await scene.user("bob")
    await bob.subscribe("open/1", since=stored)
    await bob.settled()
    answer = await scene.explain(topic="open/1", user="bob", event="e0")
    assert answer["code"] == "had_before"


async def test_a_gap_by_what_the_log_keeps_and_by_a_cursor_of_another_journal(scene: Scene) -> None:
    ann = await scene.user("ann")
    cursor = (await ann.subscribe("open/short"))["cursor"]
    ann.drop()
    for number in range(5):
        await scene.send("open/short", f"e{number}")
    again, bob = await scene.user("ann"), await scene.user("bob")
    assert (await again.subscribe("open/short", since=cursor))["recovered"] is False
    for event in ("e0", "e4"):
        answer = await scene.explain(topic="open/short", user="ann", event=event)
        assert answer["code"] == "gap"
        assert "log" in [finding["facts"].get("cause") for finding in answer["findings"]]
        assert "what [[logs]] keeps begins later" in answer["verdict"]
    await bob.subscribe("open/short", since="another.1")
    answer = await scene.explain(topic="open/short", user="bob", event="e4")
    assert answer["code"] == "gap"
    assert "restored backup" in answer["verdict"]


async def test_a_client_that_does_not_read_what_waits_for_it(scene: Scene) -> None:
    ann, bob = await scene.user("ann"), await scene.user("bob")
    await ann.subscribe("open/waiting")
    await bob.subscribe("open/short")
    text = "x" * 60_000
    newest = await _sent_until(scene, "open/waiting", "ann", text, "waiting")
    id = ann.connected["connectionId"]
    while (await scene.explain(connection=id))["findings"][-1]["facts"]["waiting"] < STALLED_BYTES * 2:
        newest = os.urandom(8).hex()
        await scene.send("open/waiting", newest, text)
    ann.drop()
    while (answer := await scene.explain(connection=id))["code"] == "open":
        pass
    assert answer["findings"][-1]["facts"]["waiting"] > 0
    answer = await scene.explain(topic="open/waiting", user="ann", event=newest)
    assert answer["code"] == "unread"
    assert "it may not have arrived" in answer["verdict"]
    number, id = 0, bob.connected["connectionId"]
    while (answer := await scene.explain(connection=id))["code"] == "open":
        number += 1
        await scene.send("open/short", f"e{number}", text)
    assert "read too slowly" in answer["verdict"]
    # The last event may have come after the end.
    codes = [await scene.code(topic="open/short", user="bob", event=f"e{each}") for each in (number - 1, number)]
    assert "closed_slow" in codes


async def _sent_until(scene: Scene, topic: str, user: str, data: str, code: str) -> str:
    """Publish until an event has this outcome, which it has once the network is full; returns its id."""
    found = ""
    for number in range(1_000):
        await scene.send(topic, f"e{number}", data)
        for event in (f"e{number}", f"e{max(0, number - 1)}"):  # what ends a connection may come after the answer
            found = await scene.code(topic=topic, user=user, event=event)
            if found == code:
                return event
    raise AssertionError(f"It is still {found}.")


async def test_a_slow_client_that_drops_or_joins_events(scene: Scene) -> None:
    ann, bob = await scene.user("ann"), await scene.user("bob")
    await ann.subscribe("open/drop", slow="drop")
    await bob.subscribe("open/latest", slow="latest")
    text = "x" * 60_000
    for number in range(300):
        await scene.send("open/drop", f"e{number}", text)
        await scene.send("open/latest", f"e{number}", text)
    answer = await scene.explain(topic="open/drop", user="ann", event="e290")
    assert answer["code"] == "dropped"
    assert "policy is drop" in answer["verdict"]
    assert await scene.code(topic="open/latest", user="bob", event="e290") == "conflated"


async def test_a_row_that_an_update_moves_out_of_a_view(scene: Scene) -> None:
    await scene.sql(ORDERS)
    await scene.sql("INSERT INTO orders VALUES (1, 'ann', 'new', 0)")
    ann = await scene.user("ann")
    await ann.subscribe("orders")
    await scene.sql("UPDATE orders SET owner = 'bob' WHERE id = 1")
    assert (await ann.hear("db_change"))["operation"] == "DELETE"
    answer = await scene.explain(topic="orders", user="ann", row="1")
    assert answer["code"] == "row_sent"
    assert "as DELETE: it moved the row out of the view" in answer["verdict"]


@pytest.mark.database("postgres")
async def test_a_replica_writes_as_others_do_and_truncate_interrupts_the_log(
    scene: Scene, shell: Callable[[str], Awaitable[str]]
) -> None:
    await scene.sql(ORDERS)
    ann = await scene.user("ann")
    await ann.subscribe("orders")
    await shell("SET session_replication_role = replica; INSERT INTO orders VALUES (1, 'ann', 'new', 0)")
    await ann.hear("db_change")
    assert await scene.code(topic="orders", user="ann", row="1") == "row_sent"
    await scene.sql("TRUNCATE orders")
    await ann.hear("subscribed")
    answer = await scene.explain(topic="orders", user="ann", row="1")
    assert answer["code"] == "interrupted"
    assert "TRUNCATE" in answer["verdict"]


# --- the command line and the SDK --------------------------------------------------------------------------


async def test_the_command_prints_the_verdict_and_the_line_of_the_settings(scene: Scene) -> None:
    assert scene.server.config is not None
    await scene.user("ann", level=1, staff=True)
    ran = await aerostack(
        *("explain", "chat/1", "--user", "ann", "--access", "subscribe", "--url", scene.server.url),
        *("--key", scene.server.secret_key, "--config", str(scene.server.config)),
    )
    assert ran.code == 0, ran.err
    assert "user.claims.level > 1 is false" in ran.out
    assert "aerostack.toml, line" in ran.out
    assert 'subscribe = "user.claims.level > 1 && user.claims.staff"' in ran.out


async def test_a_handler_that_failed_is_looked_for_at_the_client(scene: Scene) -> None:
    handled = asyncio.Event()

    def fail(_: Payload) -> None:
        handled.set()
        raise RuntimeError("the app's own")

    token = jwt.encode({"sub": "ann", "exp": time.time() + 300}, SECRET, algorithm="HS256")
    async with Aerostack(scene.server.url, token=token) as sdk:
        channel = sdk.realtime.channel("open/1")
        channel.on("message", fail)
        await channel.subscribe()
        await scene.send("open/1", "e1")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await handled.wait()
        answer = await scene.explain(topic="open/1", user="ann", event="e1")
    assert answer["code"] == "sent"
    assert "look in the client's handler" in answer["verdict"]


async def test_the_sdk_explains(scene: Scene) -> None:
    async with Aerostack(scene.server.url, api_key=scene.server.secret_key) as sdk:
        ack = await sdk.socket.emit("message", 1, "open/1")
        found = await sdk.explain("open/1", user_id="ann", event=ack.id)
    assert isinstance(found, Explanation)
    assert found.code == "not_connected"
