"""The server is killed and starts again: what the client restores automatically."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.payload import Payload

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.sdk.conftest import EventRecorder

Connect = Callable[..., Awaitable[Aerostack]]
Shell = Callable[[str], Awaitable[str]]


async def reconnecting(sdk: Aerostack) -> None:
    """Wait until the client has noticed that the server is gone."""
    noticed = asyncio.Event()
    end = sdk.realtime.on_status_change(lambda _: noticed.set())
    while sdk.realtime.status == "connected":
        noticed.clear()
        await noticed.wait()
    end()


async def test_subscriptions_are_restored_and_events_go_on(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    statuses: list[str] = []
    ann.realtime.on_status_change(statuses.append)
    listener = recorder()
    await ann.realtime.channel("chat/general").on("message", listener).subscribe()
    await server.kill()
    await reconnecting(ann)
    await server.start()
    await ann.realtime.connect()
    assert statuses == ["reconnecting", "connected"]
    await ann.realtime.channel("chat/general").presence()  # answered after the subscription before it
    await bob.realtime.channel("chat/general").publish("message", "after")
    assert [each.data for each in await listener.first(1)] == ["after"]


async def test_publishes_made_while_away_arrive_once_and_in_order(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann = await connect("ann")
    listener = recorder()
    channel = await ann.realtime.channel("chat/general").on("message", listener).subscribe()
    await server.kill()
    await reconnecting(ann)
    publishing = [asyncio.create_task(channel.publish("message", n, persist=True)) for n in range(20)]
    await server.start()
    acks = await asyncio.gather(*publishing)
    assert [each.data for each in await listener.first(20)] == list(range(20))
    assert [each.id for each in listener.payloads] == [ack.id for ack in acks]
    history = await channel.get_history(100)
    assert [message.data for message in history] == list(range(19, -1, -1))


async def test_rows_written_while_the_server_was_down_arrive_once(
    server: "ServerProcess", connect: Connect, shell: Shell, recorder: "type[EventRecorder]"
) -> None:
    ann = await connect("ann")
    await ann.db.query("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)")
    listener = recorder()
    await ann.realtime.channel("orders").on("*", listener).subscribe()
    await ann.db.query("INSERT INTO orders VALUES (1, 'before')")
    await listener.first(1)
    await server.kill()
    await shell("INSERT INTO orders VALUES (2, 'down'); UPDATE orders SET status = 'down' WHERE id = 1")
    await server.start()
    await ann.realtime.connect()
    await ann.db.query("INSERT INTO orders VALUES (3, 'after')")
    received = [(each.name, each.data["id"]) for each in await listener.first(4)]
    assert received == [("INSERT", 1), ("INSERT", 2), ("UPDATE", 1), ("INSERT", 3)]


async def test_presence_returns_without_a_second_join(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann, bob, cat = await connect("ann"), await connect("bob"), await connect("cat")
    listener = recorder()
    room = await ann.realtime.channel("room/1").on("*", listener).subscribe()
    await bob.realtime.channel("room/1").track({"userId": "bob"})
    await cat.realtime.channel("room/1").track({"userId": "cat"})
    await listener.first(2)
    await server.kill()
    await cat.realtime.disconnect()
    await server.start()
    await bob.realtime.connect()
    await ann.realtime.connect()

    await bob.realtime.channel("room/1").track({"userId": "bob", "back": True})

    def both_received(payloads: list[Payload]) -> bool:
        left = any(each.name == "presence:leave" and each.user_id == "cat" for each in payloads)
        return left and any(each.data == {"userId": "bob", "back": True} for each in payloads)

    present: set[str | None] = set()
    for each in await listener.until(both_received):
        if each.name == "presence:join":
            assert each.user_id not in present
            present.add(each.user_id)
        elif each.name == "presence:leave":
            present.remove(each.user_id)
    assert present == {"bob"}
    assert [member.user_id for member in await room.presence()] == ["bob"]


async def test_a_terminated_server_is_waited_for(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann = await connect("ann")
    listener = recorder()
    channel = await ann.realtime.channel("chat/general").on("message", listener).subscribe()
    await server.terminate()
    await reconnecting(ann)
    await server.start()
    await channel.publish("message", "after")
    assert [each.data for each in await listener.first(1)] == ["after"]


async def test_what_the_restarted_server_forgot_is_a_gap(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann = await connect("ann")
    messages, gaps = recorder(), recorder()
    channel = await ann.realtime.channel("chat/general").on("message", messages).on("gap", gaps).subscribe()
    await channel.publish("message", "not persisted")
    await messages.first(1)
    await server.kill()
    await server.start()
    assert (await gaps.first(1))[0].data["since"] == messages.payloads[0].cursor
