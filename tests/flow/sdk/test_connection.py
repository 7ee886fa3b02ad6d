"""What the client does when its peer refuses, falls silent, or loses its memory: a server that obeys the test."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aerostack_realtime.protocol.errors import (
    AerostackError,
    Forbidden,
    NotFound,
    Unauthorized,
    Unavailable,
)
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.delivery import BUFFER
from aerostack_realtime.sdk.payload import Payload

if TYPE_CHECKING:
    from tests.flow.sdk.conftest import Heard, Line, Peer

ROOM = "chat/room/default"


def client(peer: "Peer", **settings: Any) -> RealtimeClient:
    return RealtimeClient(peer.url, **{"backoff": Backoff(0.01, 0.05), **settings})


async def subscribed(realtime: RealtimeClient, line: "Line", listener: "Heard") -> None:
    """Subscribe to the room over a greeted line."""
    subscribing = asyncio.create_task(realtime.channel("chat/room").on("*", listener).subscribe())
    frame = await line.hear("subscribe")
    await line.say("subscribed", topic=ROOM, cursor="c0", recovered=None, id=frame["id"])
    await subscribing


async def event(line: "Line", number: int) -> None:
    await line.say(
        "event", topic=ROOM, event="message", data=number, timestamp=1, id=f"i{number}", cursor=f"c{number}"
    )


async def test_it_connects_as_the_protocol_says(peer: "Peer") -> None:
    async with client(peer, api_key="key1", token="jwt1") as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        assert line.protocols == "aerostack-v1,aerostack-key.key1,aerostack-token.jwt1"
        assert realtime.status == "connected"


async def test_it_keeps_trying_a_server_that_is_not_well(peer: "Peer") -> None:
    peer.statuses = [503, 502, 500]
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        await peer.greeted()
        await connecting


async def test_it_keeps_trying_a_server_that_is_not_there() -> None:
    slept = asyncio.Event()
    attempts = []

    def random() -> float:
        attempts.append(1)
        if len(attempts) == 3:
            slept.set()
        return 0.0

    async with RealtimeClient("http://127.0.0.1:9", backoff=Backoff(0.001, 0.002, random=random)) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        await slept.wait()
        assert realtime.status == "connecting"
        await realtime.disconnect()
        with pytest.raises(Unavailable):
            await connecting


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (403, Forbidden), (404, NotFound)])
async def test_a_refused_upgrade_is_a_typed_error(peer: "Peer", status: int, error: type[AerostackError]) -> None:
    peer.statuses = [status]
    async with client(peer, api_key="very_secret") as realtime:
        with pytest.raises(error) as refused:
            await realtime.connect()
        assert realtime.status == "disconnected"
        assert refused.value.__cause__ is None
        assert "very_secret" not in str(refused.value)


@pytest.mark.parametrize("code", [4400, 4401, 4403, 4408])
async def test_a_final_close_code_ends_it(peer: "Peer", code: int) -> None:
    async with client(peer) as realtime:
        errors: asyncio.Queue[AerostackError] = asyncio.Queue()
        realtime.on_error(errors.put_nowait)
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        publishing = asyncio.create_task(realtime.channel("chat/room").publish("message"))
        await line.hear("publish")
        await line.socket.close(code=code, message=b"because")
        with pytest.raises(AerostackError, match="because"):
            await publishing
        assert "because" in (await errors.get()).message
        assert realtime.status == "disconnected"
        assert peer.lines.empty()


async def test_the_reason_of_a_refusal_is_told_as_the_server_worded_it(peer: "Peer") -> None:
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.line()
        await line.say("error", code="token_expired", message="The token expired at noon.", retryable=False)
        await line.socket.close(code=4401, message=b"token_expired")
        with pytest.raises(AerostackError, match="at noon") as refused:
            await connecting
        assert refused.value.code == "token_expired"


async def test_a_new_token_is_fetched_when_the_old_one_is_refused(peer: "Peer") -> None:
    tokens = iter(["second", "third"])

    async def get_token() -> str:
        return next(tokens)

    async with client(peer, token="first", get_token=get_token) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        first = await peer.line()
        await first.socket.close(code=4401)
        second = await peer.greeted()
        await connecting
        assert "aerostack-token.first" in first.protocols
        assert "aerostack-token.second" in second.protocols
        await second.socket.close(code=4401)
        assert "aerostack-token.third" in (await peer.greeted()).protocols


async def test_set_token_speaks_on_the_open_connection_and_revives_a_refused_one(peer: "Peer") -> None:
    async with client(peer, token="first") as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        realtime.set_token("second")
        assert (await line.hear("auth"))["token"] == "second"
        await line.socket.close(code=4401)
        line = await peer.greeted()
        assert "aerostack-token.second" in line.protocols
        ended = asyncio.Event()
        realtime.on_error(lambda _: ended.set())
        await line.socket.close(code=4401)
        await ended.wait()
        realtime.set_token("third")
        assert "aerostack-token.third" in (await peer.greeted()).protocols
        await realtime.connect()


async def test_a_silent_server_is_pinged_then_left(peer: "Peer") -> None:
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted(heartbeat=1)
        await connecting
        await line.hear("ping")
        await peer.greeted()  # it was never answered
        await realtime.connect()


async def test_an_answered_ping_keeps_the_connection(peer: "Peer") -> None:
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted(heartbeat=1)
        await connecting
        for _ in range(2):
            await line.hear("ping")
            await line.say("pong")
        assert peer.lines.empty()
        assert realtime.status == "connected"


async def test_a_reconnect_resumes_after_the_last_handled_event(peer: "Peer", heard: "type[Heard]") -> None:
    listener = heard()
    async with client(peer) as realtime:
        realtime.channel("chat/room")
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        await subscribed(realtime, line, listener)
        await event(line, 1)
        await listener.first(1)
        await line.socket.close(code=1012)
        line = await peer.greeted()
        frame = await line.hear("subscribe")
        assert frame["since"] == "c1"
        await line.say("subscribed", topic=ROOM, cursor="c1", recovered=True, id=frame["id"])
        await event(line, 1)
        await event(line, 2)
        assert [payload.data for payload in await listener.first(2)] == [1, 2]


async def test_what_cannot_be_resumed_is_told_as_a_gap(peer: "Peer", heard: "type[Heard]") -> None:
    everything, gaps = heard(), heard()
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        await subscribed(realtime, line, everything)
        channel = realtime.channel("chat/room").on("gap", gaps)
        await line.socket.close(code=1012)
        line = await peer.greeted()
        frame = await line.hear("subscribe")
        await line.say("subscribed", topic=ROOM, cursor="e2.7", recovered=False, id=frame["id"])
        assert (await gaps.first(1))[0].data == {"since": "c0"}
        assert (await everything.first(1))[0].type == "gap"
        await line.say("subscribed", topic=ROOM, cursor="e3.1", recovered=False)
        assert (await gaps.first(2))[1].cursor == "e3.1"
        await line.say("ack", id="nobody")
        assert channel.cursor == "e3.1"


async def test_unacknowledged_publishes_are_sent_again_under_their_ids_in_order(peer: "Peer") -> None:
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        channel = realtime.channel("chat/room")
        publishing = [asyncio.create_task(channel.publish("message", number)) for number in range(3)]
        sent = [await line.hear("publish") for _ in range(3)]
        await line.say("ack", id=sent[1]["id"], cursor="c1", timestamp=1)
        await publishing[1]
        await line.socket.close(code=1012)
        away = asyncio.create_task(channel.publish("message", 3))
        line = await peer.greeted()
        again = [await line.hear("publish") for _ in range(3)]
        assert [frame["data"] for frame in again] == [0, 2, 3]
        assert [frame["id"] for frame in again[:2]] == [sent[0]["id"], sent[2]["id"]]
        for frame in again:
            await line.say("ack", id=frame["id"], cursor="c2", timestamp=2, duplicate=frame["data"] == 0)
        acks = await asyncio.gather(*publishing, away)
        assert [ack.duplicate for ack in acks] == [True, False, False, False]


async def test_a_cancelled_publish_is_not_sent_again(peer: "Peer") -> None:
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        channel = realtime.channel("chat/room")
        cancelled = asyncio.create_task(channel.publish("message", 1))
        await line.hear("publish")
        cancelled.cancel()
        await line.socket.close(code=1012)
        kept = asyncio.create_task(channel.publish("message", 2))
        line = await peer.greeted()
        frame = await line.hear("publish")
        assert frame["data"] == 2
        await line.say("ack", id=frame["id"])
        await kept


async def test_a_subscription_that_is_not_restored_is_told(peer: "Peer", heard: "type[Heard]") -> None:
    listener = heard()
    errors: asyncio.Queue[AerostackError] = asyncio.Queue()
    async with client(peer) as realtime:
        realtime.on_error(errors.put_nowait)
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        await subscribed(realtime, line, listener)
        await line.socket.close(code=1012)
        line = await peer.greeted()
        frame = await line.hear("subscribe")
        await line.say(
            "error", code="forbidden", message="Not any more.", retryable=False, topic=ROOM, id=frame["id"]
        )
        assert isinstance(await errors.get(), Forbidden)
        assert not realtime.channel("chat/room").subscribed


async def test_a_subscription_ended_by_the_server_is_told_and_ends_its_iterations(peer: "Peer") -> None:
    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        iterating = asyncio.ensure_future(anext(aiter(realtime.channel("chat/room"))))
        frame = await line.hear("subscribe")
        await line.say("subscribed", topic=ROOM, cursor="c0", recovered=None, id=frame["id"])
        await line.say("unsubscribed", topic=ROOM, reason="You may no longer read it.")
        with pytest.raises(Unavailable, match="no longer"):
            await iterating


async def test_a_channel_whose_handlers_lag_is_paused_and_caught_up(peer: "Peer", heard: "type[Heard]") -> None:
    release, listener = asyncio.Event(), heard()

    async def lagging(payload: Payload) -> None:
        await release.wait()
        listener(payload)

    async with client(peer) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        await subscribed(realtime, line, heard())
        realtime.channel("chat/room").on("message", lagging)
        for number in range(1, BUFFER + 100):
            await event(line, number)
        await line.hear("unsubscribe")  # the others of this connection are read on
        publishing = asyncio.create_task(realtime.channel("chat/other").publish("message"))
        await line.say("ack", id=(await line.hear("publish"))["id"])
        await publishing
        release.set()
        frame = await line.hear("subscribe")
        last = int(frame["since"].removeprefix("c"))
        await line.say("subscribed", topic=ROOM, cursor=frame["since"], recovered=True, id=frame["id"])
        for number in range(last + 1, BUFFER + 100):
            await event(line, number)
        payloads = await listener.first(BUFFER + 99)
        assert [payload.data for payload in payloads] == list(range(1, BUFFER + 100))


async def test_nonsense_from_the_server_is_told_and_survived(peer: "Peer") -> None:
    errors: asyncio.Queue[AerostackError] = asyncio.Queue()
    async with client(peer) as realtime:
        realtime.on_error(errors.put_nowait)
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.greeted()
        await connecting
        await line.socket.send_str("{")
        await line.socket.send_str('{"type":"event"}')
        await line.say("from_the_future")
        assert [(await errors.get()).code for _ in range(2)] == ["bad_message", "bad_message"]
        publishing = asyncio.create_task(realtime.channel("chat/room").publish("message"))
        await line.say("ack", id=(await line.hear("publish"))["id"])
        await publishing
