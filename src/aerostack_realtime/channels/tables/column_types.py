"""What a column's value stands for where its string on the wire is not a text, so that filters compare by type.

Clients that filter themselves do the same (packages/realtime/src/column-types.ts); spec/filters.json tests both.
A meaning is hashable and ordered among the meanings of its type. A string that is not a value of the type means
itself.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from aerostack_realtime.database.base import ColumnType, Value

SAFE_INTEGER: Final = 2**53 - 1

ComparableValue = Any
_DECIMAL: Final = re.compile(r"[+-]?\d{1,1000}(\.\d{0,1000})?([eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER: Final = re.compile(r"-?[1-9]\d{15,18}", re.ASCII)
_INSTANT: Final = re.compile(
    r"(?!0000)\d{4}-\d\d-\d\d"
    r"([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?)?",
    re.ASCII,
)
_INFINITE: Final = ("Infinity", "-Infinity")


def _decimal(value: Value) -> ComparableValue:
    if isinstance(value, str):
        return Decimal(value) if _DECIMAL.fullmatch(value) else value
    return Decimal(repr(value)) if isinstance(value, float) else value


def _integer(value: Value) -> ComparableValue:
    if isinstance(value, str) and _INTEGER.fullmatch(value) and abs(number := int(value)) > SAFE_INTEGER:
        return number
    return value


def _float(value: Value) -> ComparableValue:
    return float(value) if isinstance(value, str) and value in _INFINITE else value


def _instant(value: Value) -> ComparableValue:
    """A time without an offset is UTC; what is finer than a microsecond is cut off."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        return value
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return value
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _uuid(value: Value) -> ComparableValue:
    return value.lower() if isinstance(value, str) else value


NORMALIZERS: Final[dict[ColumnType, Callable[[Value], ComparableValue]]] = {
    "decimal": _decimal,
    "integer": _integer,
    "float": _float,
    "instant": _instant,
    "uuid": _uuid,
}


def comparable(one: ComparableValue, other: ComparableValue) -> bool:
    """Whether two meanings are of one order: numbers, texts, instants."""
    if isinstance(one, str):
        return isinstance(other, str)
    if isinstance(one, datetime):
        return isinstance(other, datetime)
    return isinstance(one, int | float | Decimal) and isinstance(other, int | float | Decimal)
