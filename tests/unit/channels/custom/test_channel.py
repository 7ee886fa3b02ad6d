"""A custom channel: one audience for everyone, and a second one for the connections that send `chat`."""

from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.log import Bounds, Log
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.protocol import frames
from tests.unit.channels.peers import Peer, Tick

TOPIC = "chat/general/default"


def channel(tick: Tick) -> CustomChannel:
    def audience() -> Audience:
        return Audience(lambda each: tick.defer(each.flush), 1000, lambda _: None)

    log: Log = Logs([("*", Bounds(10, 1000, 1_000_000))], 1000).log(TOPIC, 0)
    return CustomChannel(TOPIC, audience, log)


def test_a_subscriber_that_uses_chat_moves_with_its_terms() -> None:
    tick, peer, quiet = Tick(), Peer("1"), Peer("2")
    room = channel(tick)
    room.add(peer, None, presence=True)
    room.add(quiet, None, presence=False, uses_chat=True)
    room.audience.append(frames.text(b'{"n":1}'))
    room.use_chat(peer)
    assert [message["n"] for message in peer.take()] == [1]
    assert room.chat_audience is not None
    room.chat_audience.append(frames.text(b'{"n":2}'), presence=True)
    tick.end()
    assert [message["n"] for message in peer.take()] == [2]
    assert quiet.take() == []
    assert len(room.audience) == 0
    assert len(list(room.audiences())) == 2


def test_the_audience_of_chat_ends_with_its_last_subscriber() -> None:
    room, peer = channel(Tick()), Peer("1")
    room.add(peer, None, presence=True, uses_chat=True)
    assert room.remove(peer)
    assert not room.remove(peer)
    assert room.chat_audience is None


def test_a_subscriber_with_a_policy_stays_in_the_audience_of_all() -> None:
    room, peer = channel(Tick()), Peer("1")
    room.add(peer, Policy("drop", ()), presence=True, uses_chat=True)
    assert room.chat_audience is None
    assert len(room.audience) == 1
