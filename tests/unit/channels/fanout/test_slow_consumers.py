"""Subscribers that stay when they are slow: they are sent what is kept when their peer has caught up."""

from typing import Any

from msgspec import Raw

from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.channels.fanout.slow_consumers import DRAINED_BYTES, SlowConsumers
from aerostack_realtime.protocol import frames, messages
from tests.unit.channels.peers import Peer, Tick

ROOM = "chat/room/default"
LATEST, DROP = Policy("latest", ("id",)), Policy("drop")
LIMIT = 1_000_000


class Stage:
    """An audience, the end of its ticks, and those who lag."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.tick = Tick()
        self.lagging: list[SlowConsumers] = []
        self.audience = Audience(lambda each: self.tick.defer(each.flush), limit, self.lagging.append)
        self._position = 0

    def peer(self, policy: Policy | None, *, presence: bool = True) -> Peer:
        peer = Peer(str(self._position))
        self.audience.add(peer, presence=presence, policy=policy)
        return peer

    def say(self, data: bytes, name: str = "moved", **how: Any) -> None:
        self._position += 1
        message = messages.Event(ROOM, name, Raw(data), 1, "m", f"e.{self._position}", "ann")
        self.audience.append(frames.text(messages.encode(message)), **how)
        self.tick.end()

    def look(self) -> bool:
        self.lagging[:] = [each for each in self.lagging if each.check()]
        return bool(self.lagging)


def data(peer: Peer) -> list[Any]:
    return [message["data"] if message["type"] == "event" else message for message in peer.take()]


def test_a_fast_subscriber_gets_every_event() -> None:
    stage = Stage()
    peers = [stage.peer(each) for each in (None, LATEST, DROP)]
    stage.say(b"1")
    stage.say(b"2")
    assert [data(peer) for peer in peers] == [[1, 2]] * 3
    assert stage.lagging == []


def test_a_slow_subscriber_gets_the_newest_once_it_caught_up() -> None:
    stage = Stage()
    peer = stage.peer(LATEST)
    peer.stalled = DRAINED_BYTES + 1
    for n in range(5):
        stage.say(b'{"id":%d,"n":%d}' % (n % 2, n))
    assert stage.look()
    assert peer.written == []
    peer.stalled = 0
    assert not stage.look()
    assert data(peer) == [{"id": 1, "n": 3}, {"id": 0, "n": 4}]
    assert not stage.look()
    assert peer.written == []


def test_an_event_after_the_peer_has_caught_up_comes_behind_what_was_kept() -> None:
    stage = Stage()
    peer = stage.peer(LATEST)
    peer.stalled = DRAINED_BYTES + 1
    stage.say(b"1")
    stage.say(b"2")
    peer.stalled = 0
    stage.say(b"3")
    assert data(peer) == [2, 3]
    assert not stage.look()


def test_events_are_dropped_above_a_quarter_until_it_is_empty() -> None:
    stage = Stage()
    peer = stage.peer(DROP)
    peer.stalled = LIMIT // 4
    stage.say(b"1")
    peer.stalled += 1
    stage.say(b"2")
    peer.stalled = DRAINED_BYTES + 1
    stage.say(b"3")
    assert stage.look()
    peer.stalled = 0
    stage.say(b"4")
    gap = {"type": "subscribed", "topic": ROOM, "cursor": "e.3", "recovered": False, "dropped": 2}
    assert data(peer) == [1, gap, 4]


def test_a_backlog_beyond_the_limit_ends_the_subscriber_and_nobody_else() -> None:
    stage = Stage(limit=100_000)
    many, few, resuming = stage.peer(LATEST), stage.peer(Policy("latest")), stage.peer(None)
    many.stalled = few.stalled = DRAINED_BYTES + 1
    for n in range(100):
        stage.say(b'{"id":%d,"text":"%s"}' % (n, b"x" * 1_000))
        if many.overflowed:
            stage.audience.remove(many)
    assert (many.overflowed, few.overflowed, resuming.overflowed) == (1, 0, 0)
    assert len(data(resuming)) == 100


def test_slow_subscribers_get_no_unwanted_presence_and_echo() -> None:
    stage = Stage()
    peer = stage.peer(LATEST, presence=False)
    for stalled in (0, DRAINED_BYTES + 1):
        peer.stalled = stalled
        stage.say(b"1")
        stage.say(b'{"userId":"ann"}', "presence:join", presence=True)
        stage.say(b"2", without=peer)
        peer.stalled = 0
        stage.look()
        assert data(peer) == [1]


def test_subscribing_again_replaces_the_policy() -> None:
    stage = Stage()
    peer = stage.peer(LATEST)
    peer.stalled = DRAINED_BYTES + 1
    stage.say(b"1")
    stage.audience.add(peer, presence=True)
    assert not stage.look()
    stage.say(b"2")
    assert data(peer) == [2]
    assert len(stage.audience) == 1


def test_a_subscriber_that_left_gets_nothing_that_waited() -> None:
    stage = Stage()
    peer = stage.peer(LATEST)
    peer.stalled = DRAINED_BYTES + 1
    stage.say(b"1")
    stage.audience.remove(peer)
    peer.stalled = 0
    assert not stage.look()
    assert peer.written == []
    assert len(stage.audience) == 0
