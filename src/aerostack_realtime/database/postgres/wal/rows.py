"""A row out of the bytes of a message of `pgoutput` ("TupleData" in PostgreSQL's documentation)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
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


SHORT: Final = 1 << 16
"""A compiled reader is for messages of fewer bytes: the first two bytes of a value's length are 0."""
VALUE: Final = "data[start:at]"
LENGTH: Final = "at - start"
"""A value and its length in the source of a reader."""

_READ: Final = """
    if data[at] == 116:
        start = at + 5
        at = start + (length(data, at + 1)[0] if data[at + 3] else data[at + 4])
        v{number} = {value}
    elif data[at] == 110:
        v{number} = None
        at += 1
    else:
        raise no_value(at)
"""


def compiled_reader(
    values: Sequence[str], result: str, names: Mapping[str, Any]
) -> Callable[[Data, int], tuple[Any, int]]:
    """A function that reads a row and converts it, written out: it takes half the time of loops over the columns.

    `values` has the source of each value's conversion, in terms of VALUE, LENGTH and `names`; the function returns
    `result`, an expression of the values v0, v1, …, and where the row ends. It raises Misread for a value that is
    UNCHANGED.
    """
    read = "".join(_READ.format(number=number, value=value) for number, value in enumerate(values))
    known = {**names, "length": _INT32, "no_value": _no_value}
    exec(f"def read(data, at):\n    at += 2{read}\n    return {result}, at\n", known)
    made: Callable[[Data, int], tuple[Any, int]] = known["read"]
    return made


def merged(old: Values | None, new: Values) -> Values:
    """The new row, with its unchanged values from the whole old row; without one they stay UNCHANGED.

    Do not pass an old row that is `key_only`: its NULLs are not values.
    """
    if old is None or UNCHANGED not in new:
        return new
    return tuple(before if after is UNCHANGED else after for before, after in zip(old, new, strict=True))


def bytes_of(values: Values | None) -> int:
    """The bytes of a row's values."""
    return 0 if values is None else sum([len(value) for value in values if type(value) is bytes])


def _no_value(at: int) -> Misread:
    return Misread(at, "a value that is neither text, NULL nor unchanged (binary was not asked for)")
