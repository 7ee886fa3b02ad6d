"""How slow readers of tables share the time that nobody else needs, without sockets, threads and time."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import pytest

from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.fanout.audience import Audience, Behind
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.store_reading import Reader
from aerostack_realtime.channels.table_readers import (
    BUSY_CHANGES,
    BUSY_SECONDS,
    BUSY_SHARE,
    FAR_CHANGES,
    IDLE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    PART_CHANGES,
    TURN_BYTES,
    TableReaders,
    pause_after,
)
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import Change, ChangeFeed, Replay
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.records import ConnectionRecords
from tests.unit.channels.peers import Peer, Tick

TOPIC = "table/orders/p"
LIMIT = 1 << 22


class Stage:
    """Slow readers of one table behind its first change, and its log of `count` changes, which is read when the
    test asks for it. `work` is what each look at the clock adds to it, and `now` what the clock shows."""

    def __init__(self, count: int, work: float = 0.0) -> None:
        self.work, self.now = work, 0.0
        self.log = [
            Change("orders", "INSERT", {"id": id, "note": "x" * 100}, None, 0, f"{id}") for id in range(count)
        ]
        self.asked: list[tuple[str, Callable[[], None]]] = []
        self.sizes: list[int | None] = []
        """How many changes each read asked for at most."""
        self.delays: list[float] = []
        self.timers: list[Callable[[], None]] = []
        self.peers: list[Peer] = []
        self.far: set[int] = set()
        """Where the log is distant, as the ids of changes."""
        self._tick = Tick()
        self._readers: list[Reader] = []
        self._registry = Registry(
            self._tick.defer, self._wait, LIMIT, Logs([], 1 << 20), ConnectionRecords(lambda: 0.0)
        )
        self._registry.fell_behind = self._fell_behind
        self._served = TableReaders(
            registry=self._registry,
            changes=cast(ChangeFeed, self),
            soon=self._tick.defer,
            later=self._wait,
            clock=self._clock,
            limit=LIMIT,
            rejoin=self._rejoin,
        )

    def slow(self, *, own_view: bool = False) -> Peer:
        """A reader behind the first change, whose client takes everything now; `own_view`: it shares nothing."""
        channel = self._registry.table(TOPIC, "orders")
        peer = Peer(f"{len(self.peers)}")
        wanted = {"id": {"gte": -len(self.peers)}} if own_view else {}
        channel.add(peer, channel.views.view(wanted, ("id", "note")), None, presence=True)
        peer.stalled = LIMIT
        channel.deliver(self.log[:1])
        self._registry.flush()
        peer.stalled = 0
        peer.written.clear()
        self.peers.append(peer)
        return peer

    def begin(self) -> None:
        for each in self._readers:
            self._served.look(each)
        self._served.serve()

    def step(self) -> None:
        """The next iteration of the loop."""
        due, self._tick.deferred[:] = list(self._tick.deferred), []
        for call in due:
            call()
        timers, self.timers[:] = list(self.timers), []
        for call in timers:
            call()

    def read(self) -> None:
        """Answer the reads that were asked for."""
        asked, self.asked[:] = list(self.asked), []
        for _, answer in asked:
            answer()

    def parts(self) -> list[int]:
        """How often each peer was written to."""
        return [len(peer.written) for peer in self.peers]

    def replay(
        self,
        table: str,
        since: str,
        then: Callable[[Replay], None],
        failed: Callable[[AerostackError], None],
        most: int | None = None,
    ) -> None:
        self.sizes.append(most)
        first = int(since) + 1
        part: Sequence[Change] = self.log[first : first + (most or len(self.log))]
        recent = first not in self.far
        more = first + len(part) < len(self.log)
        if not recent:
            self.far.add(first + len(part))
        replay = Replay(part, part[-1].cursor if part else since, True, more, recent)
        self.asked.append((since, lambda: then(replay)))

    def is_behind(self) -> bool:
        return False

    def _clock(self) -> float:
        self.now += self.work
        return self.now

    def _wait(self, delay: float, call: Callable[[], None]) -> None:
        self.delays.append(delay)
        self.timers.append(call)

    def _fell_behind(
        self, audience: Audience, subscriber: Subscriber, behind: Behind, sent: Sequence[bytes]
    ) -> bool:
        assert sent
        self._readers.append(Reader(TOPIC, subscriber, audience, behind, "0", False))
        return True

    def _rejoin(self, reader: Reader, channel: TableChannel) -> None:
        channel.view(reader.subscriber).audience.add(reader.subscriber, presence=True)


def finish(stage: Stage) -> None:
    for _ in range(10_000):
        stage.step()
        stage.read()


@pytest.mark.parametrize("work", [0.0, IDLE_SECONDS])
def test_readers_are_served_in_turn_whether_the_loop_is_busy_or_idle(work: float) -> None:
    stage = Stage(20 * PART_CHANGES, work)
    for _ in range(7):
        stage.slow(own_view=True)
    stage.begin()
    while max(stage.parts()) < 15:
        assert max(stage.parts()) - min(stage.parts()) <= 1
        assert len(stage.asked) <= 1, "one part is read at a time"
        stage.read()
        stage.step()
    assert bool(stage.delays) is bool(work)
    assert all(0 < delay <= LONGEST_PAUSE_SECONDS for delay in stage.delays)


def test_every_reader_gets_the_whole_log_once_in_order() -> None:
    stage = Stage(5 * PART_CHANGES)
    for number in range(9):
        stage.slow(own_view=number % 2 == 0)
    stage.begin()
    finish(stage)
    for peer in stage.peers:
        assert [each["data"]["id"] for each in peer.take()] == list(range(1, 5 * PART_CHANGES))


def test_one_read_serves_all_who_are_at_the_same_place() -> None:
    stage = Stage(10 * PART_CHANGES + 1)
    for _ in range(50):
        stage.slow()
    stage.begin()
    reads = 0
    while stage.asked:
        reads += len(stage.asked)
        stage.read()
        while not stage.asked and min(stage.parts()) < 10:
            stage.step()
    assert stage.parts() == [10] * 50
    assert reads < 2 * 10 + 50, "ten parts, and for each reader the question whether there is more"


def test_a_turn_writes_a_bounded_number_of_bytes() -> None:
    stage = Stage(3 * PART_CHANGES)
    for _ in range(100):
        stage.slow()
    stage.begin()
    largest = 0
    while min(stage.parts()) < 2:
        before = sum(stage.parts())
        stage.read()
        stage.step()
        size = max(len(data) for peer in stage.peers for data in peer.written)
        written = sum(stage.parts()) - before
        largest = max(largest, written)
        assert written * size <= TURN_BYTES + 3 * size
    assert largest > 1


def test_a_client_that_takes_nothing_is_not_served_and_delays_nobody() -> None:
    stage = Stage(4 * PART_CHANGES)
    stuck, other = stage.slow(), stage.slow()
    stuck.stalled = LIMIT
    stage.begin()
    finish(stage)
    assert (len(stuck.written), len(other.take())) == (0, 4 * PART_CHANGES - 1)


def test_a_distant_log_does_not_delay_readers_of_the_recent_one() -> None:
    stage = Stage(30 * PART_CHANGES)
    stage.far.add(1)
    distant = stage.slow(own_view=True)
    stage.begin()
    stage.read()
    while not stage.asked:
        stage.step()
    assert (len(distant.written), len(stage.asked)) == (1, 1)
    stage.far.clear()
    recent = stage.slow(own_view=True)
    stage.begin()
    unanswered = stage.asked.pop(0)
    for _ in range(100):
        stage.read()
        stage.step()
    assert len(recent.take()) == 30 * PART_CHANGES - 1
    unanswered[1]()
    assert len(distant.written) == 2


def test_a_reader_of_a_distant_log_continues_before_the_next_one() -> None:
    stage = Stage(2 * FAR_CHANGES)
    stage.far.add(1)
    one, other = stage.slow(own_view=True), stage.slow(own_view=True)
    stage.begin()
    turns: list[Peer] = []
    while len(turns) < 2 * FAR_CHANGES // PART_CHANGES:
        before = stage.parts()
        stage.read()
        turns += [peer for peer, count in zip(stage.peers, before, strict=True) if len(peer.written) > count]
        stage.step()
    changes = sum(left is not right for left, right in pairwise(turns))
    assert changes <= 5
    assert {id(each) for each in turns} == {id(one), id(other)}


@pytest.mark.parametrize("worked", [0.0001, 0.001])
def test_a_busy_loop_leaves_slow_readers_their_share(worked: float) -> None:
    for others, reading in ((2 * IDLE_SECONDS, False), (0.0, True)):
        pause = pause_after(worked, others, reading=reading)
        assert worked / (worked + pause) == pytest.approx(BUSY_SHARE)


def test_an_idle_loop_leaves_slow_readers_all_of_its_time() -> None:
    assert pause_after(1.0, IDLE_SECONDS / 2, reading=False) == 0.0


def test_no_turn_is_followed_by_a_long_pause() -> None:
    assert pause_after(10.0, 10.0, reading=True) == LONGEST_PAUSE_SECONDS


def test_turns_stay_short_in_the_gaps_between_two_transactions() -> None:
    stage = Stage(100 * PART_CHANGES, work=2 * IDLE_SECONDS)
    stage.slow()

    def next_size() -> int | None:
        count = len(stage.sizes)
        while len(stage.sizes) == count:
            stage.read()
            stage.step()
        return stage.sizes[-1]

    stage.begin()
    assert stage.sizes == [PART_CHANGES]
    assert next_size() == BUSY_CHANGES
    stage.work = 0.0
    assert [next_size(), next_size()] == [BUSY_CHANGES] * 2
    stage.now += BUSY_SECONDS
    assert next_size() == PART_CHANGES
