"""Views: a table as one filter and one scope show it, and the index that leads a change to its views.

Views are indexed by their equality columns, so the cost of a change depends on how many different *sets of
columns* are filtered on, not on how many subscribers or values there are.
"""

import logging
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime.access.rows import EVERYTHING, RowTest, RuleFailed, Scope
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.tables.column_types import NORMALIZERS, SAFE_INTEGER, ComparableValue, comparable
from aerostack_realtime.database.base import Change, ColumnType, Row, Value
from aerostack_realtime.protocol.errors import Forbidden, InvalidFilter
from aerostack_realtime.protocol.messages import Filter, Operation

log = logging.getLogger(__name__)

MAX_CONDITIONS: Final = 16
MAX_CHOICES: Final = 100

Test = Callable[[Row], bool]
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_OPERATORS: Final = ("eq", "ne", *_COMPARE, "in")
_NOTHING: Final = object()
_COMPOUND: Final = (dict, list)

Columns = tuple[tuple[str, ColumnType | None], ...]
"""Columns of equality, and how each is compared."""
Key = tuple[ComparableValue, ...]
"""What the values of columns of equality are compared as."""


class Condition(Struct, frozen=True):
    """One column's condition; `operand` is a scalar, for `in` a tuple of them."""

    column: str
    operator: str
    operand: Any


class ViewDefinition(Struct, frozen=True):
    """What makes a view: rows that meet the conditions and pass the test, of the columns `shown` (None: all).

    `column_types`: how the columns of the conditions are compared, those that are not compared as they stand.
    """

    conditions: tuple[Condition, ...]
    test: RowTest | None = None
    shown: tuple[str, ...] | None = None
    column_types: tuple[tuple[str, ColumnType], ...] = ()


class View:
    """The rows of a table in a definition, and who watches them."""

    __slots__ = ("_tests", "audience", "columns", "definition", "equal", "key", "shown", "simple")

    def __init__(self, definition: ViewDefinition, audience: Audience) -> None:
        self.audience = audience
        self.take(definition)

    def take(self, definition: ViewDefinition) -> None:
        """Be a view of this definition from now on."""
        self.definition = definition
        self.shown = definition.shown
        column_types = dict(definition.column_types)
        equal = [each for each in definition.conditions if each.operator == "eq"]
        self.equal = {each.column: each.operand for each in equal}
        self.columns = tuple((each.column, column_types.get(each.column)) for each in equal)
        self.key = tuple(_meant(each.operand, column_types.get(each.column)) for each in equal)
        self._tests = [
            _test(each, column_types.get(each.column)) for each in definition.conditions if each.operator != "eq"
        ]
        if definition.test is not None:
            self._tests.append(definition.test)
        self.simple = not self._tests and self.shown is None
        """Whether equality alone decides what a change is to the view."""

    def shows(self, row: Row) -> bool:
        """Whether a row is in the view. Raises RuleFailed."""
        return _key(row, self.columns) == self.key and all(test(row) for test in self._tests)

    def unmet(self, row: Row) -> Condition | RowTest | None:
        """The first condition that keeps a row out of the view, or the test of its row rule; None for a row that
        is in it."""
        column_types = dict(self.definition.column_types)
        for each in self.definition.conditions:
            kind = column_types.get(each.column)
            if each.operator == "eq":
                met = _meant(row.get(each.column), kind) == _meant(each.operand, kind)
            else:
                met = _test(each, kind)(row)
            if not met:
                return each
        return None if self.shows(row) else self.definition.test

    def column_types(self, column_types: Mapping[str, ColumnType]) -> dict[str, str]:
        """Those of a table's column_types that concern columns which the view shows."""
        return {name: kind for name, kind in column_types.items() if self.shown is None or name in self.shown}

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
        self._views: dict[ViewDefinition, View] = {}
        self._index: dict[Columns, dict[Key, list[View]]] = {}
        self._keys: list[tuple[Callable[[Row], Key], dict[Key, list[View]]]] = []
        """The index as changes pass it: what finds the key of a row, and the views by that key."""
        self.only: tuple[Callable[[Row], Key], dict[Key, list[View]]] | None = None
        """The index of a table whose views all have the same columns of equality: the same two; else None."""

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[View]:
        return (view for keys in self._index.values() for views in keys.values() for view in views)

    def view(
        self,
        filter: Filter | None,
        columns: Sequence[str],
        scope: Scope = EVERYTHING,
        column_types: Mapping[str, ColumnType] = {},
    ) -> View:
        """The view of a filter within a scope over a table of `columns` with these `column_types`, created if new.

        Raises InvalidFilter, and Forbidden when the rules do not fit the table.
        """
        definition = _definition(filter or {}, columns, scope, column_types)
        view = self._views.get(definition)
        if view is None:
            view = View(definition, self._audience())
            self._add(view)
        return view

    def retype(self, column_types: Mapping[str, ColumnType]) -> None:
        """Compare by these column_types from now on: the table's columns have other types."""
        for view in list(self):
            definition = replace(view.definition, column_types=_compared(view.definition.conditions, column_types))
            if definition != view.definition:
                self._remove(view)
                view.take(definition)
                self._add(view)

    def discard(self, view: View) -> None:
        """Forget a view that nobody watches any more. Idempotent."""
        if not len(view.audience) and view in self._index.get(view.columns, {}).get(view.key, ()):
            self._remove(view)

    def _add(self, view: View) -> None:
        self._views[view.definition] = view
        if view.columns not in self._index:
            views = self._index[view.columns] = {}
            self._keys.append((_key_of(view.columns), views))
            self.only = self._keys[0] if len(self._keys) == 1 else None
        self._index[view.columns].setdefault(view.key, []).append(view)

    def _remove(self, view: View) -> None:
        if self._views.get(view.definition) is view:
            del self._views[view.definition]
        keys = self._index[view.columns]
        keys[view.key].remove(view)
        if not keys[view.key]:
            del keys[view.key]
        if not keys:
            del self._index[view.columns]
            self._keys = [each for each in self._keys if each[1] is not keys]
            self.only = self._keys[0] if len(self._keys) == 1 else None

    def route(self, change: Change) -> list[tuple[View, Operation | RuleFailed]]:
        """The views that a change concerns, and what it is to each: a rule that fails concerns its view alone."""
        found: list[tuple[View, Operation | RuleFailed]] = []
        data, old = change.data, change.old
        for key, keys in self._keys:
            after = key(data)
            if old is None or old is data or (before := key(old)) == after:
                for view in keys.get(after, ()):
                    if view.simple:
                        found.append((view, change.operation))
                    else:
                        _add_operation(found, view, change)
            else:
                for view in (*keys.get(after, ()), *keys.get(before, ())):
                    _add_operation(found, view, change)
        return found


def _add_operation(found: list[tuple[View, Operation | RuleFailed]], view: View, change: Change) -> None:
    try:
        operation = view.operation(change)
    except RuleFailed as failure:
        found.append((view, failure))
        return
    if operation is not None:
        found.append((view, operation))


def visible(columns: Sequence[str], scope: Scope) -> Sequence[str]:
    """The columns of a table that a scope shows."""
    return columns if scope.columns is None else [column for column in columns if column in scope.columns]


def _definition(
    filter: Filter, columns: Sequence[str], scope: Scope, column_types: Mapping[str, ColumnType]
) -> ViewDefinition:
    shown = visible(columns, scope)
    conditions = parse(filter, shown)
    if scope.equal:
        if missing := [column for column, _ in scope.equal if column not in columns]:
            log.error("a row rule names a column that its table does not have: %s", ", ".join(missing))
            raise Forbidden("The rules of this server do not fit the table; its log says why.")
        required = {
            Condition(column, "in", tuple(map(_exact, value)))
            if isinstance(value, tuple)
            else Condition(column, "eq", _exact(value))
            for column, value in scope.equal
        }
        conditions = tuple(sorted({*conditions, *required}, key=_order))
    return ViewDefinition(
        conditions,
        scope.test,
        None if scope.columns is None else tuple(shown),
        _compared(conditions, column_types),
    )


def _compared(
    conditions: Sequence[Condition], column_types: Mapping[str, ColumnType]
) -> tuple[tuple[str, ColumnType], ...]:
    return tuple(
        {each.column: column_types[each.column] for each in conditions if each.column in column_types}.items()
    )


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


def _scalar(column: str, operand: Any) -> Any:
    if isinstance(operand, dict | list):
        raise InvalidFilter(f"The value for {column!r} must be a string, a number, true, false or null.")
    return _exact(operand)


def _exact(value: Any) -> Any:
    """A value as on the wire, where integers that JSON has no room for are strings."""
    return str(value) if isinstance(value, int) and not -SAFE_INTEGER <= value <= SAFE_INTEGER else value


def _key(row: Row, columns: Columns) -> Key:
    return tuple([_meant(row.get(column), kind) for column, kind in columns])


def _key_of(columns: Columns) -> Callable[[Row], Key]:
    """`_key` for these columns: it runs for every change, so the usual cases have a shorter way."""
    if not columns:
        return lambda _: ()
    [(column, kind), *more] = columns
    if more or kind is not None:
        return lambda row: _key(row, columns)

    def key(row: Row) -> Key:
        value = row.get(column)
        return (_NOTHING,) if isinstance(value, _COMPOUND) else (value,)

    return key


def _meant(value: Value, kind: ColumnType | None) -> ComparableValue:
    """What a value is compared as; arrays and objects are equal to nothing that can be asked for."""
    if isinstance(value, _COMPOUND):
        return _NOTHING
    return value if kind is None else NORMALIZERS[kind](value)


def _test(condition: Condition, kind: ColumnType | None) -> Test:
    column = condition.column
    if condition.operator == "in":
        choices = tuple(_meant(each, kind) for each in condition.operand)
        return lambda row: _meant(row.get(column), kind) in choices
    operand = _meant(condition.operand, kind)
    if condition.operator == "ne":
        return lambda row: _meant(row.get(column), kind) != operand
    compare = _COMPARE[condition.operator]

    def test(row: Row) -> bool:
        value = _meant(row.get(column), kind)
        return comparable(value, operand) and compare(value, operand)

    return test
