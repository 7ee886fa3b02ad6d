"""PostgreSQL's values as the wire's, by the text that the server prints; and parameters back."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.database.postgres.types.types import Layout, Types
from aerostack_realtime.database.postgres.types.values import JSON_DEPTH, json_value, to_parameters
from aerostack_realtime.database.postgres.wal.rows import UNCHANGED, Unchanged
from aerostack_realtime.protocol.errors import BadMessage

OIDS = {
    "bool": 16, "bytea": 17, "int8": 20, "int2": 21, "int4": 23, "text": 25, "oid": 26, "json": 114, "xml": 142,
    "float4": 700, "float8": 701, "money": 790, "inet": 869, "bpchar": 1042, "varchar": 1043, "date": 1082,
    "time": 1083, "timestamp": 1114, "timestamptz": 1184, "interval": 1186, "timetz": 1266, "bit": 1560,
    "numeric": 1700, "uuid": 2950, "jsonb": 3802, "int4range": 3904, "int4multirange": 4451, "int2vector": 22,
    "int4[]": 1007, "bool[]": 1000, "timestamptz[]": 1185, "jsonb[]": 3807, "box[]": 1020, "numeric[]": 1231,
}  # fmt: skip


@pytest.mark.parametrize(
    ("type", "printed", "wire"),
    [
        ("bool", "t", True),
        ("bool", "f", False),
        ("int2", "-32768", -32768),
        ("int4", "2147483647", 2147483647),
        ("oid", "4294967295", 4294967295),
        ("int8", "9007199254740991", 2**53 - 1),
        ("int8", "-9007199254740991", 1 - 2**53),
        ("int8", "9007199254740992", "9007199254740992"),
        ("int8", "-9223372036854775808", "-9223372036854775808"),
        ("numeric", "12.50", "12.50"),
        ("numeric", "7", "7"),
        ("numeric", "NaN", "NaN"),
        ("float4", "0.1", 0.1),
        ("float8", "1e-07", 1e-07),
        ("float8", "-0", -0.0),
        ("float8", "NaN", "NaN"),
        ("float8", "Infinity", "Infinity"),
        ("float8", "-Infinity", "-Infinity"),
        ("text", "grün\t\n", "grün\t\n"),
        ("text", "", ""),
        ("bpchar", "ab  ", "ab  "),
        ("bytea", r"\x00ff", "AP8="),
        ("bytea", r"\x", ""),
        ("date", "2026-11-25", "2026-11-25"),
        ("date", "0044-03-15 BC", "0044-03-15 BC"),
        ("date", "infinity", "infinity"),
        ("time", "07:00:00.5", "07:00:00.5"),
        ("time", "24:00:00", "24:00:00"),
        ("timetz", "07:00:00+00", "07:00:00+00:00"),
        ("timetz", "07:00:00-03:30", "07:00:00-03:30"),
        ("timetz", "07:00:00+15:59:59", "07:00:00+15:59:59"),
        ("timestamp", "2026-11-25 07:00:00.123456", "2026-11-25T07:00:00.123456"),
        ("timestamp", "-infinity", "-infinity"),
        ("timestamp", "0044-03-15 12:00:00 BC", "0044-03-15 12:00:00 BC"),
        ("timestamp", "294276-12-31 23:59:59.999999", "294276-12-31T23:59:59.999999"),
        ("timestamptz", "2026-11-25 07:00:00+00", "2026-11-25T07:00:00+00:00"),
        ("timestamptz", "2026-11-25 07:00:00.5+00", "2026-11-25T07:00:00.5+00:00"),
        ("timestamptz", "infinity", "infinity"),
        ("timestamptz", "4714-11-24 00:00:00+00 BC", "4714-11-24 00:00:00+00 BC"),
        ("interval", "P1Y2M-3DT4H5M6.7S", "P1Y2M-3DT4H5M6.7S"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("inet", "192.168.0.1/24", "192.168.0.1/24"),
        ("money", "$1,000.00", "$1,000.00"),
        ("bit", "101", "101"),
        ("xml", "<a>1</a>", "<a>1</a>"),
        ("int4range", "[1,5)", "[1,5)"),
        ("int4multirange", "{[1,5),[7,9)}", "{[1,5),[7,9)}"),
        ("int2vector", "1 2", "1 2"),
        ("jsonb", '{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        ("int4[]", "{}", []),
        ("int4[]", "{1,NULL,-3}", [1, None, -3]),
        ("int4[]", "[0:2]={1,2,3}", [1, 2, 3]),
        ("int4[]", "[-1:0][2:3]={{1,2},{3,NULL}}", [[1, 2], [3, None]]),
        ("bool[]", "{t,f}", [True, False]),
        ("numeric[]", "{1.10,NaN}", ["1.10", "NaN"]),
        ("timestamptz[]", '{"2026-11-25 07:00:00+00",infinity}', ["2026-11-25T07:00:00+00:00", "infinity"]),
        ("jsonb[]", r'{"{\"a\": \"\\\"\"}",1,"\"NULL\"",NULL}', [{"a": '"'}, 1, "NULL", None]),
        ("box[]", "{(3,4),(1,2);(7,8),(5,6)}", ["(3,4),(1,2)", "(7,8),(5,6)"]),
    ],
)
def test_a_value_is_what_the_protocol_says(type: str, printed: str, wire: Any) -> None:
    found = Types().converter(OIDS[type])(printed.encode())
    assert (found, repr(found)) == (wire, repr(wire))


@pytest.mark.parametrize("oid", [999_999, 0])
def test_an_unknown_type_is_text(oid: int) -> None:
    assert Types().converter(oid)(b"(1,2)") == "(1,2)"


@pytest.mark.parametrize(
    ("printed", "wire"),
    [
        ("9007199254740991", 2**53 - 1),
        ("-9007199254740992", "-9007199254740992"),
        ('{"id": 1234567890123456789}', {"id": "1234567890123456789"}),
        ("9" * 5000, "9" * 5000),
        ("1e400", "1e400"),
        ("-1E+400", "-1E+400"),
        ("1e100", 1e100),
        ("0.10000000000000000001", 0.1),
        ("1e-400", 0.0),
        ('{"a": 1, "a": 2}', {"a": 2}),
        (r'["\ud83d\ude00", "\ud800", "\udc00x"]', ["😀", "�", "�x"]),
        (r'{"\ud800": 1}', {"�": 1}),
        (r'"\u0000"', "\0"),
        (" [ ] ", []),
    ],
)
def test_json_keeps_what_the_wire_can_and_says_what_it_cannot(printed: str, wire: Any) -> None:
    assert json_value(printed.encode()) == wire


def test_json_nested_too_deeply_is_text() -> None:
    deep = b"[" * JSON_DEPTH + b"]" * JSON_DEPTH
    deeper = b'{"a":' * (JSON_DEPTH + 1) + b"1" + b"}" * (JSON_DEPTH + 1)
    assert msgspec.json.encode(json_value(deep)) == deep
    assert json_value(deeper) == deeper.decode()
    assert json_value(b"[" * 100_000 + b"]" * 100_000) == "[" * 100_000 + "]" * 100_000
    flat = b"[" + b",".join([b"[1]"] * 1_000) + b"]"
    assert json_value(flat) == [[1]] * 1_000, "many beside each other are not deep"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.booleans())
def test_json_is_the_value_it_was_made_of_and_can_be_sent(value: Any, escaped: bool) -> None:
    def expected(value: Any) -> Any:
        match value:
            case bool() | None | str() | float():
                return value
            case int():
                return value if abs(value) < 2**53 else str(value)
            case list():
                return [expected(item) for item in value]
            case _:
                return {key: expected(item) for key, item in value.items()}

    found = json_value(json.dumps(value, ensure_ascii=escaped).encode())
    assert found == expected(value)
    msgspec.json.encode(found)


def layout(*columns: tuple[str, str]) -> Layout:
    return Types().layout([(name, OIDS[type]) for name, type in columns])


def test_a_row_is_an_object_by_column() -> None:
    orders = layout(("id", "int8"), ("größe", "text"), ("total", "numeric"), ("id", "bool"))
    assert orders.to_row((b"1", "é".encode(), None, b"t")) == {"id": True, "größe": "é", "total": None}


def test_invalid_utf8_is_repaired_without_touching_other_columns() -> None:
    assert layout(("a", "text"), ("b", "int4")).to_row((b"\xffA", b"5")) == {"a": "�A", "b": 5}


def test_unexpected_values_become_text() -> None:
    columns = layout(*((type, type) for type in ("int4", "bool", "float8", "bytea", "jsonb", "int4[]")))
    row = columns.to_row((b"x", b"yes", b"?", b"raw", b"{", b"{1"))
    assert list(row.values()) == ["x", "yes", "?", "raw", "{", "{1"]


def test_an_unchanged_value_is_left_out() -> None:
    columns = layout(*((type, type) for type in OIDS))
    assert columns.to_row((UNCHANGED,) * len(OIDS)) == {}
    assert layout(("a", "bool"), ("b", "text")).to_row((b"t", UNCHANGED)) == {"a": True}


NAMES = (
    "plain",
    "größe",
    "two words",
    "quo'te",
    'dou"ble',
    "new\nline",
    "{v0}",
    "\\x",
    "plain",
    "import os",
    "🙂",
)


def test_a_compiled_layout_converts_as_any_other() -> None:
    types = [*OIDS] * 12  # more columns than a row is written out for
    looped, compiled = (
        layout(*((f"{NAMES[n % 11]}{n // 22}", type) for n, type in enumerate(types))) for _ in "ab"
    )
    compiled = compiled.compiled()
    rows: list[tuple[bytes | Unchanged | None, ...]] = [
        (value,) * len(types) for value in (None, b"t", b"5", b"-9007199254740993", b"{1,2}", b"\xff", UNCHANGED)
    ]
    for row in rows:
        assert compiled.to_row(row) == looped.to_row(row)
        assert list(compiled.to_row(row)) == list(looped.to_row(row))
    for other in (looped, compiled):
        with pytest.raises(ValueError, match="argument"):
            other.to_row((None,))


def test_parameters_are_what_postgresql_reads() -> None:
    given = [None, True, False, 5, -(2**63), 2**63 - 1, 1.5, float("nan"), float("-inf"), "é"]
    sent = [None, b"t", b"f", b"5", b"-9223372036854775808", b"9223372036854775807", b"1.5", b"nan", b"-inf"]
    assert to_parameters(given) == [*sent, "é".encode()]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1], "JSON text"),
        ({"a": 1}, "JSON text"),
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        ("\ud800", "surrogate"),
        ("a\0b", "NUL"),
        (b"x", "must be null, a boolean, a number or a string"),
    ],
)
def test_other_parameters_are_refused_by_their_number(value: Any, expected: str) -> None:
    with pytest.raises(BadMessage, match=f"Parameter 2.*{expected}"):
        to_parameters([1, value])
