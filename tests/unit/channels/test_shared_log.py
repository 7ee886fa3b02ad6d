"""Parts of tables' logs that clients which resume share."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels import shared_log
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.shared_log import IDLE_SWEEPS, Section, SharedLog
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.channels.tables.views import View, ViewDefinition
from aerostack_realtime.database.base import Change, ChangeFeed, Replay, Row
from aerostack_realtime.protocol.errors import AerostackError, NotFound
from tests.unit.channels.peers import unframed


class Feed:
    """A feed that answers when the test calls `answer`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Callable[[Replay], None], Callable[[AerostackError], None]]] = []

    def replay(
        self, table: str, since: str, then: Callable[[Replay], None], failed: Callable[[AerostackError], None]
    ) -> None:
        assert table == "orders"
        self.asked.append((since, then, failed))

    def answer(self, *ids: int, end: int, more: bool = False, recovered: bool = True) -> None:
        """Answer the oldest read with the changes of these ids, each with its id as its cursor."""
        _, then, _ = self.asked.pop(0)
        then(Replay([changed(id) for id in ids], str(end), recovered, more))


def changed(id: int) -> Change:
    return Change("orders", "INSERT", {"id": id}, None, 0, str(id))


class Reader:
    """What one client was given."""

    def __init__(self, shared: SharedLog, since: int) -> None:
        self.sections: list[Section] = []
        self.failures: list[AerostackError] = []
        shared.read("orders", str(since), self.sections.append, self.failures.append)

    @property
    def ids(self) -> list[Any]:
        section = self.sections[-1]
        return [each.data["id"] for each in section.part.changes[section.first :]]


def view(test: Callable[[Row], bool] | None = None) -> View:
    audience = Audience(lambda _: None, 1, lambda _: None)
    return View(ViewDefinition((), cast(Any, test)), audience)


CHANNEL = TableChannel("table/orders/p", "orders", lambda: Audience(lambda _: None, 1, lambda _: None), 1 << 20)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def shared(feed: Feed) -> SharedLog:
    return SharedLog(cast(ChangeFeed, feed))


def test_one_read_serves_all_that_wait_for_it(feed: Feed, shared: SharedLog) -> None:
    readers = [Reader(shared, 1) for _ in range(3)]
    assert len(feed.asked) == 1
    feed.answer(2, 3, end=4)
    assert [each.ids for each in readers] == [[2, 3]] * 3
    assert Reader(shared, 1).ids == [2, 3], "and those that come later"
    assert not feed.asked


def test_a_part_serves_clients_that_begin_at_another_change_in_it(feed: Feed, shared: SharedLog) -> None:
    Reader(shared, 1)
    feed.answer(2, 3, 5, end=6)
    assert [Reader(shared, since).ids for since in (2, 3, 5, 6)] == [[3, 5], [5], [], []]
    assert shared.to_the_end("orders", "4") is None, "nobody has read from there"


def test_what_is_read_from_another_cursor_is_found_in_the_part(feed: Feed, shared: SharedLog) -> None:
    first = Reader(shared, 1)
    feed.answer(3, 4, end=4)
    second = Reader(shared, 2)
    feed.answer(3, 4, end=4)
    assert second.sections[0].part is first.sections[0].part


def test_a_live_change_ends_a_part_and_what_follows_extends_it(feed: Feed, shared: SharedLog) -> None:
    Reader(shared, 1)
    feed.answer(2, end=2)
    assert shared.to_the_end("orders", "1") is not None
    shared.changed("orders")
    assert shared.to_the_end("orders", "1") is None
    late = Reader(shared, 2)
    feed.answer(3, 4, end=4)
    assert (late.ids, Reader(shared, 1).ids, Reader(shared, 3).ids) == ([3, 4], [2, 3, 4], [4])
    assert not feed.asked


def test_changes_of_other_tables_leave_a_part_alone(feed: Feed, shared: SharedLog) -> None:
    Reader(shared, 1)
    feed.answer(2, end=2)
    shared.changed("customers")
    shared.interrupted("customers")
    assert shared.to_the_end("orders", "1") is not None


def test_parts_that_follow_each_other_lead_to_the_end(
    feed: Feed, shared: SharedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "PART_CHANGES", 2)
    Reader(shared, 1)
    feed.answer(2, 3, end=3, more=True, recovered=False)
    Reader(shared, 3)
    feed.answer(4, end=5)
    sections = shared.to_the_end("orders", "1")
    assert sections is not None
    assert [each.recovered for each in sections] == [False, True]


def test_a_gap_between_parts_is_not_passed_over(feed: Feed, shared: SharedLog) -> None:
    Reader(shared, 1)
    feed.answer(2, end=2, more=True)
    Reader(shared, 2)
    feed.answer(7, end=8, recovered=False)
    assert shared.to_the_end("orders", "1") is None, "the client has to learn of it"


def test_an_interruption_ends_what_was_read_and_what_is_being_read(feed: Feed, shared: SharedLog) -> None:
    Reader(shared, 1)
    feed.answer(2, end=2)
    waiting = Reader(shared, 0)
    shared.interrupted("orders")
    assert shared.to_the_end("orders", "1") is None
    later = Reader(shared, 0)
    assert len(feed.asked) == 2, "a client that comes after it has a read of its own"
    feed.answer(1, 2, end=2)
    assert (waiting.ids, later.sections) == ([1, 2], [])
    assert shared.to_the_end("orders", "0") is None
    feed.answer(9, end=9, recovered=False)
    assert later.ids == [9]


def test_a_failed_read_fails_all_that_wait_and_is_not_kept(feed: Feed, shared: SharedLog) -> None:
    readers = [Reader(shared, 1) for _ in range(2)]
    _, _, failed = feed.asked.pop()
    failed(NotFound("gone"))
    assert [len(each.failures) for each in readers] == [1, 1]
    Reader(shared, 1)
    assert len(feed.asked) == 1


def test_frames_are_encoded_once_for_a_view(feed: Feed, shared: SharedLog) -> None:
    tested: list[Any] = []

    def test(row: Row) -> bool:
        tested.append(row["id"])
        return row["id"] != 3

    watched = view(test)
    Reader(shared, 1)
    feed.answer(2, 3, 4, end=4)
    seen = []
    for since in (2, 1, 1, 2, 4):
        [section] = shared.to_the_end("orders", str(since)) or []
        seen.append([each["data"]["id"] for each in unframed(shared.frames(section, CHANNEL, watched))])
    assert seen == [[4], [2, 4], [2, 4], [4], []]
    assert tested == [3, 4, 2], "each change once"


def test_a_rule_that_fails_concerns_only_those_that_lack_the_row(feed: Feed, shared: SharedLog) -> None:
    def test(row: Row) -> bool:
        if row["id"] == 2:
            raise RuleFailed("no")
        return True

    watched = view(test)
    Reader(shared, 1)
    feed.answer(2, 3, end=3)
    sections = {since: (shared.to_the_end("orders", str(since)) or [])[0] for since in (1, 2)}
    for _ in range(2):
        with pytest.raises(RuleFailed):
            shared.frames(sections[1], CHANNEL, watched)
        assert len(unframed(shared.frames(sections[2], CHANNEL, watched))) == 1


def test_the_oldest_parts_are_dropped_when_there_are_too_many(feed: Feed) -> None:
    shared = SharedLog(cast(ChangeFeed, feed), most=6_000)
    for number in range(0, 100, 10):
        Reader(shared, number)
        feed.answer(number + 1, end=number + 5, more=True)
    found = []
    for number in range(0, 100, 10):
        Reader(shared, number)
        found.append(not feed.asked)
        feed.asked.clear()
        shared._reads.clear()
    assert found[-1]
    assert not found[0]
    assert found == sorted(found), "the newest ones are kept"


def test_a_part_larger_than_all_memory_serves_those_that_waited(feed: Feed) -> None:
    shared = SharedLog(cast(ChangeFeed, feed), most=1_000)
    readers = [Reader(shared, 1) for _ in range(2)]
    feed.answer(2, 3, end=3)
    assert [each.ids for each in readers] == [[2, 3]] * 2
    assert shared.to_the_end("orders", "1") is None


def test_clients_with_a_view_each_do_not_exhaust_memory(feed: Feed) -> None:
    shared = SharedLog(cast(ChangeFeed, feed), most=20_000)
    Reader(shared, 1)
    feed.answer(*range(2, 8), end=8)
    [section] = shared.to_the_end("orders", "1") or []
    for _ in range(200):
        assert len(unframed(shared.frames(section, CHANNEL, view(lambda _: True)))) == 6
        assert shared._size <= 20_000
    assert shared.to_the_end("orders", "1") is not None, "their frames make room, not what was read"


def test_parts_that_nobody_uses_are_dropped(feed: Feed, shared: SharedLog) -> None:
    Reader(shared, 1)
    feed.answer(2, end=2)
    for _ in range(IDLE_SWEEPS):
        shared.sweep()
    assert shared.to_the_end("orders", "1") is not None
    for _ in range(IDLE_SWEEPS + 1):
        shared.sweep()
    assert shared.to_the_end("orders", "1") is None
    assert shared._size == 0
