"""Pub/sub between clients, by the real server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from aerostack_realtime.protocol.errors import BadMessage, InvalidFilter, NotFound, TooLarge, Unavailable
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.payload import Payload

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.sdk.conftest import EventRecorder

pytestmark = pytest.mark.database("sqlite")

Connect = Callable[..., Awaitable[Aerostack]]


async def test_two_clients_chat(connect: Connect, recorder: "type[EventRecorder]") -> None:
    ann, bob = await connect("ann"), await connect("bob")
    received_by_ann, received_by_bob = recorder(), recorder()
    await ann.realtime.channel("chat/general").on("message", received_by_ann).subscribe()
    await bob.realtime.channel("chat/general").on("message", received_by_bob).subscribe()

    ack = await bob.realtime.channel("chat/general").publish("message", {"text": "hello"})

    for listener in (received_by_ann, received_by_bob):
        [payload] = await listener.first(1)
        assert payload.topic == "chat/general"
        assert payload.type == "event"
        assert payload.data == {"text": "hello"}
        assert payload.id == ack.id
        assert payload.cursor == ack.cursor
        assert payload.timestamp == ack.timestamp


async def test_the_server_side_emits(connect: Connect, recorder: "type[EventRecorder]") -> None:
    sdk = await connect()
    listener = recorder()
    await sdk.realtime.channel("notifications/42").on("message", listener).subscribe()
    ack = await sdk.socket.emit("message", {"text": "shipped"}, "notifications/42")
    [payload] = await listener.first(1)
    assert payload.data == {"text": "shipped"}
    assert payload.cursor == ack.cursor


async def test_events_arrive_in_the_order_they_were_published(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    listener = recorder()
    await ann.realtime.channel("chat/general").on("*", listener).subscribe()
    channel = bob.realtime.channel("chat/general")
    await asyncio.gather(*(channel.publish("message", number, persist=number % 3 == 0) for number in range(200)))
    assert [payload.data for payload in await listener.first(200)] == list(range(200))


async def test_no_call_needs_a_connection_first(server: "ServerProcess", recorder: "type[EventRecorder]") -> None:
    listener = recorder()
    async with RealtimeClient(server.url, api_key=server.secret_key) as realtime:
        channel = realtime.channel("chat/general").on("message", listener)
        assert realtime.status == "idle"
        await asyncio.gather(channel.track({"userId": "ann"}), channel.subscribe(), channel.publish("message", 1))
        assert [payload.data for payload in await listener.first(1)] == [1]
        assert [member.user_id for member in await channel.presence()] == ["ann"]


async def test_star_receives_everything_and_off_removes_a_listener(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    sdk = await connect()
    everything, messages = recorder(), recorder()
    channel = sdk.realtime.channel("chat/general").on("*", everything).on("message", messages)
    await channel.subscribe()
    await channel.publish("message", 1)
    await channel.publish("typing", 2)
    assert [payload.name for payload in await everything.first(2)] == ["message", "typing"]
    channel.off("message", messages)
    await channel.publish("message", 3)
    await everything.first(3)
    assert [payload.data for payload in messages.payloads] == [1]


async def test_a_failing_handler_is_isolated(
    connect: Connect, recorder: "type[EventRecorder]", caplog: pytest.LogCaptureFixture
) -> None:
    sdk = await connect()
    listener = recorder()

    async def broken(_: Payload) -> None:
        raise RuntimeError("my bug")

    channel = await sdk.realtime.channel("chat/general").on("message", broken).on("message", listener).subscribe()
    with caplog.at_level(logging.CRITICAL, "aerostack_realtime.sdk"):
        await channel.publish("message", 1)
        await channel.publish("message", 2)
        await listener.first(2)
    assert sdk.realtime.status == "connected"


async def test_a_handler_may_use_its_own_channel(connect: Connect, recorder: "type[EventRecorder]") -> None:
    sdk = await connect()
    answers = recorder()
    channel = sdk.realtime.channel("chat/general")

    async def answer(payload: Payload) -> None:
        await channel.publish("pong", payload.data)

    await channel.on("ping", answer).on("pong", answers).subscribe()
    await asyncio.gather(*(channel.publish("ping", number) for number in range(20)))
    assert [payload.data for payload in await answers.first(20)] == list(range(20))


async def test_async_iteration(connect: Connect) -> None:
    sdk = await connect()
    channel = sdk.realtime.channel("chat/general")
    texts = []

    async def read() -> None:
        async for event in channel:
            texts.append(event.data)
            if event.data == "last":
                await channel.unsubscribe()

    reading = asyncio.create_task(read())
    await channel.subscribe()
    for text in ("first", "second", "last"):
        await channel.publish("message", text)
    await reading
    assert texts == ["first", "second", "last"]
    assert not channel.subscribed


async def test_leaving_the_loop_keeps_the_subscription_for_the_handlers(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    sdk = await connect()
    listener = recorder()
    channel = await sdk.realtime.channel("chat/general").on("message", listener).subscribe()
    publishing = asyncio.create_task(channel.publish("message", 1))
    async for event in channel:
        assert event.data == 1
        break
    await publishing
    await channel.publish("message", 2)
    assert [payload.data for payload in await listener.first(2)] == [1, 2]


async def test_a_subscription_after_unsubscribe_starts_from_now(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    ann, bob = await connect("ann"), await connect("bob")
    before, after = recorder(), recorder()
    channel = await ann.realtime.channel("chat/general").on("message", before).subscribe()
    await channel.unsubscribe()
    await bob.realtime.channel("chat/general").publish("message", "missed")
    await channel.on("message", after).subscribe()
    await bob.realtime.channel("chat/general").publish("message", "received")
    assert [payload.data for payload in await after.first(1)] == ["received"]
    assert before.payloads == []


@pytest.mark.database("sqlite", "postgres")
async def test_history_is_paged_newest_first(connect: Connect) -> None:
    sdk = await connect("ann")
    channel = sdk.realtime.channel("chat/general")
    for number in range(25):
        await channel.publish("message", {"number": number}, persist=True)
    await channel.publish("message", {"number": "not stored"})
    read: list[int] = []
    before = None
    while page := await channel.get_history(10, before):
        read += [message.data["number"] for message in page]
        before = page[-1].created_at
    assert read == list(range(24, -1, -1))
    assert (await channel.get_history(1))[0].room_id == "chat/general/default"


@pytest.mark.database("sqlite", "postgres")
async def test_refusals_are_typed_errors_on_the_call(connect: Connect) -> None:
    sdk = await connect()
    with pytest.raises(NotFound, match="no_such_table"):
        await sdk.realtime.channel("no_such_table").subscribe()
    await sdk.db.query("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    with pytest.raises(InvalidFilter):
        await sdk.realtime.channel("orders", filter={"no_such_column": 1}).subscribe()
    with pytest.raises(TooLarge):
        await sdk.realtime.channel("chat/general").publish("message", "x" * 70_000)
    with pytest.raises(BadMessage, match="JSON"):
        await sdk.realtime.channel("chat/general").publish("message", object())
    with pytest.raises(BadMessage):
        await sdk.db.query("SELEC 1")
    assert sdk.realtime.status == "connected"


async def test_disconnecting_is_final_until_connect(connect: Connect, recorder: "type[EventRecorder]") -> None:
    sdk = await connect()
    listener = recorder()
    statuses: list[str] = []
    end = sdk.realtime.on_status_change(statuses.append)
    channel = await sdk.realtime.channel("chat/general").on("message", listener).subscribe()
    await sdk.realtime.disconnect()
    with pytest.raises(Unavailable, match="connect"):
        await channel.publish("message", 1)
    await sdk.realtime.connect()
    await channel.publish("message", 2)
    assert [payload.data for payload in await listener.first(1)] == [2]
    assert statuses == ["disconnected", "connecting", "connected"]
    end()
    await sdk.realtime.disconnect()
    assert len(statuses) == 3
