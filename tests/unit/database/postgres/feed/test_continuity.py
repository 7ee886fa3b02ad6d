"""A log is recognized by the change that was delivered last."""

import pytest

from aerostack_realtime.database.postgres.feed.continuity import Continuity, LogDiverged
from aerostack_realtime.database.postgres.feed.epochs import Cursor, Position, stamp
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.transactions import Committed, Emitted, Item, OpaqueChange
from aerostack_realtime.database.postgres.wal.pgoutput import LogicalMessage, Relation

TABLE = LoggedTable(Relation(7, "public", "t", "f", ()))
NOW = 1_795_620_000_000
DELIVERED = Cursor(Position(20, 2), stamp(NOW))


def change(lsn: int, index: int, timestamp: int = NOW) -> Entry:
    return Entry(Position(lsn, index), 1, timestamp, TABLE, "INSERT", None, (), end=False, size=10)


def test_items_before_the_change_decide_nothing() -> None:
    continuity = Continuity(DELIVERED)
    early: list[Item] = [
        TABLE,
        change(20, 1),
        Committed(1, 10, Position(15, 0)),
        Emitted(99, LogicalMessage(99, False, "x", b"", 0)),
    ]
    assert [continuity.see(item) for item in early] == [False] * 4
    continuity.reached(20)
    assert continuity.see(change(20, 2))


@pytest.mark.parametrize(
    "item",
    [
        change(20, 2, NOW + 1),
        change(20, 3),
        change(21, 1),
        Committed(1, 20, Position(25, 0)),
        OpaqueChange(Position(21, 1), (7,)),
    ],
)
def test_another_change_at_the_position_means_another_log(item: Item) -> None:
    with pytest.raises(LogDiverged, match="other changes"):
        Continuity(DELIVERED).see(item)


def test_a_stream_beyond_the_change_is_another_log() -> None:
    with pytest.raises(LogDiverged):
        Continuity(DELIVERED).reached(21)


def test_a_change_without_a_known_time_is_checked_by_position() -> None:
    known = Cursor(Position(20, 2))
    assert Continuity(known).see(change(20, 2))
    assert Continuity(known).see(OpaqueChange(Position(20, 2), (7,)))
