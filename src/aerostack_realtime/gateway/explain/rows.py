"""A row change and one user: how each subscription's view decided about it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from aerostack_realtime.access.rows import RowTest, RuleFailed, Scope
from aerostack_realtime.access.rules import as_text
from aerostack_realtime.channels.tables.views import Condition, View
from aerostack_realtime.database.base import Change, ChangeFeed, Replay, Row
from aerostack_realtime.gateway.explain.findings import where, written
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.protocol.explanations import Finding

MAX_PARTS: Final = 500
"""Parts of a log that one question reads."""


class Key(Struct, frozen=True):
    """A row by one column and its value as text."""

    column: str
    value: str

    def names(self, row: Row | None) -> bool:
        return row is not None and as_text(row.get(self.column)) == self.value


class Found(Struct):
    """The changes of a row after a cursor, oldest first; `complete` is whether the log had all of them."""

    changes: list[Change]
    complete: bool


def key_of(written: str, columns: Sequence[str]) -> Key:
    """The row that `7` or `sku=A7` names. Raises BadMessage."""
    column, separator, value = written.partition("=")
    if separator and column in columns:
        return Key(column, value)
    return Key("id" if "id" in columns else columns[0], written)


async def changes_after(feed: ChangeFeed, table: str, since: str, key: Key) -> Found:
    """The changes of a row after a cursor. Raises AerostackError."""
    found = Found([], True)
    following: str | None = since
    for _ in range(MAX_PARTS):
        if following is None:
            return found
        part = Answer[Replay]()
        feed.replay(table, following, part.done, part.done)
        replay = await part
        found.complete = found.complete and replay.recovered
        found.changes += [each for each in replay.changes if key.names(each.data) or key.names(each.old)]
        following = replay.cursor if replay.more else None
    raise BadMessage("The log since this user subscribed is too long to be searched; ask sooner after the change.")


class Decision(Struct, frozen=True):
    """What a view did with a change: `sent` says whether its subscribers received it."""

    sent: bool
    finding: Finding
    by_rule: bool = False


def decide(user: str, change: Change, view: View, scope: Scope, columns: Sequence[str]) -> Decision:
    """What a change is to a view, and which condition decided. Values of hidden columns are left out."""
    facts: dict[str, Any] = {
        "operation": change.operation,
        "cursor": change.cursor,
        "timestamp": change.timestamp,
        "old": None if change.old is None else view.cut(change.old),
        "new": None if change.operation == "DELETE" else view.cut(change.data),
    }
    try:
        operation = view.operation(change)
    except RuleFailed as failed:
        return Decision(
            False, Finding("row_rule_failed", f"{failed.message} {user} was unsubscribed.", facts), True
        )
    if operation is not None:
        facts["delivered"] = operation
        sentence = f"The change was sent to {user} as {operation}."
        if operation != change.operation:
            moved = "into" if operation == "INSERT" else "out of"
            sentence = (
                f"The {change.operation} was sent to {user} as {operation}: it moved the row {moved} the view."
            )
            reason = _unmet(view, scope, change.old if operation == "INSERT" else change.data)
            facts["reason"] = reason.facts
        return Decision(True, Finding("row_sent", sentence, facts))
    if change.operation == "UPDATE" and change.old is not None and view.shows(change.data):
        changed = sorted(name for name in columns if change.old.get(name) != change.data.get(name))
        facts["changed"] = changed
        sentence = f"Only columns that {user} may not see have changed: {', '.join(changed)}."
        return Decision(False, Finding("hidden_columns", sentence, facts), True)
    return _not_shown(user, change, view, scope, facts)


class _Reason(Struct, frozen=True):
    code: str
    sentence: str
    facts: dict[str, Any]
    by_rule: bool


def _not_shown(user: str, change: Change, view: View, scope: Scope, facts: dict[str, Any]) -> Decision:
    new = None if change.operation == "DELETE" else change.data
    which = "old and the new row" if new is not None and change.old is not None else "row"
    reason = _unmet(view, scope, change.data if new is None else new)
    facts |= {"condition": reason.facts}
    sentence = f"The {which} {'are' if which != 'row' else 'is'} not in the view of {user}: {reason.sentence}"
    return Decision(False, Finding(reason.code, sentence, facts), reason.by_rule)


def _unmet(view: View, scope: Scope, row: Row | None) -> _Reason:
    """The condition that keeps a row out of a view."""
    unmet = None if row is None else view.unmet(row)
    if row is None or unmet is None:
        return _Reason("in_view", "there was no row before.", {}, False)
    hidden = view.shown is not None
    if isinstance(unmet, RowTest):
        operand, failure, values = unmet.explain(row)
        seen = _visible(values, view)
        facts: dict[str, Any] = {"source": unmet.source, "false": operand, "values": seen}
        why = "has no value" if failure else "is false"  # the reason may hold a hidden value
        return _Reason("row_rule", f"the row rule's {operand} {why}{where(seen)}.", facts, True)
    by_rule = any(column == unmet.column for column, _ in scope.equal)
    value = row.get(unmet.column)
    may_see = not hidden or unmet.column in (view.shown or ())
    facts = {"column": unmet.column, "operator": unmet.operator, "wanted": unmet.operand}
    if may_see:
        facts["value"] = value
    is_now = f"; it is {written(value)}" if may_see else ""
    said = f"{unmet.column} {_SIGNS[unmet.operator]} {written(unmet.operand)}"
    if by_rule:
        return _Reason("row_rule", f"the row rule wants {said}{is_now}.", facts, True)
    if _other_type(unmet, value):
        sentence = (
            f"the filter compares {unmet.column} with {written(unmet.operand)}, a {_kind(unmet.operand)}, but the "
            f"column holds {written(value)}, a {_kind(value)}."
        )
        return _Reason("filter_type", sentence, facts, False)
    return _Reason("filter", f"the filter wants {said}{is_now}.", facts, False)


_SIGNS: Final = {"eq": "=", "ne": "≠", "lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "in": "in"}


def _other_type(condition: Condition, value: object) -> bool:
    operand = condition.operand
    return value is not None and operand is not None and _kind(operand) != _kind(value) and operand is not value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "list" if isinstance(value, list | tuple) else "object"


def _visible(values: Mapping[str, Any], view: View) -> dict[str, Any]:
    """The values that an expression saw, without those of hidden columns."""
    shown = view.shown
    return {
        name: value
        for name, value in values.items()
        if shown is None or not name.startswith("row.") or name.removeprefix("row.") in shown
    }
