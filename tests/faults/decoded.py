"""The truth of a PostgreSQL run: the table's changes in the order of their commits, as PostgreSQL itself tells it.

A slot of the suite's own is decoded by `test_decoding`, which comes with PostgreSQL: another output plugin than
the server's, read by SQL instead of the replication protocol, by none of the server's code. Logical decoding hands
out whole transactions in the order of their commit records in the log, whatever sequences, clocks and numbers of
transactions say.
"""

import re
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg.rows import TupleRow

SLOT: Final = "truth"
INDEX_BITS: Final = 24
"""A change's number is its commit's place in the log, and in its lowest bits which one of the commit's it is."""

_READ: Final = f"""COPY (SELECT (lsn - '0/0'::pg_lsn)::bigint, data
  FROM pg_logical_slot_get_changes('{SLOT}', NULL, NULL,
  'include-xids', '0', 'skip-empty-xacts', '1')
  WHERE data ~ '^(COMMIT|table public\\.items: )') TO STDOUT"""
_CELL: Final = re.compile(r"id\[integer\]:(-?\d+) n\[bigint\]:(\d+|-1) .*?grp\[integer\]:(\d+)")
_CHANGE: Final = re.compile(r"table public\.items: (INSERT|UPDATE|DELETE): (.*)", re.DOTALL)

Truth = tuple[int, int, int | None, int | None, int | None, int | None]
"""A change: its number, the row, its stamp and value before, its stamp and value after."""


def make_slot(connection: psycopg.Connection[TupleRow]) -> None:
    """Decode what is committed from now on."""
    connection.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", (SLOT,))


def forget(connection: psycopg.Connection[TupleRow]) -> None:
    """Begin after what is committed by now; where a restored backup has no slot, make one."""
    if connection.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s", (SLOT,)).rowcount:
        connection.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_flush_lsn())", (SLOT,))
    else:
        make_slot(connection)


def read(connection: psycopg.Connection[TupleRow]) -> Iterator[Truth]:
    """What was committed since it was last read. After a crash of PostgreSQL some comes again."""
    changes: list[Truth] = []
    with connection.cursor().copy(_READ) as rows:
        rows.set_types(["int8", "text"])
        for lsn, data in rows.rows():
            if data.startswith("COMMIT"):
                for index, change in enumerate(changes):
                    yield ((lsn << INDEX_BITS) + index, *change[1:])
                changes.clear()
            else:
                changes.append(_change(data))


def _change(data: str) -> Truth:
    match = _CHANGE.fullmatch(data)
    assert match is not None, data
    operation, cells = match.groups()
    before, _, after = cells.partition(" new-tuple: ") if operation == "UPDATE" else (cells, "", cells)
    old = None if operation == "INSERT" else _cell(before)
    new = None if operation == "DELETE" else _cell(after)
    row = (old or new or (0,))[0]
    return (0, row, *(old[1:] if old else (None, None)), *(new[1:] if new else (None, None)))


def _cell(text: str) -> tuple[int, int, int]:
    """The row, its stamp and its value; an update without them was made while old rows were not in the log."""
    found = _CELL.search(text)
    assert found is not None, f"a whole row was expected: {text}"
    row, stamp, value = map(int, found.groups())
    return row, stamp, value
