"""Row rules: which rows and columns a user sees in changes, snapshots, replays and errors, and which never."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from tests.flow.calls import Http
from tests.flow.wire import Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]

SECRET: Final = "the token secret of these row rules"
RULES: Final = f"""
token_secret = "{SECRET}"
[[tables]]
name = "orders"
rows = {{ user_id = "user.id" }}
columns = ["id", "user_id", "status"]
[[tables]]
name = "documents"
rows = "row.owner == user.id || row.team in user.claims.teams"
[[tables]]
name = "bids"
rows = "row.amount > 10"
"""
ORDERS: Final = "CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id TEXT, status TEXT, margin DOUBLE PRECISION)"
MARKER: Final = 987654.25
"""The value of the hidden column: it must not be in anything that is sent."""


class Scene:
    """A server with these rules, and users on it."""

    def __init__(self, server: "ServerProcess", http: Http) -> None:
        self.server = server
        self.http = http
        self.wires: list[Wire] = []

    async def user(self, name: str, **claims: Any) -> Wire:
        token = jwt.encode({"sub": name, "exp": time.time() + 300, **claims}, SECRET, algorithm="HS256")
        return await self.connect(f"aerostack-token.{token}")

    async def connect(self, credential: str) -> Wire:
        wire = await Wire.open(self.server.url, protocols=["aerostack-v1", credential])
        self.wires.append(wire)
        await wire.hear("connected")
        return wire

    async def settled(self) -> dict[Wire, list[dict[str, Any]]]:
        """What everyone has heard, once everyone has heard of all changes until now: a server's subscription
        without rules tells when."""
        watcher = await self.connect(f"aerostack-key.{self.server.secret_key}")
        await watcher.subscribe("orders")
        await self.http.sql("INSERT INTO orders VALUES(-1, 'nobody', 'mark', 0)")
        await watcher.hear("db_change", operation="INSERT")
        await self.http.sql("DELETE FROM orders WHERE id = -1")
        await watcher.hear("db_change", operation="DELETE")
        return {wire: await wire.settled() for wire in self.wires if wire is not watcher}


@pytest.fixture
async def scene(serve: Serve, calls: Calls) -> Any:
    server = await serve(RULES)
    found = Scene(server, calls(server))
    await found.http.sql(ORDERS)
    yield found
    for wire in found.wires:
        wire.drop()


def seen(heard: list[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    return [(each["operation"], each["data"], each.get("old")) for each in heard if each["type"] == "db_change"]


def order(id: int, user: str, status: str = "new") -> dict[str, Any]:
    return {"id": id, "user_id": user, "status": status}


async def test_a_user_sees_the_own_rows_only_and_no_hidden_column(scene: Scene) -> None:
    ann, bob = await scene.user("ann"), await scene.user("bob")
    for wire in (ann, bob):
        await wire.subscribe("orders")
    sql = scene.http.sql
    await sql("INSERT INTO orders VALUES(1, 'ann', 'new', ?)", MARKER)
    await sql("UPDATE orders SET margin = margin + 1")
    await sql("UPDATE orders SET status = 'paid'")
    await sql("UPDATE orders SET user_id = 'bob'")
    await sql("UPDATE orders SET status = 'sent'")
    await sql("DELETE FROM orders")
    heard = await scene.settled()
    assert seen(heard[ann]) == [
        ("INSERT", order(1, "ann"), None),
        ("UPDATE", order(1, "ann", "paid"), order(1, "ann")),
        ("DELETE", order(1, "ann", "paid"), order(1, "ann", "paid")),
    ]
    assert seen(heard[bob]) == [
        ("INSERT", order(1, "bob", "paid"), None),
        ("UPDATE", order(1, "bob", "sent"), order(1, "bob", "paid")),
        ("DELETE", order(1, "bob", "sent"), order(1, "bob", "sent")),
    ]
    assert str(MARKER) not in json.dumps([*heard[ann], *heard[bob]])
    assert "margin" not in json.dumps([*heard[ann], *heard[bob]])


async def test_a_snapshot_and_a_replay_show_the_same_view(scene: Scene) -> None:
    sql = scene.http.sql
    bob = await scene.user("bob")
    cursor = (await bob.subscribe("orders"))["cursor"]
    await sql("INSERT INTO orders VALUES(1, 'ann', 'new', ?), (2, 'bob', 'new', ?)", MARKER, MARKER)
    ann = await scene.user("ann")
    await ann.subscribe("orders", snapshot=True)
    snapshot = await ann.hear("snapshot")
    assert snapshot["rows"] == [order(1, "ann")]
    late = await scene.user("bob")
    await late.subscribe("orders", since=cursor)
    heard = await scene.settled()
    assert seen(heard[late]) == [("INSERT", order(2, "bob"), None)]
    assert str(MARKER) not in json.dumps([snapshot, *heard[late], *heard[ann]])


@pytest.mark.parametrize(
    "wanted",
    [
        {"filter": {"margin": MARKER}},
        {"filter": {"margin": {"gt": 0}}},
        {"snapshot": {"order": "margin"}},
        {"snapshot": {"order": "-margin", "limit": 1}},
    ],
)
async def test_a_hidden_column_cannot_be_asked_about(scene: Scene, wanted: dict[str, Any]) -> None:
    """The answer is that of a column that does not exist, and names the visible ones only."""
    ann = await scene.user("ann")
    answer = await ann.ask("subscribe", topic="orders", **wanted)
    nonsense = json.loads(json.dumps(wanted).replace("margin", "nosuch"))
    unknown = await ann.ask("subscribe", topic="orders", **nonsense)
    assert answer["code"] == unknown["code"] == "invalid_filter"
    assert answer["message"].replace("margin", "nosuch") == unknown["message"]


async def test_a_filter_narrows_the_view_and_never_widens_it(scene: Scene) -> None:
    ann = await scene.user("ann")
    await ann.subscribe("orders", filter={"user_id": "bob"})
    await scene.http.sql("INSERT INTO orders VALUES(1, 'ann', 'new', 0), (2, 'bob', 'new', 0)")
    assert seen((await scene.settled())[ann]) == []
    await ann.subscribe("orders", filter={"user_id": {"ne": "nobody"}, "status": "paid"})
    await scene.http.sql("UPDATE orders SET status = 'paid'")
    assert seen((await scene.settled())[ann]) == [("INSERT", order(1, "ann", "paid"), None)]


async def test_an_expression_decides_by_row_and_claims(scene: Scene) -> None:
    await scene.http.sql("CREATE TABLE documents(id INTEGER PRIMARY KEY, owner TEXT, team TEXT)")
    ann, bob = await scene.user("ann", teams=["red"]), await scene.user("bob", teams=["blue"])
    for wire in (ann, bob):
        await wire.subscribe("documents")
    await scene.http.sql("INSERT INTO documents VALUES(1, 'ann', 'blue'), (2, 'eve', 'red'), (3, 'eve', 'green')")
    await scene.http.sql("UPDATE documents SET team = 'green' WHERE id = 1")
    heard = await scene.settled()
    assert [(operation, data["id"]) for operation, data, _ in seen(heard[ann])] == [
        ("INSERT", 1),
        ("INSERT", 2),
        ("UPDATE", 1),
    ]
    assert [(operation, data["id"]) for operation, data, _ in seen(heard[bob])] == [("INSERT", 1), ("DELETE", 1)]
    assert seen(heard[bob])[1][1]["team"] == "blue"


async def test_a_failing_rule_denies_only_its_own_subscriber(scene: Scene) -> None:
    """`row.amount > 10` has no answer where the amount is NULL."""
    await scene.http.sql("CREATE TABLE bids(id INTEGER PRIMARY KEY, amount INTEGER)")
    ann, bob = await scene.user("ann"), await scene.user("bob")
    server = await scene.connect(f"aerostack-key.{scene.server.secret_key}")
    await ann.subscribe("bids")
    await bob.subscribe("orders")
    await server.subscribe("bids")
    await scene.http.sql("INSERT INTO bids VALUES(1, 11)")
    await scene.http.sql("INSERT INTO bids VALUES(2, NULL)")
    await scene.http.sql("INSERT INTO bids VALUES(3, 12)")
    await scene.http.sql("INSERT INTO orders VALUES(1, 'bob', 'new', 0)")
    heard = await scene.settled()
    notices = [each for each in heard[ann] if each["type"] != "db_change"]
    assert [data["id"] for _, data, _ in seen(heard[ann])] == [1]
    assert [(each["type"], each.get("code"), each.get("reason")) for each in notices] == [
        ("error", "forbidden", None),
        ("unsubscribed", None, "forbidden"),
    ]
    assert [data["id"] for _, data, _ in seen(heard[server])] == [1, 2, 3]
    assert len(seen(heard[bob])) == 1
    ann.say("subscribe", topic="bids", snapshot=True)
    assert (await ann.hear("error"))["code"] == "forbidden"
    assert (await ann.hear("unsubscribed"))["reason"] == "forbidden"


async def test_a_claim_that_a_rule_needs_and_the_token_lacks_denies(scene: Scene) -> None:
    await scene.http.sql("CREATE TABLE documents(id INTEGER PRIMARY KEY, owner TEXT, team TEXT)")
    ann = await scene.user("ann")
    await ann.subscribe("documents")
    await scene.http.sql("INSERT INTO documents VALUES(1, 'ann', NULL)")
    await scene.http.sql("INSERT INTO documents VALUES(2, 'eve', 'red')")
    heard = (await scene.settled())[ann]
    assert [data["id"] for _, data, _ in seen(heard)] == [1]
    assert heard[-1]["type"] == "unsubscribed"


async def test_a_new_token_with_other_claims_ends_what_it_gives_no_right_to(scene: Scene) -> None:
    await scene.http.sql("CREATE TABLE documents(id INTEGER PRIMARY KEY, owner TEXT, team TEXT)")
    ann = await scene.user("ann", teams=["red"])
    await ann.subscribe("documents")
    await ann.subscribe("orders")
    token = jwt.encode({"sub": "ann", "exp": time.time() + 300, "teams": []}, SECRET, algorithm="HS256")
    ann.say("auth", token=token)
    heard = await ann.settled()
    assert [each["type"] for each in heard] == ["authenticated", "unsubscribed"]
    assert (heard[1]["topic"], heard[1]["reason"]) == ("table/documents/default", "forbidden")
