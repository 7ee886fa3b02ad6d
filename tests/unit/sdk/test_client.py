"""What holds without a connection; with one, see tests/flow/sdk."""

import gc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aerostack_realtime.protocol.errors import InvalidTopic
from aerostack_realtime.protocol.messages import Advice, decode_reply
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.payload import Payload


def client() -> RealtimeClient:
    return RealtimeClient("http://127.0.0.1:9", project_id="default")


def ignore(_: Payload) -> None: ...


SPEC = Path(__file__).parents[3] / "spec" / "server-frames.json"


@pytest.mark.parametrize("example", msgspec.json.decode(SPEC.read_bytes()), ids=lambda each: each["name"])
async def test_every_frame_of_the_spec_is_accepted(example: dict[str, Any]) -> None:
    reply = decode_reply(msgspec.json.encode(example["frame"]))
    assert reply is not None
    realtime = client()
    for topic in ("chat/general", "orders"):
        realtime.channel(topic).on("*", ignore)
    realtime._session.received(reply)


def test_one_topic_is_one_channel_however_it_is_written() -> None:
    realtime = client()
    channel = realtime.channel("orders")
    assert realtime.channel("table/orders") is channel
    assert realtime.channel("table/orders/default") is channel
    assert channel.topic == "orders"


def test_without_a_project_topics_are_sent_without_it() -> None:
    for project in (None, ""):
        realtime = RealtimeClient("http://127.0.0.1:9", project_id=project)
        channel = realtime.channel("orders")
        assert realtime.channel("table/orders") is channel
        assert channel._subscription.wire_topic == "table/orders"
        assert realtime.channel("chat/general")._subscription.wire_topic == "chat/general"


def test_a_channel_with_listeners_is_kept() -> None:
    realtime = client()
    first = id(realtime.channel("chat/room").on("message", ignore))
    gc.collect()
    assert id(realtime.channel("chat/room")) == first


def test_an_unused_channel_is_released() -> None:
    realtime = client()
    for room in range(100):
        realtime.channel(f"chat/{room}").on("message", ignore).off("message", ignore)
    gc.collect()
    assert len(realtime._session.channels) == 0
    assert len(realtime._session.in_use) == 0


def test_an_invalid_topic_is_refused_at_once() -> None:
    with pytest.raises(InvalidTopic):
        client().channel("no spaces")


def test_on_and_off_chain() -> None:
    channel = client().channel("chat/room")
    assert channel.on("a", ignore).on("b", ignore).off("a", ignore).off("b") is channel


async def test_cleaning_up_what_never_started_does_nothing() -> None:
    async with client() as realtime:
        channel = realtime.channel("chat/room").on("message", ignore)
        await channel.untrack()
        await channel.unsubscribe()
        assert realtime.status == "idle"
    assert realtime.status == "idle"


def test_advice_of_a_server_in_development_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    client()._session.received(Advice("chat/general/default", "Nothing has arrived."))
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "Nothing has arrived.")
    ]
