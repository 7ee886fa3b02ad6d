"""What the client does when its peer refuses, falls silent, or loses its memory: a server that obeys the test."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    Internal,
    NotFound,
    Unauthorized,
    Unavailable,
)
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.client import RealtimeClient

if TYPE_CHECKING:
    from tests.flow.sdk.conftest import EventRecorder, Peer


async def test_it_connects_as_the_protocol_says(peer: "Peer") -> None:
    async with peer.client(api_key="key1", token="jwt1") as realtime:
        line = await peer.connect(realtime)
        assert line.protocols == "aerostack-v1,aerostack-key.key1,aerostack-token.jwt1"
        assert realtime.status == "connected"


async def test_it_retries_a_failing_server(peer: "Peer") -> None:
    peer.statuses = [503, 502, 500]
    async with peer.client() as realtime:
        connecting = asyncio.create_task(realtime.connect())
        await peer.accept()
        await connecting


async def test_it_retries_an_unreachable_server() -> None:
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
    async with peer.client(api_key="very_secret") as realtime:
        with pytest.raises(error) as refused:
            await realtime.connect()
        assert realtime.status == "disconnected"
        assert refused.value.__cause__ is None
        assert "very_secret" not in str(refused.value)


@pytest.mark.parametrize("code", [4400, 4401, 4403, 4408])
async def test_a_final_close_code_ends_it(peer: "Peer", code: int) -> None:
    async with peer.client() as realtime:
        errors: asyncio.Queue[AerostackError] = asyncio.Queue()
        realtime.on_error(errors.put_nowait)
        line = await peer.connect(realtime)
        publishing = asyncio.create_task(realtime.channel("chat/room").publish("message"))
        await line.receive("publish")
        await line.socket.close(code=code, message=b"because")
        with pytest.raises(AerostackError, match="because"):
            await publishing
        assert "because" in (await errors.get()).message
        assert realtime.status == "disconnected"
        assert peer.lines.empty()


async def test_a_refusal_carries_the_sentence_of_the_server(peer: "Peer") -> None:
    async with peer.client() as realtime:
        connecting = asyncio.create_task(realtime.connect())
        line = await peer.line()
        await line.send("error", code="token_expired", message="The token expired at noon.", retryable=False)
        await line.socket.close(code=4401, message=b"token_expired")
        with pytest.raises(AerostackError, match="at noon") as refused:
            await connecting
        assert refused.value.code == "token_expired"


async def test_a_new_token_is_fetched_when_the_old_one_is_refused(peer: "Peer") -> None:
    tokens = iter(["second", "third"])

    async def get_token() -> str:
        return next(tokens)

    async with peer.client(token="first", get_token=get_token) as realtime:
        connecting = asyncio.create_task(realtime.connect())
        first = await peer.line()
        await first.socket.close(code=4401)
        second = await peer.accept()
        await connecting
        assert "aerostack-token.first" in first.protocols
        assert "aerostack-token.second" in second.protocols
        await second.socket.close(code=4401)
        assert "aerostack-token.third" in (await peer.accept()).protocols


async def test_set_token_is_sent_at_once_and_reconnects_after_a_refusal(peer: "Peer") -> None:
    async with peer.client(token="first") as realtime:
        line = await peer.connect(realtime)
        realtime.set_token("second")
        assert (await line.receive("auth"))["token"] == "second"
        await line.socket.close(code=4401)
        line = await peer.accept()
        assert "aerostack-token.second" in line.protocols
        ended = asyncio.Event()
        realtime.on_error(lambda _: ended.set())
        await line.socket.close(code=4401)
        await ended.wait()
        realtime.set_token("third")
        assert "aerostack-token.third" in (await peer.accept()).protocols
        await realtime.connect()


async def test_a_silent_server_is_pinged_then_disconnected(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime, heartbeat=1)
        await line.receive("ping")
        await peer.accept()  # it was never answered
        await realtime.connect()


async def test_an_answered_ping_keeps_the_connection(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime, heartbeat=1)
        for _ in range(2):
            await line.receive("ping")
            await line.send("pong")
        assert peer.lines.empty()
        assert realtime.status == "connected"


async def test_a_subscription_ended_by_the_server_ends_its_iterations(peer: "Peer") -> None:
    async with peer.client() as realtime:
        line = await peer.connect(realtime)
        iterating = asyncio.ensure_future(anext(aiter(realtime.channel("chat/room"))))
        frame = await line.receive("subscribe")
        await line.confirm(frame)
        await line.send("unsubscribed", topic=line.room, reason="You may no longer read it.")
        with pytest.raises(Unavailable, match="no longer"):
            await iterating


async def test_unreadable_nesting_is_reported_and_skipped(peer: "Peer", recorder: "type[EventRecorder]") -> None:
    errors: asyncio.Queue[AerostackError] = asyncio.Queue()
    listener = recorder()
    async with peer.client() as realtime:
        realtime.on_error(errors.put_nowait)
        line = await peer.connect(realtime)
        await line.admit(realtime, listener)
        for depth in (200_000, 960):  # beyond every interpreter's limit, and perhaps beyond that of the data alone
            data = "[" * depth + "]" * depth
            await line.socket.send_str(
                f'{{"type":"event","topic":"{line.room}","event":"deep","data":{data},'
                f'"timestamp":1,"id":"deep","cursor":"d{depth}"}}'
            )
        await line.message(1)
        assert (await listener.named("message")).data == 1
        assert isinstance(await errors.get(), BadMessage)
        assert realtime.status == "connected"


async def test_malformed_frames_are_reported_and_skipped(peer: "Peer") -> None:
    errors: asyncio.Queue[AerostackError] = asyncio.Queue()
    async with peer.client() as realtime:
        realtime.on_error(errors.put_nowait)
        line = await peer.connect(realtime)
        await line.socket.send_str("{")
        await line.socket.send_str('{"type":"event"}')
        await line.send("from_the_future")
        assert [(await errors.get()).code for _ in range(2)] == ["bad_message", "bad_message"]
        publishing = asyncio.create_task(realtime.channel("chat/room").publish("message"))
        await line.send("ack", id=(await line.receive("publish"))["id"])
        await publishing


async def test_an_expiring_token_is_renewed_on_the_open_connection(peer: "Peer") -> None:
    tokens = iter(["second"])
    errors: list[AerostackError] = []
    async with peer.client(token="first", get_token=lambda: next(tokens)) as realtime:
        realtime.on_error(errors.append)
        line = await peer.connect(realtime)
        await line.send("error", code="token_expired", message="The token has expired.", retryable=False)
        assert (await line.receive("auth"))["token"] == "second"
        await line.send("authenticated", userId="ann")
        assert errors == []


async def test_an_expired_token_without_get_token_is_reported(peer: "Peer") -> None:
    errors: asyncio.Queue[AerostackError] = asyncio.Queue()
    async with peer.client(token="first") as realtime:
        realtime.on_error(errors.put_nowait)
        line = await peer.connect(realtime)
        await line.send("error", code="token_expired", message="The token has expired.", retryable=False)
        assert (await errors.get()).code == "token_expired"


async def test_an_address_without_a_server_is_one_sentence(peer: "Peer") -> None:
    peer.statuses = [404]
    async with peer.client() as realtime:
        with pytest.raises(NotFound, match=r"There is no Aerostack server at http://127.0.0.1:\d+ \(HTTP 404\)"):
            await realtime.connect()


async def test_a_revoked_right_ends_presence_for_good(peer: "Peer") -> None:
    async with peer.client() as realtime:
        realtime.on_error(lambda _: None)
        line = await peer.connect(realtime)
        channel = realtime.channel("chat/room")
        tracking = asyncio.create_task(channel.track({"name": "Ann"}))
        await line.send("ack", id=(await line.receive("track"))["id"])
        await tracking
        subscribing = asyncio.create_task(channel.subscribe())
        await line.confirm(await line.receive("subscribe"))
        await subscribing
        iterating = asyncio.ensure_future(anext(aiter(channel)))
        await line.send("unsubscribed", topic=line.room, reason="forbidden")
        with pytest.raises(Forbidden):
            await iterating
        await line.socket.close(code=1012)
        line = await peer.accept()
        publishing = asyncio.create_task(channel.publish("message"))
        await line.send("ack", id=(await line.frames.get())["id"])  # neither subscribe nor track comes first
        await publishing


def stored(depth: int) -> bytes:
    """The answer to a history call: one message whose data has that many levels."""
    data = b"[" * depth + b"]" * depth
    message = b'{"id":"1","room_id":"r","user_id":"","event":"e","created_at":1,"data":%b}' % data
    return b'{"messages":[%b]}' % message


async def test_history_reads_messages_at_the_largest_nesting_of_a_server(peer: "Peer") -> None:
    async with peer.client() as realtime:
        peer.history = stored(500)
        assert len(await realtime.history("chat/room")) == 1


async def test_history_nested_too_deeply_for_python_is_a_bad_message(peer: "Peer") -> None:
    async with peer.client() as realtime:
        peer.history = stored(100_000)
        with pytest.raises(BadMessage, match="nested deeper"):
            await realtime.channel("chat/room").get_history()


NO_HISTORY = [b"", b"{", b"[]", b'{"messages":[{"id":1}]}', b"<html>", b'{"messages":["\xff"]}']


@pytest.mark.parametrize("body", NO_HISTORY)
async def test_an_unreadable_history_answer_is_an_internal_error(peer: "Peer", body: bytes) -> None:
    async with peer.client() as realtime:
        peer.history = body
        with pytest.raises(Internal, match="cannot be read"):
            await realtime.history("chat/room")
