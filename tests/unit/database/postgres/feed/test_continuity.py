"""A log is known by the change that was told last."""

import pytest

from aerostack_realtime.database.postgres.feed.continuity import Proof, Undone
from aerostack_realtime.database.postgres.feed.epochs import Bookmark, Place, stamp
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.transactions import Committed, Item, Untold
from aerostack_realtime.database.postgres.wal.pgoutput import Logical, Relation

TABLE = LoggedTable(Relation(7, "public", "t", "f", ()))
NOW = 1_795_620_000_000
TOLD = Bookmark(Place(20, 2), stamp(NOW))


def change(lsn: int, index: int, timestamp: int = NOW) -> Entry:
    return Entry(Place(lsn, index), 1, timestamp, TABLE, "INSERT", None, (), end=False, size=10)


def test_what_comes_before_the_change_proves_nothing() -> None:
    proof = Proof(TOLD)
    early: list[Item] = [TABLE, change(20, 1), Committed(1, 10, Place(15, 0)), Logical(99, False, "x", b"", 0)]
    assert [proof.see(item) for item in early] == [False] * 4
    proof.come(20)
    assert proof.see(change(20, 2))


@pytest.mark.parametrize(
    "item",
    [
        change(20, 2, NOW + 1),
        change(20, 3),
        change(21, 1),
        Committed(1, 20, Place(25, 0)),
        Untold(Place(21, 1), (7,)),
    ],
)
def test_another_change_in_its_place_or_behind_it_is_another_log(item: Item) -> None:
    with pytest.raises(Undone, match="other changes"):
        Proof(TOLD).see(item)


def test_a_stream_that_is_beyond_it_is_another_log() -> None:
    with pytest.raises(Undone):
        Proof(TOLD).come(21)


def test_a_change_that_is_known_by_its_place_alone_is_proved_by_it() -> None:
    told = Bookmark(Place(20, 2))
    assert Proof(told).see(change(20, 2))
    assert Proof(told).see(Untold(Place(20, 2), (7,)))
