"""SQLite values as the values of the wire (docs/protocol.md §4, "Row changes"), and back as parameters."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Sequence

import apsw

from aerostack_realtime.database.base import Row, Value
from aerostack_realtime.protocol.errors import BadMessage

SAFE_INTEGER = 2**53 - 1
"""Beyond it a JSON number is no longer exact in a browser."""

_INT64 = range(-(2**63), 2**63)


def to_wire(value: apsw.SQLiteValue) -> Value:
    """One SQLite value as on the wire: large integers and infinities as strings, BLOBs as base64."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is int:
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)  # type: ignore[operator]
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "Infinity" if value > 0 else "-Infinity"
    return b64encode(value).decode("ascii")  # type: ignore[arg-type]


def to_row(columns: Sequence[str], values: Iterable[apsw.SQLiteValue]) -> Row:
    """A row by column name; of two columns with the same name the last one wins."""
    return dict(zip(columns, map(to_wire, values), strict=False))


def size(values: Iterable[apsw.SQLiteValue]) -> int:
    """The approximate size of the values in bytes, which bounds batches."""
    return sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in values)


def to_parameters(params: Sequence[Value]) -> list[int | float | str | None]:
    """Parameters of a statement. Raises BadMessage for what SQLite cannot hold."""
    accepted: list[int | float | str | None] = []
    for number, value in enumerate(params, 1):
        if isinstance(value, (list, dict)):
            raise BadMessage(f"Parameter {number} is a {type(value).__name__}: pass it as JSON text instead.")
        if isinstance(value, int) and value not in _INT64:
            raise BadMessage(f"Parameter {number} does not fit into 64 bits: pass it as text instead.")
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise BadMessage(f"Parameter {number} must be null, a boolean, a number or a string.")
        if isinstance(value, str) and not _encodable(value):
            raise BadMessage(f"Parameter {number} contains a lone surrogate, which is not valid text.")
        accepted.append(int(value) if isinstance(value, bool) else value)
    return accepted


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def tolerant(expression: str) -> str:
    """SQL for two result columns that `repair` turns into the value, also when its text is not UTF-8."""
    return (
        f"typeof({expression}) = 'text', "
        f"CASE typeof({expression}) WHEN 'text' THEN CAST({expression} AS BLOB) ELSE {expression} END"
    )


def repair(pairs: Sequence[apsw.SQLiteValue]) -> list[apsw.SQLiteValue]:
    """The values of columns selected by `tolerant`; invalid UTF-8 becomes replacement characters."""
    return [
        value.decode("utf-8", "replace") if is_text and isinstance(value, bytes) else value
        for is_text, value in zip(pairs[::2], pairs[1::2], strict=True)
    ]
