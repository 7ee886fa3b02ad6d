"""A client behind a slow network: what its app hears is what it asked for."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from aerostack_realtime.sdk.aerostack import Aerostack
from tests.flow.proxy import Proxy

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.sdk.conftest import EventRecorder

Connect = Callable[..., Awaitable[Aerostack]]

DATA = b64encode(Random(1).randbytes(45_000)).decode()
MANY = 300
"""Times DATA, also when it is compressed, it is more than the network between takes on."""


async def test_latest_delivers_the_newest_event_of_each_key(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    listener, ann = recorder(), await connect("ann")
    async with Proxy(server.url) as network:
        bob = await connect("bob", url=network.url)
        cursors = bob.realtime.channel("board/1", slow="latest", key="id").on("*", listener)
        await cursors.subscribe()
        network.hold()
        board = ann.realtime.channel("board/1")
        for number in range(MANY):
            await board.publish("moved", {"id": number % 3, "n": number, "text": DATA})
        network.release()
        await board.publish("done")
        await listener.named("done")
    moved = [payload.data["n"] for payload in listener.payloads[:-1]]
    assert moved == sorted(set(moved))
    assert moved[-3:] == [MANY - 3, MANY - 2, MANY - 1]
    assert len(moved) < MANY


async def test_drop_reports_the_number_of_dropped_events_as_a_gap(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    listener, ann = recorder(), await connect("ann")
    async with Proxy(server.url) as network:
        bob = await connect("bob", url=network.url)
        await bob.realtime.channel("board/1", slow="drop").on("*", listener).subscribe()
        network.hold()
        board = ann.realtime.channel("board/1")
        for number in range(MANY):
            await board.publish("moved", [number, DATA])
        network.release()
        await listener.named("gap")
        await board.publish("done")
        await listener.named("done")
    gaps = [payload.data["dropped"] for payload in listener.payloads if payload.name == "gap"]
    assert sum(gaps) > 0
    assert sum(gaps) + len(listener.payloads) - len(gaps) - 1 == MANY


@pytest.mark.parametrize("slow", ["latest", "drop"])
async def test_a_live_table_is_correct_after_a_slow_period(
    server: "ServerProcess", connect: Connect, slow: Any
) -> None:
    ann = await connect("ann")
    await ann.db.query("CREATE TABLE boards(id INTEGER PRIMARY KEY, n INTEGER, text TEXT)")
    await ann.db.query("INSERT INTO boards VALUES (1, 0, ''), (2, 0, ''), (3, 0, '')")
    async with Proxy(server.url) as network:
        bob = await connect("bob", url=network.url)
        async with bob.realtime.table("boards", slow=slow) as rows:
            changes = aiter(rows)
            network.hold()
            for number in range(MANY // 2):
                await ann.db.query(
                    "UPDATE boards SET n = ?, text = ? WHERE id = ?", [number, DATA, number % 3 + 1]
                )
            await ann.db.query("DELETE FROM boards WHERE id = 2")
            await ann.db.query("INSERT INTO boards VALUES (9, 9, 'end')")
            network.release()
            while (await anext(changes)).key != 9:
                pass
            assert {key: row["n"] for key, row in rows.items()} == {1: 147, 3: 149, 9: 9}


async def test_a_policy_cannot_be_changed_while_it_is_subscribed(connect: Connect) -> None:
    ann = await connect("ann")
    channel = ann.realtime.channel("board/1", slow="latest", key="id")
    await channel.subscribe()
    assert ann.realtime.channel("board/1") is channel
    assert ann.realtime.channel("board/1", slow="latest", key="id") is channel
    with pytest.raises(ValueError, match="another policy"):
        ann.realtime.channel("board/1", slow="drop")
    await channel.unsubscribe()
    assert ann.realtime.channel("board/1", slow="drop") is channel
