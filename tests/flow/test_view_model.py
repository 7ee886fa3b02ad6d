"""A property test against a model: whatever is written, a client's rows are what SELECT … WHERE answers."""

import asyncio
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerostack_realtime import Aerostack, Table
from tests.flow.conftest import SECRET_KEY, ServerProcess

COLUMNS: Final = ("a", "b", "c")
OPERATORS: Final = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
PATIENCE_SECONDS: Final = 15.0

scalars = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -1.5, "", "a", "b", "B"]))
values = st.one_of(st.none(), scalars)
ids = st.integers(1, 6)
rows = st.tuples(ids, values, values, values)
conditions = st.one_of(
    st.tuples(st.sampled_from(COLUMNS), st.sampled_from(list(OPERATORS)), scalars),
    st.tuples(st.sampled_from(COLUMNS), st.just("in"), st.lists(scalars, min_size=1, max_size=3)),
)
filters = st.lists(conditions, max_size=3, unique_by=lambda each: each[0])
inserts = rows.map(lambda row: ("INSERT OR IGNORE INTO t VALUES(?, ?, ?, ?)", list(row)))
replaces = rows.map(lambda row: ("INSERT OR REPLACE INTO t VALUES(?, ?, ?, ?)", list(row)))
updates = st.tuples(st.sampled_from(COLUMNS), values, ids).map(
    lambda drawn: (f"UPDATE t SET {drawn[0]} = ? WHERE id >= ?", [drawn[1], drawn[2]])
)
moves = st.tuples(ids, ids).map(lambda drawn: ("UPDATE OR REPLACE t SET id = ? WHERE id = ?", list(drawn)))
deletes = ids.map(lambda id: ("DELETE FROM t WHERE id <= ?", [id]))
statements = st.one_of(inserts, inserts, replaces, updates, moves, deletes)
histories = st.lists(st.lists(statements, min_size=1, max_size=4), min_size=1, max_size=5)
Condition = tuple[str, str, Any]
View = list[Condition]
Statement = tuple[str, list[Any]]


def wire(view: View) -> dict[str, Any]:
    """The conditions as a client writes them."""
    return {column: {operator: operand} for column, operator, operand in view}


def where(view: View) -> tuple[str, list[Any]]:
    """The same as SQL. A value is compared with its own kind (docs/protocol.md §4); SQL's `<>` and `IN` leave
    NULL out, the view's do not."""
    clauses: list[str] = ["1"]
    params: list[Any] = []
    for column, operator, operand in view:
        if operator == "in":
            clauses.append(f"{column} IN ({', '.join('?' * len(operand))})")
            params += operand
        elif operator == "ne":
            clauses.append(f"{column} IS NOT ?")
            params.append(operand)
        else:
            kind = "text" if isinstance(operand, str) else "number"
            is_kind = f"iif(typeof({column}) IN ('integer', 'real'), 'number', typeof({column})) = '{kind}'"
            clauses.append(f"{is_kind} AND {column} {OPERATORS[operator]} ?")
            params.append(operand)
    return " AND ".join(clauses), params


async def equal(table: Table, expected: list[Any]) -> None:
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


async def follow(
    url: str, view: View, shown: dict[str, Any], before: list[Statement], history: list[list[Statement]]
) -> None:
    clause, params = where(view)
    order = shown["order"]
    by = f"{order[1:]} DESC, id" if order.startswith("-") else f"{order}, id"
    sql = f"SELECT * FROM t WHERE {clause} ORDER BY {by} LIMIT {shown['limit'] or -1}"
    async with Aerostack(url, api_key=SECRET_KEY) as sdk:
        await sdk.db.batch(["CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a, b, c)", "DELETE FROM t"])
        await sdk.db.batch(before or ["SELECT 1"])
        async with sdk.realtime.table("t", filter=wire(view), **shown) as table:
            await equal(table, (await sdk.db.query(sql, params)).rows)
            for transaction in history:
                await sdk.db.batch(transaction)
                await equal(table, (await sdk.db.query(sql, params)).rows)


@given(
    view=filters,
    shown=st.fixed_dictionaries(
        {"order": st.sampled_from(["id", "a", "-a", "b"]), "limit": st.sampled_from([None, None, 1, 3])}
    ),
    before=st.lists(inserts, max_size=6),
    history=histories,
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_every_transaction_the_rows_are_the_select(
    node: ServerProcess, view: View, shown: dict[str, Any], before: list[Statement], history: list[list[Statement]]
) -> None:
    asyncio.run(follow(node.url, view, shown, before, history))
