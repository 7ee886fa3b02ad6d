"""Views: a table as one filter and one scope show it, and the index that leads a change to its views.

Views are indexed by their equality columns, so the cost of a change depends on how many different *sets of
columns* are filtered on, not on how many subscribers or values there are.
"""

import logging
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from aerostack_realtime.access.rows import EVERYTHING, RowTest, RuleFailed, Scope
from aerostack_realtime.channels.audience import Audience
from aerostack_realtime.database.base import Change, Row, Value
from aerostack_realtime.protocol.errors import Forbidden, InvalidFilter
from aerostack_realtime.protocol.messages import Filter, Operation

log = logging.getLogger(__name__)

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


class Shape(Struct, frozen=True):
    """What makes a view: rows that meet the conditions and pass the test, of the columns `shown` (None: all)."""

    conditions: tuple[Condition, ...]
    test: RowTest | None = None
    shown: tuple[str, ...] | None = None


class View:
    """The rows of a table in a shape, and who watches them."""

    __slots__ = ("_tests", "audience", "columns", "key", "shape", "shown")

    def __init__(self, shape: Shape, audience: Audience) -> None:
        self.shape = shape
        self.shown = shape.shown
        self.audience = audience
        equal = [each for each in shape.conditions if each.operator == "eq"]
        self.columns = tuple(each.column for each in equal)
        self.key = tuple(each.operand for each in equal)
        self._tests = [_test(each) for each in shape.conditions if each.operator != "eq"]
        if shape.test is not None:
            self._tests.append(shape.test)

    def shows(self, row: Row) -> bool:
        """Whether a row is in the view. Raises RuleFailed."""
        return _key(row, self.columns) == self.key and all(test(row) for test in self._tests)

    def cut(self, row: Row) -> Row:
        """A row as the view shows it: without the columns that are hidden."""
        return row if self.shown is None else {column: row.get(column) for column in self.shown}

    def operation(self, change: Change) -> Operation | None:
        """What a change is to the view: a row that an UPDATE moves into it is an INSERT there, one that it
        moves out is a DELETE, and one that never was in it is nothing; nor is one of hidden columns alone.

        Raises RuleFailed.
        """
        before = change.old is not None and self.shows(change.old)
        after = change.operation != "DELETE" and self.shows(change.data)
        if not before:
            return "INSERT" if after else None
        if not after:
            return "DELETE"
        if self.shown is not None and change.old is not None and self.cut(change.old) == self.cut(change.data):
            return None
        return "UPDATE"


class Views:
    """The views of one table."""

    def __init__(self, audience: Callable[[], Audience]) -> None:
        self._audience = audience
        self._views: dict[Shape, View] = {}
        self._index: dict[tuple[str, ...], dict[tuple[Value, ...], list[View]]] = {}

    def __iter__(self) -> Iterator[View]:
        return iter(self._views.values())

    def view(self, filter: Filter | None, columns: Sequence[str], scope: Scope = EVERYTHING) -> View:
        """The view of a filter within a scope over a table of `columns`, made when it is new.

        Raises InvalidFilter, and Forbidden when the rules do not fit the table.
        """
        shape = _shape(filter or {}, columns, scope)
        view = self._views.get(shape)
        if view is None:
            view = self._views[shape] = View(shape, self._audience())
            self._index.setdefault(view.columns, {}).setdefault(view.key, []).append(view)
        return view

    def discard(self, view: View) -> None:
        """Forget a view that nobody watches any more. Idempotent."""
        if len(view.audience) or self._views.get(view.shape) is not view:
            return
        del self._views[view.shape]
        keys = self._index[view.columns]
        keys[view.key].remove(view)
        if not keys[view.key]:
            del keys[view.key]
        if not keys:
            del self._index[view.columns]

    def route(self, change: Change) -> Iterator[tuple[View, Operation | RuleFailed]]:
        """The views that a change concerns, and what it is to each: a rule that fails concerns its view alone."""
        for columns, keys in self._index.items():
            after = _key(change.data, columns)
            before = after if change.old is None else _key(change.old, columns)
            candidates = keys.get(after, [])
            if before != after:
                candidates = candidates + keys.get(before, [])
            for view in candidates:
                operation: Operation | RuleFailed | None
                try:
                    operation = view.operation(change)
                except RuleFailed as failure:
                    operation = failure
                if operation is not None:
                    yield view, operation


def visible(columns: Sequence[str], scope: Scope) -> Sequence[str]:
    """The columns of a table that a scope shows."""
    return columns if scope.columns is None else [column for column in columns if column in scope.columns]


def _shape(filter: Filter, columns: Sequence[str], scope: Scope) -> Shape:
    shown = visible(columns, scope)
    conditions = parse(filter, shown)
    if scope.equal:
        if missing := [column for column, _ in scope.equal if column not in columns]:
            log.error("a row rule names a column that its table does not have: %s", ", ".join(missing))
            raise Forbidden("The rules of this server do not fit the table; its log says why.")
        required = {
            Condition(column, "in" if isinstance(value, tuple) else "eq", value) for column, value in scope.equal
        }
        conditions = tuple(sorted({*conditions, *required}, key=_order))
    return Shape(conditions, scope.test, None if scope.columns is None else tuple(shown))


def _order(condition: Condition) -> tuple[str, str, str]:
    return condition.column, condition.operator, repr(condition.operand)


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
