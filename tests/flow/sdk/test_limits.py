"""Publishes that the server refuses to read: they fail on their own call, and nothing else does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from aerostack_realtime.protocol.errors import AerostackError, BadMessage, RateLimited, TooLarge
from aerostack_realtime.sdk.aerostack import Aerostack

if TYPE_CHECKING:
    from tests.flow.sdk.conftest import EventRecorder, Line, Peer

    Connect = Callable[..., Awaitable[Aerostack]]

pytestmark = pytest.mark.database("sqlite")

LIMITS = {"frameBytes": 1000, "nesting": 10}


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


async def ack(line: "Line") -> dict[str, Any]:
    """Acknowledge the next publish; returns it."""
    frame = await line.receive("publish")
    await line.send("ack", id=frame["id"], cursor="c1", timestamp=1)
    return frame


async def test_a_publish_above_the_announced_limits_is_never_sent(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime, limits=LIMITS)
        channel = realtime.channel("chat/room")
        with pytest.raises(TooLarge, match="the server accepts 1000"):
            await channel.publish("message", "x" * 1000)
        with pytest.raises(BadMessage, match="more than 10 levels"):
            await channel.publish("message", nested(10))
        with pytest.raises(TooLarge):
            await channel.track({"text": "x" * 1000})
        publishing = asyncio.create_task(channel.publish("message", nested(9)))
        assert (await ack(line))["data"] == nested(9)
        await publishing
        assert line.frames.empty()


async def test_a_publish_made_before_connecting_is_checked_on_connect(peer: "Peer") -> None:
    async with peer.client() as realtime:
        channel = realtime.channel("chat/room")
        large = asyncio.create_task(channel.publish("message", "x" * 1000))
        small = asyncio.create_task(channel.publish("message", "small"))
        line = await peer.accept(limits=LIMITS)
        with pytest.raises(TooLarge):
            await large
        assert (await ack(line))["data"] == "small"
        await small


async def test_a_server_without_limits_has_the_default_ones(peer: "Peer") -> None:
    async with peer.client() as realtime:
        await peer.connect(realtime)
        with pytest.raises(TooLarge, match="65536"):
            await realtime.channel("chat/room").publish("message", "x" * 70_000)


async def test_smaller_limits_after_a_reconnect_fail_the_waiting_publish(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime, limits={"frameBytes": 5000, "nesting": 10})
        large = asyncio.create_task(realtime.channel("chat/room").publish("message", "x" * 2000))
        await line.receive("publish")
        await line.socket.close(code=1012)
        await peer.accept(limits=LIMITS)
        with pytest.raises(TooLarge, match="the server accepts 1000"):
            await large


async def test_a_1009_rejects_the_large_publish_and_nothing_else(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime, limits={"frameBytes": 2_000_000, "nesting": 10})
        channel = realtime.channel("chat/room")
        before = asyncio.create_task(channel.publish("message", "before"))
        large = asyncio.create_task(channel.publish("message", "x" * 1_200_000))
        after = asyncio.create_task(channel.publish("message", "after"))
        await line.receive("publish")
        await line.socket.close(code=1009)
        with pytest.raises(TooLarge, match="too large for the server"):
            await large
        line = await peer.accept()
        assert [(await ack(line))["data"], (await ack(line))["data"]] == ["before", "after"]
        await asyncio.gather(before, after)
        assert line.frames.empty()
        assert peer.lines.empty()


async def test_an_unnamed_error_fails_the_oldest_unanswered_command(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        channel = realtime.channel("chat/room")
        first = asyncio.create_task(channel.publish("message", 1))
        second = asyncio.create_task(channel.publish("message", 2))
        await line.receive("publish")
        await line.send("error", code="bad_message", message="The frame cannot be read.", retryable=False)
        with pytest.raises(BadMessage, match="cannot be read"):
            await first
        await ack(line)
        await second


async def test_an_error_that_answers_no_frame_goes_to_on_error(peer: "Peer") -> None:
    errors: asyncio.Queue[AerostackError] = asyncio.Queue()
    async with peer.client() as realtime:
        realtime.on_error(errors.put_nowait)
        line = await peer.connect(realtime)
        publishing = asyncio.create_task(realtime.channel("chat/room").publish("message", 1))
        frame = await line.receive("publish")
        await line.send("error", code="rate_limited", message="Slow down.", retryable=True)
        assert isinstance(await errors.get(), RateLimited)
        await line.send("ack", id=frame["id"])
        await publishing


async def test_the_real_server_is_never_sent_an_oversized_publish(connect: "Connect") -> None:
    sdk = await connect()
    statuses: list[str] = []
    sdk.realtime.on_status_change(statuses.append)
    channel = sdk.realtime.channel("chat/general")
    with pytest.raises(TooLarge):
        await channel.publish("message", "x" * 2_000_000)
    with pytest.raises(BadMessage):
        await channel.publish("message", nested(500))
    await channel.publish("message", "small", persist=True)
    assert [message.data for message in await channel.get_history()] == ["small"]
    assert statuses == []


async def test_a_publisher_without_echo_does_not_receive_its_own_event(
    connect: "Connect", recorder: "type[EventRecorder]"
) -> None:
    listener = recorder()
    channel = await (await connect()).realtime.channel("chat/general").on("*", listener).subscribe()
    await channel.publish("message", 1, echo=False)
    await channel.publish("message", 2)
    assert [payload.data for payload in await listener.first(1)] == [2]
