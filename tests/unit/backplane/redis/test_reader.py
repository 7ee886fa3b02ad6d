"""Entries of the log to items, and what is reported where the log does not continue."""

from typing import Any

import msgspec
import pytest

from aerostack_realtime.backplane.base import JournalUnusable
from aerostack_realtime.backplane.items import AnyItem, Batch, Beat, encode_batch
from aerostack_realtime.backplane.redis.reader import REMEMBERED_NODES, LogReader

US = 1_000_000


class Heard:
    def __init__(self) -> None:
        self.log: list[Any] = []

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:
        assert isinstance(item, Beat)
        self.log.append((position, at, node, item.connections))

    def began(self, since: int, until: int) -> None:
        self.log.append((since, until))

    def cut_off(self) -> None:
        raise AssertionError("no connection is lost here")

    def reconnected(self) -> None:
        raise AssertionError("no connection is lost here")

    def refused(self, items: object, error: object) -> tuple[int, ...]:
        raise AssertionError("nothing is appended here")


class Own:
    """The batches of the own node that wait to be read back."""

    def __init__(self) -> None:
        self.confirmed: list[int] = []
        self.unreadable: list[tuple[int, bytes]] = []

    def confirm(self, sequence: int) -> None:
        self.confirmed.append(sequence)

    def between(self, since: int, until: int) -> list[tuple[int, bytes]]:
        return [(position, blob) for position, blob in self.unreadable if since < position <= until]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def own() -> Own:
    return Own()


@pytest.fixture
def reader(heard: Heard, own: Own) -> LogReader:
    return LogReader("me", heard, own.confirm, own.between)


def batch(sequence: int, *numbers: int, node: str = "other") -> bytes:
    return encode_batch(Batch(node, sequence, tuple(Beat(connections=number) for number in numbers)))


def read(
    reader: LogReader,
    position: int,
    previous: int,
    blob: bytes,
    *,
    count: int = 1,
    generation: int = 1,
    at: int = 0,
    name: bytes = b"b",
) -> int | None:
    values = (b"g", generation, b"p", previous, b"n", count, b"a", at or position, name, blob)
    fields = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return reader.read(f"{position}-0".encode(), fields)


def published(
    reader: LogReader, position: int, previous: int, blob: bytes, *, count: int = 1, generation: int = 1
) -> bool:
    """Whether the entry was taken from the channel."""
    head = f"{position} {generation} {previous} {count} {position} "
    return reader.published(head.encode() + blob) is not None


def test_a_log_begins_with_its_opening_and_numbers_items(reader: LogReader, heard: Heard) -> None:
    read(reader, 10, 0, b"", count=0)
    read(reader, 20, 10, batch(1, 7, 8), count=2)
    assert heard.log == [(0, 10), (20, 20, "other", 7), (21, 20, "other", 8)]
    assert (reader.last, reader.entry) == (21, 20)


def test_a_trimmed_log_begins_after_what_is_gone(reader: LogReader, heard: Heard) -> None:
    read(reader, 20, 15, batch(1, 7))
    assert heard.log[0] == (0, 15)


def test_a_missing_entry_is_reported_as_skipped(reader: LogReader, heard: Heard) -> None:
    read(reader, 20, 15, batch(1, 7))
    read(reader, 40, 30, batch(3, 9))
    assert heard.log[2:] == [(20, 30), (40, 40, "other", 9)]


def test_own_items_that_were_trimmed_unread_enter_in_their_place(
    reader: LogReader, heard: Heard, own: Own
) -> None:
    read(reader, 20, 15, batch(1, 1))
    own.unreadable = [(25, batch(1, 2, 3, node="me"))]
    read(reader, 40, 30, batch(3, 9))
    assert heard.log[2:] == [(20, 24), (25, 40, "me", 2), (26, 40, "me", 3), (26, 30), (40, 40, "other", 9)]


def test_a_new_generation_is_reported_with_what_survived(reader: LogReader, heard: Heard) -> None:
    read(reader, 20, 15, batch(1, 7))
    read(reader, 100, 12, b"", count=0, generation=2)
    assert heard.log[2:] == [(20, 12)]
    assert (reader.last, reader.generation) == (100, 2)


def test_a_new_generation_is_reported_even_if_nothing_is_missing(reader: LogReader, heard: Heard) -> None:
    read(reader, 20, 15, batch(1, 7))
    read(reader, 100, 20, b"", count=0, generation=2)
    assert heard.log[2:] == [(20, 20)]


def test_a_repeated_batch_enters_once_and_keeps_the_chain(reader: LogReader, heard: Heard, own: Own) -> None:
    read(reader, 20, 15, batch(1, 7, node="me"))
    read(reader, 30, 20, batch(1, 7, node="me"))
    read(reader, 40, 30, batch(2, 8, node="me"))
    assert heard.log == [(0, 15), (20, 20, "me", 7), (40, 40, "me", 8)]
    assert own.confirmed == [1, 2]


def test_a_batch_appended_again_after_it_was_lost_enters_again(reader: LogReader, heard: Heard) -> None:
    read(reader, 10, 0, b"", count=0)
    read(reader, 20, 10, batch(1, 1))
    read(reader, 30, 20, batch(2, 2))
    read(reader, 50, 20, b"", count=0, generation=2)  # batch 2 is lost, and its node had not read it
    read(reader, 60, 50, batch(2, 2), generation=2)
    read(reader, 70, 60, batch(2, 2), generation=2)
    assert [each[3] for each in heard.log if len(each) == 4] == [1, 2, 2], "and once in its generation"


def test_time_never_goes_back(reader: LogReader, heard: Heard) -> None:
    read(reader, 20, 15, batch(1, 7), at=500)
    read(reader, 21, 20, batch(2, 8), at=400)
    assert [entry[1] for entry in heard.log[1:]] == [500, 500]


@pytest.mark.parametrize("optional", [True, False])
def test_an_item_of_a_later_version_is_skipped_only_if_it_is_optional(
    reader: LogReader, heard: Heard, optional: bool
) -> None:
    items = (["new", 1], Beat(connections=7))
    blob = msgspec.msgpack.encode(("other", 1, items, (0,) if optional else ()))
    if optional:
        read(reader, 20, 15, blob, count=2)
        assert heard.log[1:] == [(21, 20, "other", 7)]
        assert reader.last == 21
    else:
        with pytest.raises(JournalUnusable, match="upgrade this node"):
            read(reader, 20, 15, blob, count=2)


def test_ended_nodes_are_forgotten(reader: LogReader) -> None:
    previous = 9
    for number in range(3 * REMEMBERED_NODES):
        position = 10 + number * US
        read(reader, position, previous, batch(1, 1, node=f"node{number}"))
        previous = position
    assert len(reader._sequences) <= REMEMBERED_NODES + 1


@pytest.fixture
def begun(reader: LogReader, heard: Heard) -> LogReader:
    """A reader that has read entry 20, with positions 20 and 21."""
    read(reader, 20, 15, batch(1, 1, 2), count=2)
    heard.log.clear()
    return reader


def test_a_published_entry_that_continues_the_log_is_taken(begun: LogReader, heard: Heard) -> None:
    assert published(begun, 30, 21, batch(2, 7, 8), count=2)
    assert published(begun, 32, 31, batch(3, 9))
    assert heard.log == [(30, 30, "other", 7), (31, 30, "other", 8), (32, 32, "other", 9)]
    assert (begun.last, begun.entry, begun.heard) == (32, 32, 32)


@pytest.mark.parametrize("previous", [15, 20, 22, 29])
def test_a_published_entry_after_another_position_is_left_to_a_read(
    begun: LogReader, heard: Heard, previous: int
) -> None:
    assert not published(begun, 30, previous, batch(2, 7))
    assert (heard.log, begun.last, begun.heard) == ([], 21, 30)


def test_a_published_entry_counts_once(begun: LogReader, heard: Heard) -> None:
    assert published(begun, 30, 21, batch(2, 7))
    assert not published(begun, 30, 21, batch(2, 7))
    assert not published(begun, 20, 15, batch(1, 1, 2), count=2)
    assert len(heard.log) == 1


@pytest.mark.parametrize("generation", [0, 2])
def test_a_published_entry_of_another_generation_is_left_to_a_read(
    begun: LogReader, heard: Heard, generation: int
) -> None:
    assert not published(begun, 30, 21, batch(2, 7), generation=generation)
    assert heard.log == []


def test_nothing_published_is_taken_before_the_log_has_begun(reader: LogReader, heard: Heard) -> None:
    assert not published(reader, 20, 0, batch(1, 1), generation=0)
    assert not published(reader, 20, 15, batch(1, 1))
    assert heard.log == []


def test_a_large_entry_is_announced_and_left_to_a_read(begun: LogReader, heard: Heard) -> None:
    assert not published(begun, 30, 21, b"")
    assert read(begun, 30, 21, batch(2, 7)) is not None
    assert heard.log == [(30, 30, "other", 7)]


def test_an_opening_is_never_taken_from_the_channel(begun: LogReader, heard: Heard) -> None:
    assert not published(begun, 30, 21, b"", count=0)
    assert not published(begun, 30, 21, batch(2, 7), count=0)
    assert heard.log == []


@pytest.mark.parametrize("message", [b"", b"hello", b"1 2 3 4 5 6", b"a b c d e f", b"30 1 21 x 30 \xff"])
def test_what_somebody_else_publishes_is_ignored(begun: LogReader, heard: Heard, message: bytes) -> None:
    assert begun.published(message) is None
    assert (heard.log, begun.last) == ([], 21)


def test_a_read_does_not_repeat_what_was_published(begun: LogReader, heard: Heard, own: Own) -> None:
    assert published(begun, 30, 21, batch(2, 7))
    assert read(begun, 30, 21, batch(2, 7), name=b"B") is None
    assert read(begun, 40, 30, batch(3, 8), name=b"B") is not None
    assert [entry[3] for entry in heard.log] == [7, 8]
    assert own.confirmed == []


def test_own_published_batches_are_confirmed(begun: LogReader, own: Own) -> None:
    assert published(begun, 30, 21, batch(5, 7, node="me"))
    assert own.confirmed == [5]


def test_entries_that_were_not_published_are_noted(begun: LogReader) -> None:
    assert begun.unpublished_at == 20
    read(begun, 30, 21, batch(2, 7), name=b"B")
    assert (begun.unpublished_at, begun.promised) == (20, 30)
    read(begun, 40, 30, batch(3, 7))
    assert (begun.unpublished_at, begun.promised) == (40, 30)
