"""What a real server prints is read as psycopg reads it, for every type there is.

psycopg's values become the wire's by `wire`, which knows nothing of our own conversion. psycopg reads in a session
of its own, with PostgreSQL's settings as they are.
"""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.numeric import IntLoader

from aerostack_realtime.database.base import Row
from aerostack_realtime.database.postgres.connection.address import parameters
from aerostack_realtime.database.postgres.types.types import Types
from aerostack_realtime.database.postgres.wal.pgoutput import Decoder, Insert, Relation
from tests.contract.postgres.typed_columns import ARRAYS, COLUMNS, SCHEMA, SHAPE, TABLE, TYPE, wire


class Both:
    """Reads the same values by our conversion and by psycopg's."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.plain = psycopg.connect(dsn, autocommit=True)
        self.ours = psycopg.connect(**parameters(dsn), autocommit=True)
        self.types = Types()

    def prepare(self) -> None:
        for name in (TYPE, "deep"):
            info = CompositeInfo.fetch(self.plain, name)
            assert info is not None
            register_composite(
                info, self.plain, make_object=lambda values, info: dict(zip(info.field_names, values, strict=True))
            )
        enum = EnumInfo.fetch(self.plain, "mood")
        assert enum is not None
        register_enum(enum, self.plain, None, mapping=None)
        domain = TypeInfo.fetch(self.plain, "positive")
        assert domain is not None
        domain.register(self.plain)
        self.plain.adapters.register_loader(domain.oid, IntLoader)

    def close(self) -> None:
        self.plain.close()
        self.ours.close()

    def load(self, oids: set[int]) -> None:
        async def load() -> None:
            async with await psycopg.AsyncConnection.connect(**parameters(self._dsn)) as connection:
                await self.types.load(connection, oids)

        if oids:
            asyncio.run(load())

    def printed(self, sql: str, params: Any = None) -> list[list[bytes | None]]:
        """The rows of a query as the server prints them in our session."""
        cursor = self.ours.execute(sql, params)
        result = cursor.pgresult
        assert result is not None
        return [
            [result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)
        ]

    def oid(self, type: str) -> int:
        found = self.plain.execute("SELECT to_regtype(%s)::oid::int8", (type,)).fetchone()
        assert found is not None
        return int(found[0])

    def one(self, type: str, expression: str, *params: Any) -> tuple[Any, Any]:
        """One value: ours and psycopg's, the latter as the wire's."""
        oid = self.oid(type)
        self.load(self.types.missing([oid]))
        [[printed]] = self.printed(f"SELECT ({expression})::{type}", params)
        found = self.plain.execute(f"SELECT ({expression})::{type}", params).fetchone()
        assert found is not None
        return self.types.converter(oid)(printed) if printed is not None else None, wire(found[0])


@pytest.fixture(scope="module")
def both(module_dsn: str) -> Iterator[Both]:
    both = Both(module_dsn)
    both.plain.execute(SCHEMA)
    both.prepare()
    yield both
    both.close()


@pytest.fixture(scope="module")
def table(both: Both) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows of a table with a column of every type: ours, and psycopg's as the wire's. The last one is NULL."""
    columns = [*COLUMNS, *ARRAYS]
    definitions = ", ".join(f'"{_name(number)}" {type}' for number, (type, _) in enumerate(columns))
    both.plain.execute(f"CREATE TABLE {TABLE} ({definitions})")
    for values in zip(*(expressions for _, expressions in columns), strict=True):
        both.plain.execute(f"INSERT INTO {TABLE} VALUES ({', '.join(values)})")
    both.plain.execute(f"INSERT INTO {TABLE} DEFAULT VALUES")
    read = f"TABLE {TABLE}"
    attributes: list[tuple[str, int]] = both.plain.execute(
        "SELECT attname, atttypid::int8 FROM pg_attribute WHERE attnum > 0 AND attrelid = %s::regclass"
        " ORDER BY attnum",
        (TABLE,),
    ).fetchall()
    both.load(both.types.missing([oid for _, oid in attributes]))
    layout = both.types.layout(attributes)
    cursor = both.plain.execute(read)
    names = [each.name for each in cursor.description or ()]
    theirs = [dict(zip(names, map(wire, row), strict=True)) for row in cursor.fetchall()]
    return [layout.to_row(tuple(row)) for row in both.printed(read)], theirs


def _name(number: int) -> str:
    return f"Spälte, {number}"


@pytest.mark.parametrize(
    "number", range(len(COLUMNS) + len(ARRAYS)), ids=[type for type, _ in [*COLUMNS, *ARRAYS]]
)
def test_a_column_of_any_type_is_read_as_psycopg_reads_it(
    table: tuple[list[Row], list[dict[str, Any]]], number: int
) -> None:
    ours, theirs = ([row[_name(number)] for row in rows] for rows in table)
    assert ours == theirs
    assert ours[-1] is None
    assert len(ours) == 3


def test_snapshots_and_stream_convert_alike(both: Both, table: tuple[list[Row], list[dict[str, Any]]]) -> None:
    for statement in (
        f"CREATE PUBLICATION p FOR TABLE {TABLE}",
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
        f"INSERT INTO {TABLE} TABLE {TABLE}",
    ):
        both.ours.execute(statement)
    decoder = Decoder()
    messages = [
        decoder.decode(data)
        for (data,) in both.ours.execute(
            "SELECT data FROM pg_logical_slot_get_binary_changes("
            "'s', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')"
        )
    ]
    [relation] = (each for each in messages if isinstance(each, Relation))
    oids = [column.type_oid for column in relation.columns]
    both.load(both.types.missing(oids))
    layout = both.types.layout(zip([column.name for column in relation.columns], oids, strict=True))
    assert [layout.to_row(each.new) for each in messages if isinstance(each, Insert)] == table[0]


SHAPED = {"x": 1.5, "né e": "2.50", 'q"u': 'a "b" \\ \\\\ ,;{}() \n\t é \''}


@pytest.mark.parametrize(
    ("type", "expression", "expected"),
    [
        ("date", "'infinity'", "infinity"),
        ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
        ("date", "'12026-01-02'", "12026-01-02"),
        ("time", "'24:00'", "24:00:00"),
        ("timestamp", "'-infinity'", "-infinity"),
        ("timestamp", "'0044-03-15 12:00 BC'", "0044-03-15 12:00:00 BC"),
        ("timestamp", "'12026-01-02 03:04'", "12026-01-02T03:04:00"),
        ("timestamptz", "'0044-03-15 12:00+00 BC'", "0044-03-15 12:00:00+00 BC"),
        ("timestamptz", "'infinity'", "infinity"),
        ("timetz", "'07:08+15:59:59'", "07:08:00+15:59:59"),
        ("interval", "'1 year 2 months -3 days 04:05:06.7'", "P1Y2M-3DT4H5M6.7S"),
        ("interval", "'0'", "PT0S"),
        ("inet", "'::ffff:0102:0304'", "::ffff:1.2.3.4"),
        ("interval[]", "ARRAY['1 day', NULL]::interval[]", ["P1D", None]),
        ("int4[]", "'[-1:1]={1,NULL,3}'", [1, None, 3]),
        ("text[]", "'[0:0][5:6]={{a,\"b c\"}}'", [["a", "b c"]]),
        ("json", "'1e400'", "1e400"),
        ("json", "repeat('[', 300) || repeat(']', 300)", "[" * 300 + "]" * 300),
        ("json", r"""'"\ud800"'""", "\ufffd"),
        ("jsonb", "'1e20'", "100000000000000000000"),
        ("tags[]", "ARRAY[ARRAY['a,b', NULL]::tags, NULL]::tags[]", [["a,b", None], None]),
        (
            "shallow[]",
            f"ARRAY[ROW('sad', {SHAPE}, ARRAY[{SHAPE}], 1, '[1]', '2026-11-25 07:00+00')::shallow]",
            [{"m": "sad", "t": SHAPED, "a": [SHAPED], "n": 1, "j": [1], "at": "2026-11-25T07:00:00+00:00"}],
        ),
        ("information_schema.cardinal_number", "7", 7),
        ("tstzrange", "'[2026-11-25 07:00+00,)'", '["2026-11-25 07:00:00+00",)'),
    ],
)
def test_types_unknown_to_psycopg_are_converted(both: Both, type: str, expression: str, expected: Any) -> None:
    oid = both.oid(type)
    both.load(both.types.missing([oid]))
    [[printed]] = both.printed(f"SELECT ({expression})::{type}")
    assert printed is not None
    assert both.types.converter(oid)(printed) == expected


def test_a_multirange_is_text(both: Both) -> None:
    known = both.plain.execute("SELECT to_regtype('nummultirange') IS NOT NULL").fetchone()
    assert known == (both.plain.info.server_version >= 140_000,), "version 14 brought them"
    for (value,) in both.plain.execute("SELECT '{[1.5,2),[3,)}'::nummultirange") if known == (True,) else ():
        assert both.one("nummultirange", "'{[1.5,2),[3,)}'") == ("{[1.5,2),[3,)}", wire(value))


@pytest.mark.parametrize(
    "written", ["1 year", "-1 mon 5 days", "00:00:00.000001", "-00:00:01.5", "25:00", "-1y 2d -3h"]
)
def test_an_interval_reads_back_unchanged(both: Both, written: str) -> None:
    [[printed]] = both.printed("SELECT %s::interval", (written,))
    assert printed is not None
    assert printed.startswith(b"P")
    found = both.plain.execute(
        "SELECT %s::interval::text = %s::interval::text", (printed.decode(), written)
    ).fetchone()
    assert found == (True,)


characters = st.characters(codec="utf-8", exclude_characters="\0")
texts = st.text(st.sampled_from("ab,;\"\\{}()[]= \t\nNUL'") | characters, max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)
ANYTHING: dict[str, st.SearchStrategy[Any]] = {
    "int8": st.integers(-(2**63), 2**63 - 1),
    "float8": st.floats(),
    "float4": st.floats(width=32),
    "numeric": st.decimals(allow_infinity=False, min_value=-(10**40), max_value=10**40) | st.just(Decimal("NaN")),
    "text": texts,
    "bytea": st.binary(),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": st.datetimes(),
    "timestamptz": st.datetimes(timezones=st.just(UTC)),
    "uuid": st.uuids(),
    "inet": st.ip_addresses(v=4),
    "json": json_values.map(json.dumps),
    "jsonb": json_values.map(json.dumps),
    "text[]": st.lists(st.none() | texts),
    "float8[]": st.lists(st.none() | st.floats()),
    "timestamptz[]": st.lists(st.datetimes(timezones=st.just(UTC))),
    "numeric[]": st.lists(st.decimals(allow_infinity=False, allow_nan=False, places=3)),
    "bytea[]": st.lists(st.lists(st.binary(max_size=4), min_size=2, max_size=2)),
}


@pytest.mark.parametrize("type", ANYTHING)
def test_any_value_is_read_as_psycopg_reads_it(both: Both, type: str) -> None:
    @settings(deadline=None)
    @given(ANYTHING[type])
    def check(value: Any) -> None:
        ours, theirs = both.one(type, "%s", value)
        assert (ours, repr(ours)) == (theirs, repr(theirs))

    check()


@settings(deadline=None)
@given(st.lists(st.none() | st.tuples(st.none() | st.floats(), st.integers(), st.none() | texts), max_size=4))
def test_any_composites_are_read_as_psycopg_reads_them(both: Both, items: list[tuple[Any, ...] | None]) -> None:
    parts = ", ".join(
        "NULL" if item is None else f"ROW(%s::float8, %s::numeric, %s::text)::{TYPE}" for item in items
    )
    params = [value for item in items if item is not None for value in item]
    ours, theirs = both.one("deep", f"ROW('sad', NULL, ARRAY[{parts}]::{TYPE}[], NULL, NULL, NULL)", *params)
    assert repr(ours) == repr(theirs)


async def test_types_are_loaded_with_all_they_are_made_of(both: Both, module_dsn: str) -> None:
    types = Types()
    deep, domain = both.oid("deep"), both.oid("positive")
    assert types.missing([deep, 23, 1007]) == {deep}
    async with await psycopg.AsyncConnection.connect(**parameters(module_dsn)) as connection:
        await types.load(connection, [deep])
        assert types.missing([deep, domain, both.oid(TYPE), both.oid(f"{TYPE}[]"), both.oid("mood")]) == set()
        assert types.composed([deep, domain, both.oid(f"{TYPE}[]"), 23]) == {deep, both.oid(f"{TYPE}[]")}


async def test_a_type_that_was_dropped_is_text(module_dsn: str) -> None:
    types = Types()
    async with await psycopg.AsyncConnection.connect(**parameters(module_dsn)) as connection:
        await types.load(connection, [4_000_000_000])
    assert types.missing([4_000_000_000]) == set()
    assert types.converter(4_000_000_000)(b"(1)") == "(1)"


async def test_a_composite_that_was_altered_is_text_until_it_is_loaded_again(both: Both, module_dsn: str) -> None:
    types = Types()
    async with await psycopg.AsyncConnection.connect(**parameters(module_dsn), autocommit=True) as connection:
        await connection.execute("CREATE TYPE pair AS (a int, b text)")
        pair = both.oid("pair")
        await types.load(connection, [pair])
        assert types.layout([("p", pair)]).to_row((b'(1,"x y")',)) == {"p": {"a": 1, "b": "x y"}}
        await connection.execute("ALTER TYPE pair ADD ATTRIBUTE c bool")
        assert types.layout([("p", pair)]).to_row((b'(1,"x y",t)',)) == {"p": '(1,"x y",t)'}
        await types.load(connection, [pair])
        assert types.layout([("p", pair)]).to_row((b'(1,"x y",t)',)) == {"p": {"a": 1, "b": "x y", "c": True}}
