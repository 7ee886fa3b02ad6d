"""Presence with the real server."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from aerostack_realtime.sdk.aerostack import Aerostack

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.sdk.conftest import EventRecorder

pytestmark = pytest.mark.database("sqlite")

Connect = Callable[..., Awaitable[Aerostack]]

TRACKING_CLIENT = """
import asyncio, sys
from aerostack_realtime.sdk.client import RealtimeClient

async def main() -> None:
    realtime = RealtimeClient(sys.argv[1], user_id="bob")
    await realtime.channel("room/1").track({"userId": "bob", "name": "Bob"})
    print("present", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_join_update_and_leave(connect: Connect, recorder: "type[EventRecorder]") -> None:
    ann, bob = await connect("ann"), await connect("bob")
    listener = recorder()
    await ann.realtime.channel("room/1").on("*", listener).subscribe()
    room = bob.realtime.channel("room/1")
    await room.track({"userId": "bob", "name": "Bob"})
    await room.track({"userId": "bob", "name": "Bob", "cursor": 42})
    await room.untrack()
    received = [(each.name, each.user_id, each.data) for each in await listener.first(3)]
    assert received == [
        ("presence:join", "bob", {"userId": "bob", "name": "Bob"}),
        ("presence:update", "bob", {"userId": "bob", "name": "Bob", "cursor": 42}),
        ("presence:leave", "bob", {"userId": "bob", "name": "Bob", "cursor": 42}),
    ]


async def test_a_late_joiner_sees_who_is_there(connect: Connect, recorder: "type[EventRecorder]") -> None:
    ann, bob = await connect("ann"), await connect("bob")
    await ann.realtime.channel("room/1").track({"userId": "ann", "name": "Ann"})
    listener = recorder()
    channel = await bob.realtime.channel("room/1").on("presence:join", listener).subscribe()
    assert [each.user_id for each in await listener.first(1)] == ["ann"]
    [member] = await channel.presence()
    assert (member.user_id, member.state) == ("ann", {"userId": "ann", "name": "Ann"})
    assert member.since > 1_500_000_000_000


async def test_two_connections_of_one_user_are_one_member(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann, phone, laptop = await connect("ann"), await connect("bob"), await connect("bob")
    listener = recorder()
    watching = await ann.realtime.channel("room/1").on("*", listener).subscribe()
    await phone.realtime.channel("room/1").track({"userId": "bob", "on": "one"})
    await laptop.realtime.channel("room/1").track({"userId": "bob", "on": "one"})
    await phone.realtime.disconnect()
    assert len(await watching.presence()) == 1
    await laptop.realtime.disconnect()
    assert [each.name for each in await listener.first(2)] == ["presence:join", "presence:leave"]


async def test_a_connection_can_be_a_member(connect: Connect, recorder: "type[EventRecorder]") -> None:
    ann, phone, laptop = await connect("ann"), await connect("bob"), await connect("bob")
    listener = recorder()
    watching = await ann.realtime.channel("room/1").on("*", listener).subscribe()
    for device in (phone, laptop):
        await device.realtime.channel("room/1").track({"x": 1}, per="connection")
    joins = await listener.first(2)
    assert [(each.name, each.user_id) for each in joins] == [("presence:join", "bob")] * 2
    members = [each.connection_id for each in await watching.presence()]
    assert members == [each.connection_id for each in joins]
    assert [each.connection_id for each in await ann.presence("room/1")] == members


async def test_a_killed_process_leaves(
    server: "ServerProcess", connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann = await connect("ann")
    listener = recorder()
    await ann.realtime.channel("room/1").on("*", listener).subscribe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TRACKING_CLIENT, server.url), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert (await listener.named("presence:join")).user_id == "bob"
    finally:
        process.kill()
        await process.communicate()
    assert (await listener.named("presence:leave")).user_id == "bob"


async def test_presence_does_not_need_a_subscription(connect: Connect) -> None:
    sdk = await connect("ann")
    channel = sdk.realtime.channel("room/1")
    await channel.track({"userId": "ann"})
    assert [member.user_id for member in await channel.presence()] == ["ann"]
    await channel.untrack()
    await channel.untrack()
    assert await channel.presence() == []
