"""Resuming with `since`: everything missed, in order, each once, then live (docs/protocol.md §5)."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flow.calls import Http
from tests.flow.conftest import ServerProcess
from tests.flow.wire import Dial, Wire

TOPIC = "chat/resume/default"

Shell = Callable[[str], Awaitable[str]]


def position(event: dict[str, Any]) -> str:
    """Where it stands in its channel; before it the cursor has the run of the server, which may be another."""
    position: str = event["cursor"].rpartition(".")[2]
    return position


async def heard(wire: Wire) -> list[object]:
    """The payloads of all events that are here."""
    return [each["data"] for each in await wire.settled() if each["type"] == "event"]


async def test_a_client_that_was_away_gets_what_it_missed_and_then_what_comes(
    node: ServerProcess, dial: Dial
) -> None:
    sender, reader = await dial(node), await dial(node)
    await reader.subscribe("chat/away")
    for number in range(3):
        await sender.publish("chat/away", number)
    cursor = (await reader.events(3))[1]["cursor"]
    reader.drop()
    for number in range(3, 6):
        await sender.publish("chat/away", number)
    back = await dial(node)
    subscribed = await back.subscribe("chat/away", since=cursor)
    assert (subscribed["recovered"], subscribed["cursor"]) == (True, cursor)
    await sender.publish("chat/away", 6)
    assert [each["data"] for each in await back.events(5)] == [2, 3, 4, 5, 6]


async def test_a_foreign_cursor_is_a_gap(node: ServerProcess, dial: Dial) -> None:
    wire = await dial(node)
    await wire.publish("chat/strange", 1)
    for since in ("", "x", "other.5", "other.", ".5", "9" * 400):
        subscribed = await wire.subscribe("chat/strange", since=since)
        assert subscribed["recovered"] is False
        assert await heard(wire) == [1]


async def test_a_truncated_log_is_completed_by_persisted_messages(node: ServerProcess, dial: Dial) -> None:
    wire = await dial(node)
    start = (await wire.subscribe("chat/long"))["cursor"]
    await wire.ask("unsubscribe", topic="chat/long")
    expected: list[object] = []
    for number in range(2_500):
        persist = number % 2 == 0
        wire.say("publish", topic="chat/long", event="n", data=number, persist=persist)
        if persist or number >= 1_500:
            expected.append(number)
    await wire.publish("chat/long", "end", persist=True)
    subscribed = await wire.subscribe("chat/long", since=start)
    assert (subscribed["recovered"], subscribed["cursor"]) == (False, start)
    await wire.publish("chat/long", "live")
    data = [(await wire.hear("event"))["data"]]
    while data[-1] != "live":
        data.append((await wire.hear("event"))["data"])
    kept = [each for each in data if isinstance(each, int)]
    assert kept == sorted(set(kept)), "in order, each once"
    assert {number for number in range(2_500) if number % 2 == 0} <= set(kept), "every persisted one"
    assert set(range(1_600, 2_500)) <= set(kept), "and what the log still has"
    assert data[-2:] == ["end", "live"]


async def test_persisted_messages_are_replayed_over_a_kill_of_the_server(
    server: ServerProcess, dial: Dial
) -> None:
    wire = await dial(server, "ann")
    cursor = (await wire.subscribe(TOPIC))["cursor"]
    acks = [await wire.publish(TOPIC, number, persist=True) for number in range(500)]
    await server.kill()
    await server.start()
    back = await dial(server, "ann")
    subscribed = await back.subscribe(TOPIC, since=cursor)
    assert subscribed["recovered"] is False, "ephemeral events may be missing, and that is reported"
    events = await back.events(500)
    assert [each["data"] for each in events] == list(range(500))
    assert [position(each) for each in events] == [position(each) for each in acks]
    assert [each["timestamp"] for each in events] == [each["timestamp"] for each in acks]
    assert {each["userId"] for each in events} == {"ann"}
    await back.publish(TOPIC, "live")
    assert (await back.events(1))[0]["data"] == "live"


@pytest.mark.database("sqlite")
async def test_a_restore_during_a_history_replay_is_a_gap_of_its_own(
    server: ServerProcess, dial: Dial, calls: Callable[[ServerProcess], Http], shell: Shell, tmp_path: Path
) -> None:
    speaker = await dial(server)
    cursor = (await speaker.subscribe(TOPIC))["cursor"]
    await speaker.ask("unsubscribe", topic=TOPIC)
    for number in range(2_500):
        speaker.say("publish", topic=TOPIC, event="n", data=[number, "x" * 8_000], persist=True)
    await speaker.publish(TOPIC, ["end"], persist=True)
    await shell(f".backup {tmp_path / 'backup.db'}")
    await server.kill()
    await server.start()
    back, http = await dial(server), calls(server)
    assert (await back.subscribe(TOPIC, since=cursor))["recovered"] is False
    heard = await back.events(1)  # and does not read on: more is under way than the network takes
    await shell(f".restore {tmp_path / 'backup.db'}")
    epoch = heard[0]["cursor"].split(".")[0]
    while (await http.post("/v1/db/query", {"sql": "SELECT 1"}))[1]["cursor"].startswith(epoch):
        pass
    refused = False
    while heard[-1]["data"] != ["end"]:
        message = await back.next()
        if message["type"] == "event":
            heard.append(message)
        elif message["type"] == "error":  # requested at that moment, to be requested again
            assert message["code"] == "unavailable"
            back.say("subscribe", topic=TOPIC, since=heard[-1]["cursor"])
        else:
            assert message["recovered"] is False
            refused = True
    assert refused
    assert [each["data"][0] for each in heard] == [*range(2_500), "end"], "and nothing is sent twice"


async def test_a_publish_is_stored_once_however_often_it_is_sent(server: ServerProcess, dial: Dial) -> None:
    wire = await dial(server)
    first = await wire.publish(TOPIC, 1, persist=True, id="mine")
    repeat = await wire.publish(TOPIC, 1, persist=True, id="mine")
    assert (repeat["duplicate"], repeat["cursor"]) == (True, first["cursor"])
    await server.kill()
    await server.start()
    back = await dial(server)
    await back.subscribe(TOPIC)
    again = await back.publish(TOPIC, 1, persist=True, id="mine")
    assert (again["duplicate"], position(again)) == (True, position(first))
    assert (again["timestamp"], await heard(back)) == (first["timestamp"], [])


async def test_row_changes_made_while_the_server_was_down_are_replayed(
    server: ServerProcess,
    dial: Dial,
    calls: Callable[[ServerProcess], Http],
    shell: Callable[[str], Awaitable[str]],
) -> None:
    await calls(server).sql("CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)")
    wire = await dial(server)
    cursor = (await wire.subscribe("orders", filter={"status": "open"}))["cursor"]
    await server.kill()
    await shell(
        "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 3000) "
        "INSERT INTO orders SELECT i, CASE WHEN i % 2 = 1 THEN 'open' ELSE 'paid' END FROM c"
    )
    await shell("UPDATE orders SET status = 'paid' WHERE id = 1")
    await server.start()
    back = await dial(server)
    subscribed = await back.subscribe("orders", filter={"status": "open"}, since=cursor)
    assert (subscribed["recovered"], subscribed["cursor"]) == (True, cursor)
    await shell("DELETE FROM orders WHERE id = 3")
    changes = [await back.hear("db_change") for _ in range(1_502)]
    assert [each["data"]["id"] for each in changes[:1_500]] == list(range(1, 3_000, 2))
    assert [(each["operation"], each["data"]["id"]) for each in changes[1_500:]] == [("DELETE", 1), ("DELETE", 3)]


async def test_a_channel_is_resumed_as_far_as_the_settings_of_its_topic_reach(
    serve: Callable[[str], Awaitable[ServerProcess]], dial: Dial
) -> None:
    server = await serve(
        'anonymous = true\nlog_bytes = 100000\n[[logs]]\npattern = "few/*"\nmax_count = 2\n'
        '[[logs]]\npattern = "none/*"\nmax_count = 0'
    )
    wire = await dial(server)
    found = {}
    for topic in ("few/1", "none/1", "many/1"):
        since = (await wire.publish(topic, 0))["cursor"]
        for number in range(1, 6):
            await wire.publish(topic, number)
        found[topic] = (await wire.subscribe(topic, since=since))["recovered"], await heard(wire)
        await wire.ask("unsubscribe", topic=topic)
    assert found == {"few/1": (False, [4, 5]), "none/1": (False, []), "many/1": (True, [1, 2, 3, 4, 5])}


async def test_the_oldest_events_of_all_channels_give_way_to_the_newest(
    serve: Callable[[str], Awaitable[ServerProcess]], dial: Dial
) -> None:
    server = await serve("anonymous = true\nlog_bytes = 100000")
    wire = await dial(server)
    first = [(await wire.publish(f"room/{number}", 0))["cursor"] for number in range(20)]
    for number in range(20):
        await wire.publish(f"room/{number}", ["x" * 9_000])
    recovered = [
        (await wire.subscribe(f"room/{number}", since=first[number]))["recovered"] for number in range(20)
    ]
    assert recovered == sorted(recovered)
    assert 8 <= sum(recovered) <= 11
