"""Cursors of PostgreSQL's log: which ones count after restarts, restored backups and promotions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.database.postgres.feed.epochs import (
    Cursor,
    Epoch,
    Epochs,
    Position,
    SnapshotVisibility,
    stamp,
)

FIRST = Epoch("first", 100, 1, 1_000)
SECOND = Epoch("second", 200, 1, 2_000)
PROMOTED = Epoch("promoted", 350, 2, 3_000)


def test_a_cursor_holds_its_position() -> None:
    epochs = Epochs([FIRST], {})
    position = Position(0x16B374D8, 3)
    assert epochs.encode(position) == "first.16b374d8.3."
    assert epochs.decode(epochs.encode(position)) == Cursor(position)


def test_a_cursor_holds_the_commit_time_of_its_last_change() -> None:
    epochs, now = Epochs([FIRST], {}), 1_795_620_000_000
    assert epochs.encode(Position(5, 1), now) == f"first.5.1.{now % 2**32:x}"
    assert epochs.decode(epochs.encode(Position(5, 1), now)) == Cursor(Position(5, 1), stamp(now))


def test_a_cursor_keeps_what_a_snapshot_saw() -> None:
    epochs = Epochs([FIRST], {})
    visibility = SnapshotVisibility.of("10:20:12,15", 0xAB)
    assert epochs.decode(epochs.encode(Position(5, 0), 7, visibility)) == Cursor(Position(5, 0), 7, visibility)
    alone = SnapshotVisibility.of("10:10:", 1)
    assert epochs.decode(epochs.encode(Position(5, 0), None, alone)) == Cursor(Position(5, 0), None, alone)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "first",
        "first.",
        "first.5",
        "first.5.0",
        "other.5.0.",
        "first.x.0.",
        "first.5.x.",
        "first.5.0.x",
        "first.5.0..1",
        "first.5.0..1:2:3:z",
        "first.5.0...",
        "first.5.\u0661.",
        "first.5.0..1:2:" + ",".join(["1"] * 10_001) + ":1",
    ],
)
def test_invalid_cursors_are_not_decoded(cursor: str) -> None:
    assert Epochs([FIRST], {}).decode(cursor) is None


def test_a_cursor_is_valid_up_to_the_start_of_the_next_epoch() -> None:
    epochs = Epochs([FIRST, SECOND], {})
    assert epochs.decode(f"first.{200:x}.0.") == Cursor(Position(200, 0))
    assert epochs.decode(f"first.{201:x}.1.") is None, "a restored backup is older than what was delivered"
    assert epochs.decode(f"second.{999:x}.1.") is not None


def test_nothing_after_the_fork_of_an_invalid_cursor_was_delivered() -> None:
    epochs = Epochs([FIRST, SECOND], {})
    assert epochs.fork(f"first.{201:x}.1.") == Position(200, 0)
    assert epochs.fork("of a run that the backup has not.1.0.") == Position(200, 0)


def test_positions_after_the_timeline_switch_are_invalid() -> None:
    epochs = Epochs([SECOND, PROMOTED], {1: 300})
    assert epochs.decode(f"second.{300:x}.0.") is not None
    assert epochs.decode(f"second.{301:x}.0.") is None


def test_a_timeline_without_a_known_end_is_invalid() -> None:
    assert Epochs([SECOND, PROMOTED], {}).decode(f"second.{250:x}.0.") is None


def test_positions_of_custom_channels_follow_the_same_rules() -> None:
    epochs = Epochs([FIRST, SECOND], {})
    asked = [("first", 2_000), ("first", 2_001), ("second", 9_999), ("other", 1)]
    assert [epochs.understands(*each) for each in asked] == [True, False, True, False]


@given(xmax=st.integers(3, 2**40), behind=st.integers(1, 2**31 - 1), ahead=st.integers(0, 2**31 - 1))
def test_visibility_holds_over_transaction_number_wraparound(xmax: int, behind: int, ahead: int) -> None:
    visibility = SnapshotVisibility(1, xmax, frozenset(), 0)
    assert visibility.sees((xmax - behind) & 0xFFFFFFFF)
    assert not visibility.sees((xmax + ahead) & 0xFFFFFFFF)


def test_a_snapshot_does_not_see_what_was_still_running() -> None:
    visibility = SnapshotVisibility.of(f"{2**32 + 5}:{2**32 + 9}:{2**32 + 7}", 0)
    assert [visibility.sees(xid) for xid in (4, 5, 7, 8, 9)] == [True, True, False, True, False]
