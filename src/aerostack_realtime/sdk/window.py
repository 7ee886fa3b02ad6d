"""Which of a table's rows are shown, and in which order. No I/O, no clock.

With a limit the client holds some rows more than it shows, and knows the edge up to which it holds them all. A row
beyond the edge is ignored; when too few rows remain inside, they are requested again.
"""

from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from functools import cmp_to_key
from typing import Any, Final

from msgspec import Raw

from aerostack_realtime.protocol.messages import encode

Row = dict[str, Any]
SPARE: Final = 20
"""Rows requested beyond the limit: this many may leave before the rows have to be requested again."""
_LARGEST: Final = 10_000  # docs/protocol.md §6


class Window:
    """An order (`column`, or `-column` for descending) and a limit, either of which may be None. `key` is the
    column that identifies a row."""

    def __init__(self, order: str | None, limit: int | None, key: str = "id") -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"A limit is at least 1, not {limit}.")
        self.limit = limit
        self._column = order.removeprefix("-") if order is not None else None
        self._sign = -1 if order is not None and order.startswith("-") else 1
        self._requested = None if limit is None else max(limit, min(limit + SPARE, _LARGEST))
        self._key = key
        self._numbers: Collection[str] = ()
        self._edge: tuple[Any, Any] | None = None  # the last row that is held; None: all are

    @property
    def wanted(self) -> Raw:
        """The value of `snapshot` in a subscribe command. Without an order the first rows are those by key, which
        need not be the table's primary key."""
        order = None if self._column is None else ("-" if self._sign < 0 else "") + self._column
        if order is None and self.limit is not None:
            order = self._key
        requested = {"limit": self._requested, "order": order}
        return Raw(encode({name: value for name, value in requested.items() if value is not None} or True))

    def begin(self, rows: dict[Any, Row], numbers: Collection[str] = ()) -> None:
        """The server sent these rows; strings in the columns `numbers` represent numbers."""
        self._numbers = numbers
        self._edge = None
        if self._requested is not None and len(rows) >= self._requested:
            key = self.sorted(rows)[-1]
            self._edge = self._place(key, rows[key])

    def covers(self, key: Any, row: Row) -> bool:
        """Whether a row is inside the edge."""
        return self._edge is None or self._compare(self._place(key, row), self._edge) <= 0

    def needs_more(self, known: int) -> bool:
        """Whether the rows have to be requested again, now that `known` rows are held."""
        return self._edge is not None and self.limit is not None and known < self.limit

    def sorted(self, rows: dict[Any, Row]) -> list[Any]:
        """The keys of rows in their order; without one, in the order they arrived."""
        if self._column is None and self.limit is None:
            return list(rows)
        places = {key: self._place(key, row) for key, row in rows.items()}
        by = cmp_to_key(self._compare)
        return sorted(places, key=lambda key: by(places[key]))

    def shown(self, rows: dict[Any, Row]) -> list[Any]:
        """The keys of the rows to show."""
        return self.sorted(rows)[: self.limit]

    def _place(self, key: Any, row: Row) -> tuple[Any, Any]:
        value = None if self._column is None else row.get(self._column)
        return (
            _number(value) if self._column in self._numbers else value,
            _number(key) if self._key in self._numbers else key,
        )

    def _compare(self, one: tuple[Any, Any], other: tuple[Any, Any]) -> int:
        return self._sign * compare(one[0], other[0]) or compare(one[1], other[1])


def compare(one: Any, other: Any) -> int:
    """SQLite's order of values: NULL, numbers, text; below, at or above 0."""
    left, right = (_rank(one), one), (_rank(other), other)
    if left[0] != right[0]:
        return -1 if left[0] < right[0] else 1
    if one == other:
        return 0
    return -1 if one < other else 1


def _number(value: Any) -> Any:
    """The number that a string represents; any other value unchanged."""
    if not isinstance(value, str):
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    return value if number.is_nan() else number


def _rank(value: Any) -> int:
    if value is None:
        return 0
    return 1 if isinstance(value, int | float | Decimal) else 2
