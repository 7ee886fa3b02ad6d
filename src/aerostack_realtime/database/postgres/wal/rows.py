"""A row out of the bytes of a message of `pgoutput` ("TupleData" in PostgreSQL's documentation)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, Final


class Unchanged(Enum):
    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
"""Stands in a new row for a large (TOAST) value that the UPDATE did not change: the WAL does not repeat it."""

Values = tuple[bytes | Unchanged | None, ...]
"""A row in the order of its relation's columns: each value in PostgreSQL's text format, None for NULL."""
Data = bytes | memoryview


class Misread(Exception):
    """At which byte, and why."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(at, why)
        self.at = at
        self.why = why


_INT16 = struct.Struct(">H").unpack_from
_INT32 = struct.Struct(">I").unpack_from
_TEXT, _NULL, _UNCHANGED = b"tnu"


def read_row(data: Data, at: int) -> tuple[Values, int]:
    """A row, and where it ends; that may be beyond the end of `data`, which its caller detects."""
    (count,) = _INT16(data, at)
    at += 2
    if type(data) is bytes and count <= _WRITTEN_OUT:
        return _reader(count)(data, at)
    values: list[Any] = []
    append = values.append
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + _INT32(data, at + 1)[0]
            append(data[start:at])
        elif kind == _NULL:
            append(None)
            at += 1
        elif kind == _UNCHANGED:
            append(UNCHANGED)
            at += 1
        else:
            raise _no_value(at)
    if isinstance(data, memoryview):
        values = [bytes(value) if isinstance(value, memoryview) else value for value in values]
    return tuple(values), at


_WRITTEN_OUT: Final = 64
"""Rows of more columns are read in a loop."""

_VALUE: Final = """
    kind = data[at]
    if kind == 116:
        start = at + 5
        at = start + length(data, at + 1)[0]
        v{0} = data[start:at]
    elif kind == 110:
        v{0} = None
        at += 1
    elif kind == 117:
        v{0} = unchanged
        at += 1
    else:
        raise no_value(at)
"""
"""How a value is read: the body of the loop in `read_row`."""


@cache
def _reader(count: int) -> Callable[[bytes, int], tuple[Values, int]]:
    """Reads a row of so many columns, written out: it takes two thirds of the time of a loop."""
    row = "".join(f"v{number}, " for number in range(count))
    body = "".join(_VALUE.format(number) for number in range(count))
    names: dict[str, Any] = {"length": _INT32, "unchanged": UNCHANGED, "no_value": _no_value}
    exec(f"def read(data, at):{body}\n    return ({row}), at\n", names)
    made: Callable[[bytes, int], tuple[Values, int]] = names["read"]
    return made


def _no_value(at: int) -> Misread:
    return Misread(at, "a value that is neither text, NULL nor unchanged (binary was not asked for)")
