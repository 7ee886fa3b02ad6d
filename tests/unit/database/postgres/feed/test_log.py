"""The log in memory: against a list that forgets nothing but what is too much."""

from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.log import Entry, Log, LoggedTable
from aerostack_realtime.database.postgres.wal.pgoutput import Relation

TABLES = [LoggedTable(Relation(oid, "public", f"t{oid}", "f", ())) for oid in range(3)]


def entry(lsn: int, index: int, table: int, size: int = 10) -> Entry:
    """Committed at the time `lsn`."""
    return Entry(Position(lsn, index), 1, lsn, TABLES[table], "INSERT", b"", end=False, size=size)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.lists(st.integers(0, 2), max_size=4)), max_size=60),
    st.integers(1, 300),
)
def test_the_log_returns_what_follows_any_position(
    transactions: list[tuple[int, list[int]]], max_bytes: int
) -> None:
    log = Log(Position(5, 0), max_bytes)
    kept: list[Entry] = []
    positions = [Position(5, 0)]
    lsn = 5
    for step, tables in transactions:
        lsn += step
        for index, table in enumerate(tables, 1):
            made = entry(lsn, index, table)
            log.extend([made], [table])
            kept.append(made)
            positions.append(made.position)
        positions.append(Position(lsn + 1, 0))
        lsn += 1
    while sum(each.size for each in kept) > max_bytes:
        kept.pop(0)
    assert log.start <= (kept[0].position if kept else positions[-1])
    for position in positions:
        for each in TABLES:
            wanted = [made for made in kept if made.table is each and made.position > position]
            assert list(log.after(each.oid, position)) == wanted
        if position >= log.start:
            assert log.holds(position, None)
            last = log.last(position)
            assert last in (
                None,
                max((made.position.lsn for made in kept if made.position <= position), default=last),
            )
            assert log.holds(position, last)
            assert last is None or not log.holds(position, last + 1)
    assert [log.count(table.oid) for table in TABLES] == [
        sum(each.table is table for each in kept) for table in TABLES
    ]


def test_a_position_between_changes_is_not_held() -> None:
    log = Log(Position(0, 0), 1_000)
    log.extend([entry(7, 1, 0)], [0])
    log.extend([entry(7, 2, 0)], [0])
    assert [log.holds(Position(7, index), None) for index in (0, 1, 2, 3)] == [True, True, True, False]
    assert not log.holds(Position(8, 1), None)


def test_a_position_with_another_commit_time_is_not_held() -> None:
    log = Log(Position(5, 0), 20)
    assert log.holds(Position(6, 0), 4), "what was before the start is not known"
    log.extend([entry(7, 1, 0)], [0])
    asked = [
        (Position(7, 1), 7),
        (Position(7, 1), 6),
        (Position(9, 0), 7),
        (Position(9, 0), 6),
        (Position(6, 0), 4),
    ]
    assert [log.holds(*each) for each in asked] == [True, False, True, False, True]
    log.extend([entry(8, 1, 0)], [0])
    log.extend([entry(9, 1, 0)], [0])
    assert log.start == Position(7, 1)
    assert [log.holds(*each) for each in asked[:2]] == [True, False], "the newest that went is remembered"
    assert [log.last(Position(lsn, 2)) for lsn in (6, 7, 8, 9, 10)] == [None, 7, 8, 9, 9]


def test_entries_beyond_the_bound_are_dropped_and_move_the_start() -> None:
    log = Log(Position(0, 0), 25)
    for number in range(1, 4):
        log.extend([entry(number, 1, 0)], [0])
    assert log.start == Position(1, 1)
    assert [each.position.lsn for each in log.after(0, Position(0, 0))] == [2, 3]


def test_one_run_of_changes_can_drop_entries_of_several_tables() -> None:
    log = Log(Position(0, 0), 100)
    for number in range(1, 10):
        log.extend([entry(number, 1, number % 3)], [number % 3])
    log.extend([entry(number, 1, 0) for number in range(10, 17)], [0])
    assert log.start == Position(6, 1)
    assert [[each.position.lsn for each in log.after(table, Position(0, 0))] for table in range(3)] == [
        [9, *range(10, 17)],
        [7],
        [8],
    ]
    log.extend([entry(number, 1, 0) for number in range(17, 29)], [0])
    assert [log.count(table) for table in range(3)] == [10, 0, 0]


def test_a_forgotten_table_frees_its_memory() -> None:
    log = Log(Position(0, 0), 25)
    log.extend([entry(1, 1, 0)], [0])
    log.extend([entry(2, 1, 1)], [1])
    log.forget(0)
    log.extend([entry(3, 1, 1)], [1])
    assert log.start == Position(0, 0)
    assert [each.position.lsn for each in log.after(1, Position(0, 0))] == [2, 3]
    log.clear(Position(9, 0))
    assert (log.count(1), log.start) == (0, Position(9, 0))


def test_a_table_may_come_into_another_one_and_leave_it() -> None:
    log, around = Log(Position(0, 0), 30), 9
    made = [entry(number, 1, 0) for number in range(1, 6)]
    log.extend(made[:1], [0])
    log.extend(made[1:2], [0, around])
    log.extend(made[2:3], [0])
    assert list(log.after(around, Position(0, 0))) == made[1:2]
    log.extend(made[3:5], [0])  # the first two are dropped
    assert list(log.after(0, Position(0, 0))) == made[2:]
    assert not list(log.after(around, Position(0, 0)))
    log.forget(around)
    assert log.count(0) == 3
