"""Live memberships: a row in the database lets in, and its end puts out, at once."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from tests.flow.calls import Http
from tests.flow.wire import Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

SECRET: Final = "the token secret of these members"
RULES: Final = f"""
token_secret = "{SECRET}"
[[channels]]
topic = "rooms/{{room}}"
members = {{ table = "room_members", room_id = "{{room}}", user_id = "{{user.id}}" }}
"""
TABLE: Final = "CREATE TABLE room_members(room_id INTEGER, user_id TEXT)"
ROOM: Final = "rooms/1/default"


class House:
    """A server with rooms, and users on it."""

    def __init__(self, server: "ServerProcess", http: Http) -> None:
        self.server = server
        self.http = http
        self.wires: list[Wire] = []

    async def user(self, name: str) -> Wire:
        token = jwt.encode({"sub": name, "exp": time.time() + 300}, SECRET, algorithm="HS256")
        wire = await Wire.open(self.server.url, protocols=["aerostack-v1", f"aerostack-token.{token}"])
        self.wires.append(wire)
        await wire.hear("connected")
        return wire

    async def add(self, user: str, room: int = 1) -> None:
        await self.http.sql("INSERT INTO room_members VALUES(?, ?)", room, user)

    async def remove(self, user: str) -> None:
        await self.http.sql("DELETE FROM room_members WHERE user_id = ?", user)

    async def admitted(self, wire: Wire, topic: str = "rooms/1") -> None:
        """Subscribe as soon as the row has arrived."""
        while (answer := await wire.ask("subscribe", topic=topic))["type"] != "subscribed":
            assert answer["code"] in ("forbidden", "unavailable")


@pytest.fixture
async def house(serve: Serve, calls: Calls, shell: Shell) -> AsyncIterator[House]:
    await shell(TABLE)
    server = await serve(RULES)
    found = House(server, calls(server))
    yield found
    for wire in found.wires:
        wire.drop()


async def test_deleting_the_row_evicts_all_connections_of_the_user(
    house: House,
) -> None:
    await house.add("ann")
    await house.add("bob")
    phone, laptop, bob = [await house.user(name) for name in ("ann", "ann", "bob")]
    for wire in (phone, laptop, bob):
        await house.admitted(wire)
        await wire.ask("track", topic="rooms/1", state={})
    await bob.hear("event", event="presence:join", userId="bob")
    await house.remove("ann")
    for wire in (phone, laptop):
        assert (await wire.hear("unsubscribed"))["reason"] == "forbidden"
    assert (await bob.hear("event", event="presence:leave"))["userId"] == "ann"
    await bob.publish("rooms/1", "still here")
    assert (await bob.hear("event", event="message"))["data"] == "still here"
    for wire in (phone, laptop):
        assert [each["type"] for each in await wire.settled()] == []
        for command in ("subscribe", "track", "presence"):
            fields: dict[str, Any] = {"state": {}} if command == "track" else {}
            assert (await wire.ask(command, topic="rooms/1", **fields))["code"] == "forbidden"
        assert (await wire.ask("publish", topic="rooms/1", event="e", data=1))["code"] == "forbidden"
    await house.add("ann")
    await house.admitted(phone)
    await bob.publish("rooms/1", "welcome back")
    assert (await phone.hear("event", event="message"))["data"] == "welcome back"


async def test_a_foreign_writer_puts_out_too(house: House, shell: Shell) -> None:
    await house.add("ann")
    ann = await house.user("ann")
    await house.admitted(ann)
    await shell("DELETE FROM room_members")
    assert (await ann.hear("unsubscribed"))["topic"] == ROOM


async def test_a_bulk_delete_puts_out_everyone_it_concerns_and_nobody_else(house: House) -> None:
    users = [f"u{number}" for number in range(40)]
    for user in users:
        await house.add(user)
    wires = {user: await house.user(user) for user in users}
    for wire in wires.values():
        await house.admitted(wire)
    await house.http.sql("DELETE FROM room_members WHERE CAST(substr(user_id, 2) AS INTEGER) % 2 = 0")
    for number, user in enumerate(users):
        if number % 2 == 0:
            await wires[user].hear("unsubscribed", reason="forbidden")
    await wires["u1"].publish("rooms/1", "odd ones only")
    for number, user in enumerate(users):
        if number % 2:
            assert (await wires[user].hear("event"))["data"] == "odd ones only"
        else:
            assert await wires[user].settled() == []


async def test_rooms_are_not_mixed_up(house: House) -> None:
    for room in (1, 2):
        await house.add("ann", room)
    ann = await house.user("ann")
    for room in (1, 2):
        await house.admitted(ann, f"rooms/{room}")
    await house.http.sql("DELETE FROM room_members WHERE room_id = 2")
    assert (await ann.hear("unsubscribed"))["topic"] == "rooms/2/default"
    await ann.publish("rooms/1", "here")
    assert (await ann.hear("event"))["data"] == "here"


async def test_a_subscribe_that_races_with_the_delete_ends_outside(house: House) -> None:
    """Whichever comes first: a user without a row receives nothing that is published afterwards."""
    await house.add("bob")
    bob, ann = await house.user("bob"), await house.user("ann")
    await house.admitted(bob)
    for number in range(25):
        await house.add("ann")
        await house.admitted(ann)
        for _ in range(3):
            ann.say("unsubscribe", topic="rooms/1")
            ann.say("subscribe", topic="rooms/1", since="x.1" if number % 2 else None)
        await house.remove("ann")
        while (await ann.ask("publish", topic="rooms/1", event="e", data=0))["type"] != "error":
            pass
        await ann.settled()
        await bob.publish("rooms/1", f"after {number}")
        assert await ann.settled() == []


async def test_a_new_token_with_other_claims_stands_by_its_own_row(
    serve: Serve, calls: Calls, shell: Shell
) -> None:
    """A member by one row, and then by another, is evicted by the end of the latter only."""
    await shell("CREATE TABLE badges(desk TEXT, badge TEXT); INSERT INTO badges VALUES('a', 'old'), ('a', 'new')")
    server = await serve(f"""
token_secret = "{SECRET}"
[[channels]]
topic = "desks/{{desk}}"
members = {{ table = "badges", desk = "{{desk}}", badge = "{{user.claims.badge}}" }}
""")
    http = calls(server)

    def token(badge: str) -> str:
        return jwt.encode({"sub": "ann", "exp": time.time() + 300, "badge": badge}, SECRET, algorithm="HS256")

    ann = await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-token.{token('old')}"])
    await ann.subscribe("desks/a")
    ann.say("auth", token=token("new"))
    await ann.hear("authenticated")
    watcher = await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-key.{server.secret_key}"])
    await watcher.subscribe("badges")
    await http.sql("DELETE FROM badges WHERE badge = 'old'")
    await watcher.hear("db_change")
    assert [each["type"] for each in await ann.settled()] == []
    await http.sql("DELETE FROM badges WHERE badge = 'new'")
    assert (await ann.hear("unsubscribed"))["reason"] == "forbidden"
    for wire in (ann, watcher):
        wire.drop()


async def test_a_table_that_takes_the_place_of_the_old_one_counts_from_then_on(house: House, shell: Shell) -> None:
    await house.add("ann")
    await house.add("bob")
    ann, bob = await house.user("ann"), await house.user("bob")
    await house.admitted(ann)
    await house.admitted(bob)
    await shell(
        "CREATE TABLE replacement AS SELECT * FROM room_members WHERE user_id = 'bob'; BEGIN; "
        "DROP TABLE room_members; ALTER TABLE replacement RENAME TO room_members; COMMIT"
    )
    assert (await ann.hear("unsubscribed"))["reason"] == "forbidden"
    while (answer := await ann.ask("subscribe", topic="rooms/1"))["code"] != "forbidden":
        assert answer["code"] == "unavailable"
    await house.admitted(bob)


@pytest.mark.database("sqlite")
async def test_a_restored_database_counts_from_then_on(house: House, shell: Shell, tmp_path: Any) -> None:
    backup = tmp_path / "backup.db"
    await house.add("bob")
    await shell(f".backup {backup}")
    await house.add("ann")
    ann, bob = await house.user("ann"), await house.user("bob")
    await house.admitted(ann)
    await house.admitted(bob)
    await shell(f".restore {backup}")
    assert (await ann.hear("unsubscribed"))["reason"] == "forbidden"
    while (answer := await ann.ask("subscribe", topic="rooms/1"))["code"] != "forbidden":
        assert answer["code"] == "unavailable"
    await house.admitted(bob)


async def test_members_are_known_again_after_a_restart(house: House) -> None:
    await house.add("ann")
    await house.server.kill()
    await house.server.start()
    ann = await house.user("ann")
    assert (await ann.ask("subscribe", topic="rooms/1"))["type"] == "subscribed"
    eve = await house.user("eve")
    assert (await eve.ask("subscribe", topic="rooms/1"))["code"] == "forbidden"
