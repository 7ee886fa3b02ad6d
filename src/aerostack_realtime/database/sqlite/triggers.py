"""The SQL of a watched table's triggers, from its layout. Pure text.

They run in the *writer's* SQLite, which may be years old and have any pragma set, and must never make its
statement fail. So: only SQL of SQLite 3.8, no functions over values, no conflict clauses (the writer's own
would override them), every name quoted.

**Columns that may be dropped.** `ALTER TABLE … DROP COLUMN c` fails while a trigger says `NEW.c`. Every reference
therefore stands in a scalar subquery below a *padding*, a subselect of NULLs named like the trigger's row:
in `SELECT (SELECT NEW."c") FROM (SELECT NULL AS "c") AS NEW` the inner `NEW` is the trigger's row as long as it
has the column, and the padding afterwards.

**Replaced rows.** REPLACE fires DELETE triggers only when the writer set `recursive_triggers`. So before a
row is written, the rows that it conflicts with on any unique key are noted; after it, those notes whose row is
actually gone become DELETEs, before the change itself. The DELETE trigger removes the note of the row it
reports. Notes whose row is still there are stale (IGNORE, DO NOTHING, a failed row) and never reported. Only the
kind of statement that noted a row reports it: a foreign key's action may update the table in between.

**Order.** SQLite fires the newest trigger first. Ours must come before the user's AFTER triggers, so that what
those write is logged after its cause; `changelog` recreates ours when a newer one appears.
"""

from collections.abc import Sequence

from aerostack_realtime.database.sqlite.schema import PREFIX, Key, Table, Term, quote

CHANGES = f"{PREFIX}changes"
REPLACED = f"{PREFIX}replaced"
INSERT, UPDATE, DELETE = 1, 2, 3

_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)"


def trigger_prefix(layout: int) -> str:
    """The prefix of the names of a layout's triggers."""
    return f"{PREFIX}{layout}_"


def triggers(layout: int, table: Table) -> dict[str, str]:
    """CREATE TRIGGER statements by trigger name, in the order of creation."""
    bodies = {"delete": ("AFTER DELETE", [*_strike(layout, table), _log_delete(layout, table)])}
    if table.keys:
        bodies["before_insert"] = ("BEFORE INSERT", _note_conflicts(layout, table, moving=False))
        bodies["before_update"] = ("BEFORE UPDATE", _note_conflicts(layout, table, moving=True))
    bodies["update"] = (
        "AFTER UPDATE",
        [*_report_replaced(layout, table, moving=True), _log_update(layout, table)],
    )
    bodies["insert"] = (
        "AFTER INSERT",
        [*_report_replaced(layout, table, moving=False), _log_insert(layout, table)],
    )
    statements = {}
    for suffix, (event, body) in bodies.items():
        name = trigger_prefix(layout) + suffix
        guard = f" WHEN {_worth_noting(table, moving='update' in suffix)}" if suffix.startswith("before") else ""
        lines = "".join(f"\n  {statement};" for statement in body)
        statements[name] = (
            f"CREATE TRIGGER {quote(name)} {event} ON {quote(table.name)} FOR EACH ROW{guard} BEGIN{lines}\nEND"
        )
    return statements


def _padding(table: Table, alias: str) -> str:
    return f"(SELECT {', '.join(f'NULL AS {quote(column)}' for column in table.columns)}) AS {alias}"


def _value(row: str, column: str) -> str:
    """One value of NEW or OLD under its own padding: joining two paddings would cost a temporary table."""
    return f"(SELECT (SELECT {row}.{quote(column)}) FROM (SELECT NULL AS {quote(column)}) AS {row})"


def _values(table: Table, row: str) -> str:
    return ", ".join(_value(row, column) for column in table.columns)


def _columns(letter: str, count: int) -> str:
    return ", ".join(f"{letter}{number}" for number in range(count))


def _log_insert(layout: int, table: Table) -> str:
    return (
        f"INSERT INTO {CHANGES}(layout, op, at, {_columns('n', len(table.columns))}) "
        f"VALUES({layout}, {INSERT}, {_NOW}, {_values(table, 'NEW')})"
    )


def _log_update(layout: int, table: Table) -> str:
    count = len(table.columns)
    return (
        f"INSERT INTO {CHANGES}(layout, op, at, {_columns('o', count)}, {_columns('n', count)}) "
        f"VALUES({layout}, {UPDATE}, {_NOW}, {_values(table, 'OLD')}, {_values(table, 'NEW')})"
    )


def _log_delete(layout: int, table: Table) -> str:
    return (
        f"INSERT INTO {CHANGES}(layout, op, at, {_columns('o', len(table.columns))}) "
        f"VALUES({layout}, {DELETE}, {_NOW}, {_values(table, 'OLD')})"
    )


def _same(table: Table, left: str, right: str) -> str:
    """The condition that `left` (with the column's collation) and `right` (a note) are the same row."""
    return " AND ".join(f"{left}.{quote(name)} = {right}.k{number}" for number, name in enumerate(table.identity))


def _still_there(table: Table, note: str) -> str:
    return f"EXISTS (SELECT 1 FROM {quote(table.name)} AS r WHERE {_same(table, 'r', note)})"


def _strike(layout: int, table: Table) -> list[str]:
    if not table.keys:
        return []
    return [f"DELETE FROM {REPLACED} WHERE layout = {layout} AND {_same(table, 'OLD', REPLACED)}"]


def _note_conflicts(layout: int, table: Table, *, moving: bool) -> list[str]:
    identity = range(len(table.identity))
    clear = f"DELETE FROM {REPLACED} WHERE layout = {layout} AND {_still_there(table, REPLACED)}"
    other = f" AND NOT ({_same(table, 'OLD', 'c')})" if moving else ""
    old = ", ".join(
        f"(SELECT r.{quote(column)} FROM {quote(table.name)} AS r WHERE {_same(table, 'r', 'c')})"
        for column in table.columns
    )
    noted = " AND ".join(f"p.k{number} = c.k{number}" for number in identity)
    statements = [clear]
    for key in table.keys:
        found = ", ".join(f"{_conflicting(table, key, name)} AS k{n}" for n, name in enumerate(table.identity))
        statements.append(
            f"INSERT INTO {REPLACED}(layout, moving, {_columns('k', len(identity))}, "
            f"{_columns('o', len(table.columns))}) "
            f"SELECT {layout}, {int(moving)}, {', '.join(f'c.k{n}' for n in identity)}, {old} "
            f"FROM (SELECT {found}) AS c, {_padding(table, 'r')} WHERE c.k0 IS NOT NULL{other} "
            f"AND NOT EXISTS (SELECT 1 FROM {REPLACED} AS p WHERE p.layout = {layout} AND {noted})"
        )
    return statements


def _conflicting(table: Table, key: Key, name: str) -> str:
    """The identity column `name` of the row that conflicts with NEW on `key`; there is at most one."""
    conditions = [_equal(table, term) for term in key.terms]
    if key.condition is not None:
        conditions += [f"({key.condition})", _of_new(table, key.condition)]
    return (
        f"(SELECT (SELECT (SELECT r.{quote(name)} FROM {quote(table.name)} AS r WHERE {' AND '.join(conditions)}) "
        f"FROM {_padding(table, 'NEW')}) FROM {_padding(table, 'r')})"
    )


def _equal(table: Table, term: Term) -> str:
    if term.column is None:
        return f"({term.expression}) COLLATE {quote(term.collation)} = {_of_new(table, term.expression)}"
    column = quote(term.column)
    if (term.column,) == table.identity:
        return f"r.{column} = NEW.{column}"
    return f"r.{column} COLLATE {quote(term.collation)} = NEW.{column}"


def _of_new(table: Table, expression: str) -> str:
    """An index's expression (with unqualified names) over the new row; affinity and collation are kept."""
    columns = ", ".join(f"NEW.{quote(column)} AS {quote(column)}" for column in table.columns)
    return f"(SELECT {expression} FROM (SELECT {columns}))"


def _keys_changed(table: Table) -> str:
    """A condition that holds only for updates that can conflict; "" when the key has expressions."""
    columns: list[str] = []
    for key in table.keys:
        if key.condition is not None or any(term.column is None for term in key.terms):
            return ""
        columns += [term.column for term in key.terms if term.column is not None and term.column not in columns]
    changed = " OR ".join(f"{_value('NEW', column)} IS NOT {_value('OLD', column)}" for column in columns)
    return f"({changed})"


def _worth_noting(table: Table, *, moving: bool) -> str:
    """Whether there is anything to note or to clear. For nearly every row there is not, so this check is the whole
    cost (noting itself needs temporary tables)."""
    conflicts = " OR ".join(f"{_conflicting(table, key, table.identity[0])} IS NOT NULL" for key in table.keys)
    changed = _keys_changed(table) if moving else ""
    possible = f"{changed} AND " if changed else ""
    return f"{possible}({conflicts} OR EXISTS (SELECT 1 FROM {REPLACED}))"


def _report_replaced(layout: int, table: Table, *, moving: bool) -> Sequence[str]:
    if not table.keys:
        return []
    changed = _keys_changed(table) if moving else ""
    possible = f" AND {changed}" if changed else ""

    def gone(note: str) -> str:
        taken = _same(table, "NEW", note)
        if moving:
            stayed = " AND ".join(f"OLD.{quote(name)} = NEW.{quote(name)}" for name in table.identity)
            taken += f" AND NOT ({stayed})"
        mine = f"{note}.layout = {layout} AND {note}.moving = {int(moving)}"
        return f"{mine} AND (({taken}) OR NOT {_still_there(table, note)}){possible}"

    count = len(table.columns)
    return [
        f"INSERT INTO {CHANGES}(layout, op, at, {_columns('o', count)}) "
        f"SELECT {layout}, {DELETE}, {_NOW}, {', '.join(f'p.o{n}' for n in range(count))} "
        f"FROM {REPLACED} AS p WHERE {gone('p')} ORDER BY p.id",
        f"DELETE FROM {REPLACED} WHERE {gone(REPLACED)}",
    ]
