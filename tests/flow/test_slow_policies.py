"""What happens to a client that does not read, by the policy of its subscription (docs/protocol.md §5)."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import Http
from tests.flow.test_bad_input import resident
from tests.flow.test_slow_subscriber import DATA, SETTINGS
from tests.flow.wire import Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
MANY = 300


async def heard_until(wire: Wire, last: Any) -> list[dict[str, Any]]:
    """What a client that reads again is sent, up to the event of that data."""
    heard = [await wire.next()]
    while heard[-1].get("data") != last:
        heard.append(await wire.next())
    return heard


async def test_latest_brings_the_newest_of_each_key_and_keeps_the_connection(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    slow, speaker = await dial(server), await dial(server)
    await slow.subscribe("slow/latest", slow="latest", key="id")
    before = resident(server)
    for number in range(MANY):
        await speaker.publish("slow/latest", {"id": number % 3, "n": number, "text": DATA}, "moved")
    assert resident(server) - before < 32 << 20
    heard = await heard_until(slow, {"id": (MANY - 1) % 3, "n": MANY - 1, "text": DATA})
    await speaker.publish("slow/latest", "after")
    assert (await slow.hear("event"))["data"] == "after"
    numbers = [each["data"]["n"] for each in heard]
    assert numbers == sorted(set(numbers))
    assert numbers[-3:] == [MANY - 3, MANY - 2, MANY - 1]
    assert len(numbers) < MANY / 2


async def test_drop_reports_how_many_events_are_missing_and_continues(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    slow, speaker = await dial(server), await dial(server)
    await slow.subscribe("slow/drop", slow="drop")
    for number in range(MANY):
        cursor = (await speaker.publish("slow/drop", [number, DATA]))["cursor"]
    heard = [await slow.next()]
    while heard[-1].get("cursor") != cursor:
        heard.append(await slow.next())
    await speaker.publish("slow/drop", "after")
    assert (await slow.hear("event"))["data"] == "after"
    expected = dropped = 0
    for each in heard:
        if each["type"] == "event":
            assert each["data"][0] == expected
            expected += 1
        else:
            assert (each["topic"], each["recovered"], "id" in each) == ("slow/drop/default", False, False)
            expected += each["dropped"]
            dropped += each["dropped"]
    assert expected == MANY
    assert dropped > MANY / 2


async def test_a_slow_client_resumes_from_its_cursor(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    slow, speaker = await dial(server), await dial(server)
    await slow.subscribe("slow/back", slow="drop")
    for number in range(MANY):
        await speaker.publish("slow/back", [number, DATA])
    for number in range(12):
        await speaker.publish("slow/back", number)
    first = await slow.hear("event")
    slow.drop()
    back = await dial(server)
    assert (await back.subscribe("slow/back", since=first["cursor"]))["recovered"] is False
    assert [each["data"] for each in await heard_until(back, 11)][-12:] == list(range(12))


@pytest.mark.database("sqlite", "postgres")
async def test_latest_leaves_the_rows_of_a_table_right(serve: Serve, dial: Dial, calls: Calls) -> None:
    server = await serve('anonymous = true\n[[tables]]\nname = "boards"\nsubscribe = "anyone"')
    http = calls(server)
    await http.sql("CREATE TABLE boards(id INTEGER PRIMARY KEY, n INTEGER, text TEXT)")
    await http.sql("INSERT INTO boards VALUES (1, 0, ''), (2, 0, ''), (3, 0, ''), (4, 0, ''), (5, 0, '')")
    slow = await dial(server)
    await slow.subscribe("boards", snapshot=True, slow="latest", key="id")
    rows = {row["id"]: row for row in (await slow.hear("snapshot"))["rows"]}
    for number in range(1, MANY + 1):
        key = number % 5 + 1
        await http.sql("UPDATE boards SET n = ?, text = ? WHERE id = ?", number, DATA, key)
        if number % 10 == 0:
            await http.sql("DELETE FROM boards WHERE id = ?", key)
            await http.sql("INSERT INTO boards VALUES (?, ?, 'new')", key, number)
            await http.sql("INSERT INTO boards VALUES (?, 0, 'short')", number + 100)
            await http.sql("DELETE FROM boards WHERE id = ?", number + 100)
        if number % 50 == 0:
            await http.sql("UPDATE boards SET id = ? WHERE id = 3", number + 1000)
            await http.sql("INSERT INTO boards VALUES (3, ?, 'again')", number)
    await http.sql("INSERT INTO boards VALUES (9999, 0, 'end')")
    changes = await heard_until(slow, {"id": 9999, "n": 0, "text": "end"})
    for change in changes:
        if "old" in change:
            assert rows.pop(change["old"]["id"]) == change["old"]
        if change["operation"] != "DELETE":
            rows[change["data"]["id"]] = change["data"]
    assert sorted(rows.values(), key=lambda row: row["id"]) == await http.sql("SELECT * FROM boards ORDER BY id")
    assert len(changes) < MANY / 2


async def test_members_are_right_for_who_dropped_events(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    slow, speaker, member = [await dial(server) for _ in range(3)]
    await member.ask("track", topic="slow/members", state={"userId": "ann", "n": 0})
    await slow.subscribe("slow/members", slow="drop")
    for number in range(MANY):
        await speaker.publish("slow/members", [number, DATA])
        await member.ask("track", topic="slow/members", state={"userId": "ann", "n": number})
    await speaker.ask("track", topic="slow/members", state={"userId": "bob"})
    await member.ask("untrack", topic="slow/members")
    members = {"ann"}
    while members != {"bob"}:
        heard = await slow.next()
        if heard["type"] == "event" and heard["event"].startswith("presence:"):
            (members.discard if heard["event"] == "presence:leave" else members.add)(heard["userId"])
    answered = (await slow.ask("presence", topic="slow/members"))["members"]
    assert [each["userId"] for each in answered] == ["bob"]
    assert not [each for each in await slow.settled() if each["type"] == "event"]


async def test_another_subscription_of_the_connection_keeps_its_own_policy(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    slow, speaker = await dial(server), await dial(server)
    await slow.subscribe("slow/one", slow="latest")
    await slow.subscribe("slow/two")
    for number in range(MANY):
        await speaker.publish("slow/one", [number, DATA])
    await speaker.publish("slow/two", 1)
    assert (await heard_until(slow, [MANY - 1, DATA]))[-1]["topic"] == "slow/one/default"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"topic": "slow/bad", "slow": "never"}, "slow"),
        ({"topic": "slow/bad", "key": "id"}, "leave key out"),
        ({"topic": "slow/bad", "slow": "latest", "key": 7}, "key"),
        ({"topic": "orders", "slow": "latest"}, "primary key"),
        ({"topic": "orders", "slow": "latest", "key": "nope"}, "no column 'nope'"),
        ({"topic": "orders", "slow": "latest", "key": "nope", "snapshot": True}, "no column 'nope'"),
    ],
)
async def test_a_policy_that_cannot_be_kept_is_refused(
    server: "ServerProcess", dial: Dial, calls: Calls, wanted: dict[str, Any], said: str
) -> None:
    await calls(server).sql("CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)")
    wire = await dial(server)
    answer = await wire.ask("subscribe", **wanted)
    assert (answer["type"], answer["code"]) == ("error", "bad_message")
    assert said in answer["message"]
