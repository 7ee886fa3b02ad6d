"""Views: a table as one filter shows it, and the index that leads a change to the views it concerns.

Views are indexed by their equality columns, so the cost of a change depends on how many different *sets of
columns* are filtered on, not on how many subscribers or values there are.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from aerostack_realtime.channels.audience import Audience
from aerostack_realtime.database.base import Change, Row, Value
from aerostack_realtime.protocol.errors import InvalidFilter
from aerostack_realtime.protocol.messages import Filter, Operation

MAX_CONDITIONS: Final = 16
MAX_CHOICES: Final = 100
_EXACT: Final = 2**53 - 1  # integers beyond stand as strings on the wire

Test = Callable[[Row], bool]
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_OPERATORS: Final = ("eq", "ne", *_COMPARE, "in")


class Condition(Struct, frozen=True):
    """One column's condition; `operand` is a scalar, for `in` a tuple of them."""

    column: str
    operator: str
    operand: Any


class View:
    """The rows of a table that meet `conditions`, and who watches them."""

    __slots__ = ("_tests", "audience", "columns", "conditions", "key")

    def __init__(self, conditions: tuple[Condition, ...], audience: Audience) -> None:
        self.conditions = conditions
        self.audience = audience
        equal = [each for each in conditions if each.operator == "eq"]
        self.columns = tuple(each.column for each in equal)
        self.key = tuple(each.operand for each in equal)
        self._tests = [_test(each) for each in conditions if each.operator != "eq"]

    def shows(self, row: Row) -> bool:
        """Whether a row is in the view."""
        return _key(row, self.columns) == self.key and all(test(row) for test in self._tests)

    def operation(self, change: Change) -> Operation | None:
        """What a change is to the view: a row that an UPDATE moves into it is an INSERT there, one that it
        moves out is a DELETE, and one that never was in it is nothing."""
        before = change.old is not None and self.shows(change.old)
        after = change.operation != "DELETE" and self.shows(change.data)
        if before:
            return "UPDATE" if after else "DELETE"
        return "INSERT" if after else None


class Views:
    """The views of one table."""

    def __init__(self, audience: Callable[[], Audience]) -> None:
        self._audience = audience
        self._views: dict[tuple[Condition, ...], View] = {}
        self._index: dict[tuple[str, ...], dict[tuple[Value, ...], list[View]]] = {}

    def __iter__(self) -> Iterator[View]:
        return iter(self._views.values())

    def view(self, filter: Filter | None, columns: Sequence[str]) -> View:
        """The view of a filter over a table of `columns`, made when it is new. Raises InvalidFilter."""
        conditions = parse(filter or {}, columns)
        view = self._views.get(conditions)
        if view is None:
            view = self._views[conditions] = View(conditions, self._audience())
            self._index.setdefault(view.columns, {}).setdefault(view.key, []).append(view)
        return view

    def discard(self, view: View) -> None:
        """Forget a view that nobody watches any more. Idempotent."""
        if len(view.audience) or self._views.get(view.conditions) is not view:
            return
        del self._views[view.conditions]
        keys = self._index[view.columns]
        keys[view.key].remove(view)
        if not keys[view.key]:
            del keys[view.key]
        if not keys:
            del self._index[view.columns]

    def route(self, change: Change) -> Iterator[tuple[View, Operation]]:
        """The views that a change concerns, and what it is to each."""
        for columns, keys in self._index.items():
            after = _key(change.data, columns)
            before = after if change.old is None else _key(change.old, columns)
            candidates = keys.get(after, [])
            if before != after:
                candidates = candidates + keys.get(before, [])
            for view in candidates:
                operation = view.operation(change)
                if operation is not None:
                    yield view, operation


def parse(filter: Filter, columns: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions of a filter, in one order whatever order they were written in. Raises InvalidFilter."""
    conditions: dict[tuple[str, str], Condition] = {}
    for column, wanted in filter.items():
        if column not in columns:
            raise InvalidFilter(f"The table has no column {column[:80]!r}; it has {', '.join(columns)[:300]}.")
        for name, operand in (wanted if isinstance(wanted, dict) else {"eq": wanted}).items():
            conditions[column, name] = Condition(column, name, _operand(column, name, operand))
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidFilter(f"A filter has at most {MAX_CONDITIONS} conditions; this one has {len(conditions)}.")
    return tuple(conditions[key] for key in sorted(conditions))


def _operand(column: str, name: str, operand: Any) -> Any:
    if name not in _OPERATORS:
        raise InvalidFilter(f"A filter knows {' '.join(_OPERATORS)}; {name[:40]!r} on {column!r} is none of them.")
    if name == "in":
        if not isinstance(operand, list) or len(operand) > MAX_CHOICES:
            raise InvalidFilter(f"'in' on {column!r} takes a list of at most {MAX_CHOICES} values.")
        return tuple(_scalar(column, each) for each in operand)
    return _scalar(column, operand)


def _scalar(column: str, operand: Any) -> Value:
    if isinstance(operand, dict | list):
        raise InvalidFilter(f"The value for {column!r} must be a string, a number, true, false or null.")
    if isinstance(operand, int) and not -_EXACT <= operand <= _EXACT:
        return str(operand)
    return operand  # type: ignore[no-any-return]


def _key(row: Row, columns: tuple[str, ...]) -> tuple[Value, ...]:
    return tuple([_hashable(row.get(column)) for column in columns])


def _hashable(value: Value) -> Value:
    return None if isinstance(value, dict | list) else value


def _test(condition: Condition) -> Test:
    column, operand = condition.column, condition.operand
    if condition.operator == "in":
        return lambda row: _hashable(row.get(column)) in operand
    if condition.operator == "ne":
        return lambda row: row.get(column) != operand
    compare = _COMPARE[condition.operator]

    def test(row: Row) -> bool:
        value = row.get(column)
        return _comparable(value, operand) and compare(value, operand)

    return test


def _comparable(value: Value, operand: Value) -> bool:
    if isinstance(value, str):
        return isinstance(operand, str)
    return isinstance(value, int | float) and isinstance(operand, int | float)
