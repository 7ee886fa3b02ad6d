"""What explanations hold beside their sentences, which test_causes.py checks: facts, settings, and secrets."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from aerostack_realtime import Aerostack, Explanation
from tests.flow.calls import Http
from tests.flow.command import aerostack
from tests.flow.scene import ORDERS, RULES
from tests.flow.scene import Scene as Users

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
{RULES}
[[logs]]
pattern = "open/short"
max_count = 2
[[tables]]
name = "bids"
rows = "row.amount > 10 && row.secret < 5"
columns = ["id", "amount"]
"""


class Scene(Users):
    """The same, and questions to the server."""

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
    made = Scene(server, calls(server), SECRET)
    yield made
    made.close()


# --- rights ------------------------------------------------------------------------------------------------


@pytest.mark.database("sqlite")
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


# --- events ------------------------------------------------------------------------------------------------


@pytest.mark.database("sqlite")
async def test_a_refused_subscription_names_the_rule(scene: Scene) -> None:
    ann = await scene.user("ann", level=9, staff=False)
    assert (await ann.ask("subscribe", topic="chat/1"))["type"] == "error"
    await scene.send("chat/1", "e1")
    answer = await scene.explain(topic="chat/1", user="ann", event="e1")
    assert answer["code"] == "refused"
    assert "user.claims.staff is false" in answer["verdict"]
    assert answer["setting"]["name"] == "subscribe"


@pytest.mark.database("sqlite")
async def test_a_refused_publish_is_explained_to_whoever_waits(scene: Scene) -> None:
    bob = await scene.user("bob")
    assert (await bob.ask("publish", topic="chat/1", event="m", data=1, id="e1"))["type"] == "error"
    answer = await scene.explain(topic="chat/1", user="ann", event="e1")
    assert answer["code"] == "publish_refused"
    assert "user.id == 'ann' is false" in answer["findings"][-1]["sentence"]
    assert answer["setting"]["name"] == "publish"


@pytest.mark.database("sqlite")
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


@pytest.mark.database("sqlite")
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


@pytest.mark.database("sqlite")
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


# --- connections -------------------------------------------------------------------------------------------


@pytest.mark.database("sqlite")
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


@pytest.mark.database("sqlite")
async def test_only_the_secret_key_may_ask(scene: Scene) -> None:
    token = jwt.encode({"sub": "ann", "exp": time.time() + 300}, SECRET, algorithm="HS256")
    status, _ = await scene.http.get("/api/v1/realtime/explain", key=token, topic="open/1", user="ann")
    assert status == 403


# --- refused connections, limits, slow clients, gaps -------------------------------------------------------


@pytest.mark.database("sqlite")
async def test_a_publish_by_http_that_a_rule_refuses(scene: Scene) -> None:
    token = jwt.encode({"sub": "bob", "exp": time.time() + 300}, SECRET, algorithm="HS256")
    body = {"topic": "chat/1", "event": "m", "data": 1, "id": "e1"}
    status, _ = await scene.http.post("/api/v1/realtime/publish", body, key=token)
    assert status == 403
    assert await scene.code(topic="chat/1", user="ann", event="e1") == "publish_refused"


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


@pytest.mark.database("sqlite")
async def test_a_gap_by_what_the_log_keeps_and_by_a_cursor_of_another_journal(scene: Scene) -> None:
    ann = await scene.user("ann")
    cursor = (await ann.subscribe("open/short"))["cursor"]
    await ann.close()
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


@pytest.mark.database("sqlite")
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


# --- the command line and the SDK --------------------------------------------------------------------------


@pytest.mark.database("sqlite")
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


@pytest.mark.database("sqlite")
async def test_the_sdk_explains(scene: Scene) -> None:
    async with Aerostack(scene.server.url, api_key=scene.server.secret_key) as sdk:
        ack = await sdk.socket.emit("message", 1, "open/1")
        found = await sdk.explain("open/1", user_id="ann", event=ack.id)
    assert isinstance(found, Explanation)
    assert found.code == "not_connected"
