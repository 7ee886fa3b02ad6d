"""Entries of the log as changes. Every row of a bulk write passes here, on a thread that keeps the interpreter
from the event loop meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw
from msgspec import Struct

from aerostack_realtime.database.base import LARGE_BYTES, Change, Row
from aerostack_realtime.database.sqlite.triggers import DELETE, INSERT
from aerostack_realtime.database.sqlite.values import SAFE_INTEGER, size, to_wire

HEAD = 4
"""Columns of an entry before its values: id, layout, operation and time. Each column of the table has two values,
the old and the new one."""
VALUE_BYTES = 8
"""What a value takes besides text, about."""

Values = Sequence["apsw.SQLiteValue"]
Converter = Callable[[Values], tuple[Row, int]]


class EntryLayout(Struct, frozen=True):
    """How entries of one layout are read: `convert` is for the old or the new values, which end before `last`."""

    table: str
    last: int
    convert: Converter

    def change(self, entry: Values, cursor: str) -> tuple[Change, int]:
        """The change of an entry, and about how many bytes its values have."""
        operation, at, last = entry[2], int(entry[3] or 0), self.last
        if operation == INSERT:
            data, taken = self.convert(entry[5:last:2])
            if taken <= LARGE_BYTES:
                return Change(self.table, "INSERT", data, None, at, cursor), taken
            return Change(self.table, "INSERT", data, None, at, cursor, large=True), taken
        old, taken = self.convert(entry[4:last:2])
        if operation == DELETE:
            return Change(self.table, "DELETE", old, old, at, cursor, large=taken > LARGE_BYTES), taken
        data, more = self.convert(entry[5:last:2])
        taken += more
        return Change(self.table, "UPDATE", data, old, at, cursor, large=taken > LARGE_BYTES), taken


def entry_layout(table: str, columns: Sequence[str]) -> EntryLayout:
    return EntryLayout(table, HEAD + 2 * len(columns), row_converter(columns))


def row_converter(columns: Sequence[str]) -> Converter:
    """A function of a row's values: the row as on the wire, and about how many bytes it has. It is written out for
    the columns, and takes a third of the time of `to_row` and `size`."""
    lines = [
        f"    t = type(v{number})\n"
        f"    if t is str: size += len(v{number})\n"
        f"    elif t is int:\n"
        f"        if not {-SAFE_INTEGER} <= v{number} <= {SAFE_INTEGER}: v{number} = str(v{number})\n"
        f"    elif v{number} is not None: size += size_of((v{number},)); v{number} = to_wire(v{number})\n"
        for number in range(len(columns))
    ]
    row = "".join(f"v{number}, " for number in range(len(columns)))
    fields = ", ".join(f"{name!r}: v{number}" for number, name in enumerate(columns))
    source = f"def convert(values):\n    ({row}) = values\n    size = {VALUE_BYTES * len(columns)}\n"
    names: dict[str, Any] = {"size_of": size, "to_wire": to_wire}
    exec(f"{source}{''.join(lines)}    return {{{fields}}}, size\n", names)
    made: Converter = names["convert"]
    return made
