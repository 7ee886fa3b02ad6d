"""A property test against a model: whatever is written, a client's rows are what SELECT … WHERE answers."""

import asyncio
from itertools import chain
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from aerostack_realtime import Aerostack, LiveTable
from tests.flow.conftest import SECRET_KEY, ServerProcess

COLUMNS: Final = ("a", "b", "c")
OPERATORS: Final = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
PATIENCE_SECONDS: Final = 100.0

Condition = tuple[str, str, Any]
View = list[Condition]
Statement = tuple[str, list[Any]]
Drawn = st.SearchStrategy[Any]

numbers = st.integers(-3, 3)
halves = st.sampled_from([-1.5, -1.0, 0.0, 0.5, 2.0])
words = st.sampled_from(["", "a", "b", "B", "ä", "a b"])
ids = st.integers(1, 6)


class Kind(Struct, frozen=True):
    """A table: its name, its columns, and the values of each."""

    table: str
    columns: str
    values: dict[str, Drawn]

    def conditions(self) -> Drawn:
        def of(column: str) -> Drawn:
            scalars = self.values[column]
            return st.one_of(
                st.tuples(st.just(column), st.sampled_from(list(OPERATORS)), scalars),
                st.tuples(st.just(column), st.just("in"), st.lists(scalars, min_size=1, max_size=3)),
            )

        return st.lists(st.one_of(*map(of, COLUMNS)), max_size=3, unique_by=lambda each: each[0])

    def inserts(self, *, replace: bool = False) -> Drawn:
        """A row of an id that is taken is left alone or replaces the other."""
        overwrite = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS)
        conflict = f"UPDATE SET {overwrite}" if replace else "NOTHING"
        sql = f"INSERT INTO {self.table} VALUES(?, ?, ?, ?) ON CONFLICT (id) DO {conflict}"
        row = st.tuples(ids, *(st.none() | self.values[column] for column in COLUMNS))
        return row.map(lambda row: [(sql, list(row))])

    def updates(self) -> Drawn:
        def of(column: str) -> Drawn:
            sql = f"UPDATE {self.table} SET {column} = ? WHERE id >= ?"
            return st.tuples(st.none() | self.values[column], ids).map(lambda drawn: [(sql, list(drawn))])

        return st.one_of(*map(of, COLUMNS))

    def moves(self) -> Drawn:
        """A row gets the id of another, which goes."""
        delete = f"DELETE FROM {self.table} WHERE id = ? AND id <> ?"
        move = f"UPDATE {self.table} SET id = ? WHERE id = ?"
        return st.tuples(ids, ids).map(lambda drawn: [(delete, list(drawn)), (move, list(drawn))])

    def deletes(self) -> Drawn:
        return ids.map(lambda id: [(f"DELETE FROM {self.table} WHERE id <= ?", [id])])


TYPED: Final = Kind("typed", "a INTEGER, b DOUBLE PRECISION, c TEXT", {"a": numbers, "b": halves, "c": words})
UNTYPED: Final = Kind("untyped", "a, b, c", dict.fromkeys(COLUMNS, st.one_of(numbers, halves, words)))


def joined(statements: list[list[Statement]]) -> list[Statement]:
    return list(chain.from_iterable(statements))


def histories(*statements: Drawn) -> Drawn:
    """Lists of transactions."""
    transaction = st.lists(st.one_of(*statements), min_size=1, max_size=4).map(joined)
    return st.lists(transaction, min_size=1, max_size=5)


def replacements(kind: Kind) -> list[Drawn]:
    """What only SQLite has: a row that takes the place of every other in its way."""
    replace = kind.inserts().map(
        lambda drawn: [(f"INSERT OR REPLACE INTO {kind.table} VALUES(?, ?, ?, ?)", drawn[0][1])]
    )
    move = st.tuples(ids, ids).map(
        lambda drawn: [(f"UPDATE OR REPLACE {kind.table} SET id = ? WHERE id = ?", list(drawn))]
    )
    return [replace, move]


def wire(view: View) -> dict[str, Any]:
    """The conditions as a client writes them."""
    return {column: {operator: operand} for column, operator, operand in view}


def where(view: View, *, typed: bool) -> Statement:
    """The same as SQL. A value is compared with its own kind (docs/protocol.md §4); SQL's `<>` and `IN` leave
    NULL out, the view's do not."""
    clauses: list[str] = ["true"]
    params: list[Any] = []
    for column, operator, operand in view:
        if operator == "in":
            clauses.append(f"{column} IN ({', '.join('?' * len(operand))})")
            params += operand
        elif operator == "ne":
            clauses.append(f"{column} IS DISTINCT FROM ?")
            params.append(operand)
        else:
            if not typed:
                kind = "text" if isinstance(operand, str) else "number"
                clauses.append(
                    f"iif(typeof({column}) IN ('integer', 'real'), 'number', typeof({column})) = '{kind}'"
                )
            clauses.append(f"{column} {OPERATORS[operator]} ?")
            params.append(operand)
    return " AND ".join(clauses), params


async def equal(table: LiveTable, expected: list[Any]) -> None:
    """Wait until the client's rows are these, in this order."""
    changed = asyncio.Event()
    end = table.on_change(lambda _: changed.set())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while list(table.values()) != expected:
                changed.clear()
                await changed.wait()
    except TimeoutError:
        assert list(table.values()) == expected, "for good"
    finally:
        end()


async def follow(url: str, kind: Kind, drawn: dict[str, Any]) -> None:
    clause, params = where(drawn["view"], typed=kind is TYPED)
    order, limit = drawn["order"], drawn["limit"]
    by = f"{order[1:]} DESC NULLS LAST" if order.startswith("-") else f"{order} NULLS FIRST"
    sql = f"SELECT * FROM {kind.table} WHERE {clause} ORDER BY {by}, id" + (f" LIMIT {limit}" if limit else "")
    async with Aerostack(url, api_key=SECRET_KEY) as sdk:
        await sdk.db.query(f"CREATE TABLE IF NOT EXISTS {kind.table}(id INTEGER PRIMARY KEY, {kind.columns})")
        await sdk.db.batch([f"DELETE FROM {kind.table}", *drawn["before"]])
        async with sdk.realtime.table(kind.table, filter=wire(drawn["view"]), order=order, limit=limit) as table:
            await equal(table, (await sdk.db.query(sql, params)).rows)
            for transaction in drawn["history"]:
                await sdk.db.batch(transaction)
                await equal(table, (await sdk.db.query(sql, params)).rows)


def cases(kind: Kind, *more: Drawn) -> Drawn:
    """A view, in an order, of a table that has rows before and a history after."""
    inserts = kind.inserts()
    return st.fixed_dictionaries(
        {
            "view": kind.conditions(),
            "order": st.sampled_from(["id", "a", "-a", "b", "c", "-c"]),
            "limit": st.sampled_from([None, None, 1, 3]),
            "before": st.lists(inserts, max_size=6).map(joined),
            "history": histories(
                inserts, inserts, kind.inserts(replace=True), kind.updates(), kind.moves(), kind.deletes(), *more
            ),
        }
    )


@given(drawn=cases(TYPED))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_every_transaction_the_rows_are_the_select(node: ServerProcess, drawn: dict[str, Any]) -> None:
    asyncio.run(follow(node.url, TYPED, drawn))


@pytest.mark.database("sqlite")
@given(drawn=cases(UNTYPED, *replacements(UNTYPED)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_column_may_hold_values_of_any_kind(node: ServerProcess, drawn: dict[str, Any]) -> None:
    asyncio.run(follow(node.url, UNTYPED, drawn))
