"""Counting: what a flush adds, and in which bucket a duration falls."""

from msgspec import Raw

from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.counters import ChannelCounters, Counters, Histogram
from aerostack_realtime.protocol import frames, messages
from tests.unit.channels.peers import Peer, Tick


def event(n: int) -> bytes:
    return frames.encode(messages.Event("a/b", "m", Raw(b"%d" % n), 1, str(n), f"e.{n}"))


class Room:
    def __init__(self, limit: int = 1 << 20) -> None:
        self.counters = ChannelCounters()
        self.tick = Tick()
        self.audience = Audience(lambda each: self.tick.defer(each.flush), limit, lambda _: None, self.counters)

    def send(self, frame: bytes, without: Peer | None = None) -> None:
        """An event of the channel."""
        self.audience.append(frame, False, without, len(frame))

    def add(self, count: int, *, presence: bool = True, policy: Policy | None = None) -> list[Peer]:
        peers = [Peer(f"{presence}{policy}{index}") for index in range(count)]
        for peer in peers:
            self.audience.add(peer, presence=presence, policy=policy)
        return peers


def test_a_flush_counts_its_frames_for_each_subscriber() -> None:
    room = Room()
    peers = room.add(3)
    room.audience.append(event(1))
    room.audience.append(event(2))
    room.tick.end()
    written = sum(len(part) for peer in peers for part in peer.written)
    assert (room.counters.deliveries, room.counters.bytes) == (6, written)


def test_presence_is_counted_apart_and_not_for_the_quiet() -> None:
    room = Room()
    hearing, quiet = room.add(2), room.add(5, presence=False)
    room.audience.append(event(1), presence=True)
    room.audience.append(event(2))
    room.tick.end()
    written = sum(len(part) for peer in (*hearing, *quiet) for part in peer.written)
    counters = room.counters
    assert (counters.presence_deliveries, counters.deliveries, counters.bytes) == (2, 7, written)


def test_an_event_withheld_from_its_sender_is_not_a_delivery() -> None:
    room = Room()
    sender, _ = room.add(2)
    room.audience.append(event(1), without=sender)
    room.tick.end()
    assert room.counters.deliveries == 1


def test_events_are_counted_for_those_who_were_sent_them() -> None:
    room = Room()
    room.audience.notes_events = True
    [leaving], [first] = room.add(1), room.add(1)
    room.send(event(1))
    room.tick.end()
    room.send(event(2))
    room.audience.remove(leaving)
    room.tick.end()
    [second] = room.add(1)
    room.send(event(3))
    room.tick.end()
    room.audience.append(event(4))  # not an event of the channel: a gap, for example
    room.tick.end()
    room.counters.count()
    written = sum(len(part) for peer in (leaving, first, second) for part in peer.written)
    counters = room.counters
    assert (counters.events, counters.deliveries, counters.bytes) == (3, 2 + 1 + 2 + 2, written)


def test_noted_events_are_counted_once_under_any_flushes() -> None:
    room = Room()
    room.audience.notes_events = True
    sender, _, quiet = *room.add(2), *room.add(1, presence=False)
    room.send(event(1))
    room.send(event(2), without=sender)
    room.audience.append(event(3), presence=True)
    room.tick.end()
    for _ in range(2):
        room.counters.count()
    counters = room.counters
    assert len(quiet.written) == 1
    assert (counters.events, counters.deliveries, counters.presence_deliveries) == (2, 3 + 2, 2)


def test_publishes_are_counted_with_their_bytes() -> None:
    counters = Counters()
    counters.noted += [100, 300]
    counters.count()
    counters.count()
    assert (counters.publishes, counters.bytes_in, counters.noted) == (2, 400, [])


def test_slow_consumers_are_counted_by_policy() -> None:
    room = Room(limit=100_000)
    [closed], [latest] = room.add(1), room.add(1, policy=Policy("latest"))
    [dropping] = room.add(1, policy=Policy("drop"))
    for peer in (closed, latest, dropping):
        peer.stalled = 200_000
    room.audience.append(event(1))
    room.tick.end()
    dropping.stalled = 0
    room.audience.append(event(2))
    room.tick.end()
    counters = room.counters
    assert (counters.slow_resume, counters.slow_latest, counters.slow_drop, counters.dropped) == (1, 1, 1, 1)


def test_a_duration_falls_into_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(seconds)
    assert (histogram.counts, histogram.total, histogram.sum) == ([2, 1, 1], 4, 7.65)


def test_channels_of_one_rule_share_their_counters() -> None:
    counters = Counters(rule_of=lambda topic: topic.split("/")[0])
    assert counters.channel("chat/1", "event") is counters.channel("chat/2", "event")
    assert counters.channel("chat/1", "event") is not counters.channel("game/1", "event")


def test_noted_acknowledgements_fall_into_the_same_buckets() -> None:
    counters, expected = Counters(), Histogram()
    durations = [*expected.bounds, 0.0, 0.00011, 4.0, 1000.0, 0.0001]
    for seconds in durations:
        expected.observe(seconds)
        counters.acknowledged.append(seconds)
    assert (counters.acks, counters.publish_ack.total) == (0, 0)
    counters.count()
    counters.count()
    assert counters.acks == len(durations)
    assert counters.publish_ack.counts == expected.counts
    assert abs(counters.publish_ack.sum - expected.sum) < 1e-6
