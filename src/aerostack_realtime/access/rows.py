"""Row rules: which rows and columns of a table an identity sees."""

import logging
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakValueDictionary

from msgspec import Struct

from aerostack_realtime.access.expressions import Expression, Failed, false_operand, used
from aerostack_realtime.protocol.errors import Forbidden

log = logging.getLogger(__name__)

MAX_CHOICES: Final = 100
Scalar = None | bool | int | float | str


class RuleFailed(Forbidden):
    """A rule gave no answer for a row: its own subscribers are denied, nobody else."""


class RowTest:
    """A row rule for everyone whose claims are the same to it, evaluated once per row."""

    def __init__(self, expression: Expression, user: Mapping[str, Any], name: str) -> None:
        self._expression = expression
        self._user = dict(user)
        self._name = name
        self._seen: list[tuple[Mapping[str, Any], bool]] = []

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Whether the row may be seen. Raises RuleFailed."""
        for seen, shown in self._seen:
            if seen is row:
                return shown
        try:
            shown = self._expression.holds({**self._user, "row": row})
        except Failed as failure:
            log.warning("the row rule of %s failed and denies its subscriber: %s", self._name, failure)
            raise RuleFailed(f"The row rule of {self._name} failed on a row; the server's log says why.") from None
        self._seen = [*self._seen[-1:], (row, shown)]  # the old and the new row of one change
        return shown

    @property
    def source(self) -> str:
        """The expression as it is written in the settings."""
        return self._expression.source

    def explain(self, row: Mapping[str, Any]) -> tuple[str, str | None, dict[str, Any]]:
        """The operand of the expression that is not true for a row, why it has no value if it has none, and the
        values that it names."""
        known = {**self._user, "row": row}
        operand, failure = false_operand(self._expression.source, (), known, row=True)
        return operand, failure, used(operand, known)


class Scope(Struct, frozen=True):
    """The part of a table that an identity sees: rows with these values that pass the test, of these columns.

    A value that is a tuple stands for any of its items. None for `columns`: all of them.
    """

    equal: tuple[tuple[str, Scalar | tuple[Scalar, ...]], ...] = ()
    test: RowTest | None = None
    columns: tuple[str, ...] | None = None


EVERYTHING: Final = Scope()


class Rows:
    """The `rows` and `columns` of one table's rule, compiled. Raises ValueError."""

    def __init__(self, name: str, rows: Mapping[str, str] | str | None, columns: tuple[str, ...] | None) -> None:
        self._name = name
        self._columns = columns
        self._equal: dict[str, Expression] = {}
        self._expression: Expression | None = None
        self._tests: WeakValueDictionary[bytes, RowTest] = WeakValueDictionary()
        if isinstance(rows, str):
            self._expression = Expression(rows, row=True)
        else:
            self._equal = {column: Expression(each, boolean=False) for column, each in (rows or {}).items()}

    def scope(self, user: Mapping[str, Any]) -> Scope:
        """What a user sees. Raises Forbidden when the rule has no answer for them."""
        equal = tuple((column, self._wanted(column, each, user)) for column, each in self._equal.items())
        return Scope(equal, self._test(user), self._columns)

    def _wanted(self, column: str, expression: Expression, user: Mapping[str, Any]) -> Scalar | tuple[Scalar, ...]:
        try:
            value = expression(user)
        except Failed as failure:
            log.info("rows.%s of %s gives no value: %s", column, self._name, failure)
            raise self._denied() from None
        if isinstance(value, list) and len(value) <= MAX_CHOICES and all(map(_is_value, value)):
            return tuple(value)
        if not _is_value(value):
            raise self._denied()
        return value  # type: ignore[no-any-return]

    def _denied(self) -> Forbidden:
        return Forbidden(f"The rules of {self._name} show no rows to this user.")

    def _test(self, user: Mapping[str, Any]) -> RowTest | None:
        if self._expression is None:
            return None
        group = self._expression.group(user)
        test = self._tests.get(group)
        if test is None:
            test = self._tests[group] = RowTest(self._expression, user, self._name)
        return test


def _is_value(value: object) -> bool:
    """Null is none: a claim that is missing must not meet the rows where the column is."""
    return isinstance(value, bool | int | float | str)
