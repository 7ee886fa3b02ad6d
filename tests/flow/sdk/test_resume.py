"""What the client restores after a reconnect, and how it catches up: a server that obeys the test."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aerostack_realtime.protocol.errors import AerostackError, Forbidden
from aerostack_realtime.sdk.delivery import BUFFER
from aerostack_realtime.sdk.payload import Payload

if TYPE_CHECKING:
    from tests.flow.sdk.conftest import EventRecorder, Line, Peer


async def test_a_reconnect_resumes_after_the_last_handled_event(
    peer: "Peer", recorder: "type[EventRecorder]"
) -> None:
    listener = recorder()
    async with peer.client() as realtime:
        realtime.channel("chat/room")
        line = await peer.connect(realtime)
        await line.admit(realtime, listener)
        await line.message(1)
        await listener.first(1)
        await line.socket.close(code=1012)
        line = await peer.accept()
        frame = await line.receive("subscribe")
        assert frame["since"] == "c1"
        await line.confirm(frame, "c1", recovered=True)
        await line.message(1)
        await line.message(2)
        assert [payload.data for payload in await listener.first(2)] == [1, 2]


async def test_a_failed_resumption_is_reported_as_a_gap(peer: "Peer", recorder: "type[EventRecorder]") -> None:
    everything, gaps = recorder(), recorder()
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        await line.admit(realtime, everything)
        channel = realtime.channel("chat/room").on("gap", gaps)
        await line.socket.close(code=1012)
        line = await peer.accept()
        frame = await line.receive("subscribe")
        await line.confirm(frame, "e2.7", recovered=False)
        assert (await gaps.first(1))[0].data == {"reason": "not_recovered", "since": "c0"}
        assert (await everything.first(1))[0].name == "gap"
        await line.send("subscribed", topic=line.room, cursor="e3.1", recovered=False)
        assert (await gaps.first(2))[1].cursor == "e3.1"
        await line.send("ack", id="nobody")
        assert channel.cursor == "e3.1"


async def test_unacknowledged_publishes_are_resent_in_order_with_their_ids(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        channel = realtime.channel("chat/room")
        publishing = [asyncio.create_task(channel.publish("message", number)) for number in range(3)]
        sent = [await line.receive("publish") for _ in range(3)]
        await line.send("ack", id=sent[1]["id"], cursor="c1", timestamp=1)
        await publishing[1]
        await line.socket.close(code=1012)
        away = asyncio.create_task(channel.publish("message", 3))
        line = await peer.accept()
        again = [await line.receive("publish") for _ in range(3)]
        assert [frame["data"] for frame in again] == [0, 2, 3]
        assert [frame["id"] for frame in again[:2]] == [sent[0]["id"], sent[2]["id"]]
        for frame in again:
            await line.send("ack", id=frame["id"], cursor="c2", timestamp=2, duplicate=frame["data"] == 0)
        acks = await asyncio.gather(*publishing, away)
        assert [ack.duplicate for ack in acks] == [True, False, False, False]


async def test_a_cancelled_publish_is_not_sent_again(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        channel = realtime.channel("chat/room")
        cancelled = asyncio.create_task(channel.publish("message", 1))
        await line.receive("publish")
        cancelled.cancel()
        await line.socket.close(code=1012)
        kept = asyncio.create_task(channel.publish("message", 2))
        line = await peer.accept()
        frame = await line.receive("publish")
        assert frame["data"] == 2
        await line.send("ack", id=frame["id"])
        await kept


async def test_a_subscription_that_is_not_restored_is_reported(
    peer: "Peer", recorder: "type[EventRecorder]"
) -> None:
    listener = recorder()
    errors: asyncio.Queue[AerostackError] = asyncio.Queue()
    async with peer.client() as realtime:
        realtime.on_error(errors.put_nowait)
        line = await peer.connect(realtime)
        await line.admit(realtime, listener)
        await line.socket.close(code=1012)
        line = await peer.accept()
        frame = await line.receive("subscribe")
        await line.send(
            "error", code="forbidden", message="Not any more.", retryable=False, topic=line.room, id=frame["id"]
        )
        assert isinstance(await errors.get(), Forbidden)
        assert not realtime.channel("chat/room").subscribed


async def test_a_channel_whose_handlers_lag_is_paused_and_caught_up(
    peer: "Peer", recorder: "type[EventRecorder]"
) -> None:
    release, listener = asyncio.Event(), recorder()

    async def lagging(payload: Payload) -> None:
        await release.wait()
        listener(payload)

    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        await line.admit(realtime, recorder())
        realtime.channel("chat/room").on("message", lagging)
        for number in range(1, BUFFER + 100):
            await line.message(number)
        await line.receive("unsubscribe")  # the others of this connection are read on
        publishing = asyncio.create_task(realtime.channel("chat/other").publish("message"))
        await line.send("ack", id=(await line.receive("publish"))["id"])
        await publishing
        release.set()
        frame = await line.receive("subscribe")
        last = int(frame["since"].removeprefix("c"))
        await line.confirm(frame, frame["since"], recovered=True)
        for number in range(last + 1, BUFFER + 100):
            await line.message(number)
        payloads = await listener.first(BUFFER + 99)
        assert [payload.data for payload in payloads] == list(range(1, BUFFER + 100))


async def test_a_subscription_that_meets_an_overloaded_server_is_retried(
    peer: "Peer", recorder: "type[EventRecorder]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aerostack_realtime.sdk.session._RETRY_SECONDS", 0.01)
    listener = recorder()
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        await line.admit(realtime, listener)
        await line.socket.close(code=1012)
        line = await peer.accept()
        frame = await line.receive("subscribe")
        await line.send("error", code="overloaded", message="Later.", retryable=True, id=frame["id"])
        frame = await line.receive("subscribe")
        await line.confirm(frame, "c0", recovered=True)
        await line.message(1)
        assert [payload.data for payload in await listener.first(1)] == [1]


async def test_calls_continue_to_try_after_a_retryable_refusal(
    peer: "Peer", recorder: "type[EventRecorder]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aerostack_realtime.sdk.session._RETRY_SECONDS", 0.01)
    listener = recorder()
    errors: list[str] = []
    async with peer.client() as realtime:
        realtime.on_error(lambda error: errors.append(error.code))
        line = await peer.connect(realtime)
        channel = realtime.channel("chat/room").on("*", listener)
        calls = asyncio.gather(channel.subscribe(), channel.track({"name": "Ann"}))
        subscribe, track = await line.receive("subscribe"), await line.receive("track")
        await line.refuse(subscribe, "unavailable")
        await line.confirm(await line.receive("subscribe"))
        await line.refuse(track, "overloaded")
        await line.acknowledge(await line.receive("track"))
        await calls
        assert errors == ["unavailable", "overloaded"]
        await line.message(1)
        assert [payload.data for payload in await listener.first(1)] == [1]


async def test_restored_presence_is_announced_until_the_server_accepts_it(
    peer: "Peer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aerostack_realtime.sdk.session._RETRY_SECONDS", 0.01)
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        tracking = asyncio.create_task(realtime.channel("chat/room").track({"name": "Ann"}))
        await line.acknowledge(await line.receive("track"))
        await tracking
        await line.socket.close(code=1012)
        line = await peer.accept()
        await line.refuse(await line.receive("track"), "unavailable")
        assert (await line.receive("track"))["state"] == {"name": "Ann"}


async def test_a_refused_state_is_not_announced_after_a_newer_one(
    peer: "Peer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aerostack_realtime.sdk.session._RETRY_SECONDS", 3600)
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        channel = realtime.channel("chat/room")
        refused = asyncio.Event()
        realtime.on_error(lambda _: refused.set())
        first = asyncio.create_task(channel.track({"n": 1}))
        await line.refuse(await line.receive("track"), "unavailable")
        await refused.wait()
        second = asyncio.create_task(channel.track({"n": 2}))
        await first
        newest = await line.receive("track")
        assert newest["state"] == {"n": 2}
        await line.acknowledge(newest)
        await second
        await line.socket.close(code=1012)
        line = await peer.accept()
        assert (await line.receive("track"))["state"] == {"n": 2}


async def test_a_reconnect_reports_the_difference_in_presence(
    peer: "Peer", recorder: "type[EventRecorder]"
) -> None:
    async def joined(line: "Line", user_id: str, cursor: str, **fields: Any) -> None:
        await line.event("presence:join", {"userId": user_id}, cursor, userId=user_id, **fields)

    listener = recorder()
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        await line.admit(realtime, listener)
        await joined(line, "bob", "c1")
        await joined(line, "cat", "c2")
        await listener.first(2)
        await line.socket.close(code=1012)
        line = await peer.accept()
        frame = await line.receive("subscribe")
        await line.confirm(frame, "c2", recovered=True)
        await joined(line, "bob", "c2", snapshot=True)
        await joined(line, "dan", "c2", snapshot=True)
        frame = await line.receive("presence")
        members = [{"userId": user, "state": {"userId": user}, "since": 1} for user in ("bob", "dan")]
        await line.send("presence", topic=line.room, members=members, id=frame["id"])
        received = [(each.name, each.user_id) for each in (await listener.first(4))[2:]]
        assert received == [("presence:join", "dan"), ("presence:leave", "cat")]
