"""What strings stand for: values of a kind are compared by their type, whichever way they are written."""

from typing import Any

import pytest

from aerostack_realtime.channels.tables.column_types import NORMALIZERS, comparable
from aerostack_realtime.database.base import ColumnType


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("decimal", "10.00", 10),
        ("decimal", "10.00", "1e1"),
        ("decimal", "0.10", 0.1),
        ("decimal", "-0", 0),
        ("integer", "9007199254740993", "9007199254740993"),
        ("float", "Infinity", float("inf")),
        ("instant", "2026-01-01T12:00:00+00:00", "2026-01-01T12:00:00.000Z"),
        ("instant", "2026-01-01T12:00:00+00:00", "2026-01-01T13:00:00+01:00"),
        ("instant", "2026-01-01T00:00:00+00:00", "2026-01-01"),
        ("uuid", "0b5f1f6e-5f0a-4c3e-9d53-0242ac120002", "0B5F1F6E-5F0A-4C3E-9D53-0242AC120002"),
    ],
)
def test_what_is_one_value_has_one_meaning(kind: ColumnType, one: Any, other: Any) -> None:
    meaning = NORMALIZERS[kind]
    assert meaning(one) == meaning(other)
    assert hash(meaning(one)) == hash(meaning(other))


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("decimal", "9.5", "10.00"),
        ("decimal", 9.4, "9.5"),
        ("integer", 5, "9007199254740993"),
        ("integer", "-9007199254740993", -5),
        ("float", "-Infinity", 0.5),
        ("instant", "2026-01-01T12:00:00+00:00", "2026-01-01T12:00:00.5+00:00"),
    ],
)
def test_meanings_of_a_kind_have_one_order(kind: ColumnType, low: Any, high: Any) -> None:
    meaning = NORMALIZERS[kind]
    assert comparable(meaning(low), meaning(high))
    assert meaning(low) < meaning(high)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *[(kind, value) for kind in NORMALIZERS for value in (None, True, "", "x", "NaN", "١", "1_0", " 1")],
        ("decimal", "1" * 2000),
        ("decimal", "1e99999"),
        ("integer", "42"),
        ("integer", "9007199254740991"),
        ("integer", "1" * 30),
        ("instant", "infinity"),
        ("instant", "0044-03-15 00:00:00+00:00 BC"),
    ],
)
def test_a_string_of_another_type_means_itself(kind: ColumnType, value: Any) -> None:
    expected = value.lower() if kind == "uuid" and isinstance(value, str) else value
    assert NORMALIZERS[kind](value) == expected
    assert type(NORMALIZERS[kind](value)) is type(value)


def test_only_values_of_one_order_are_comparable() -> None:
    instant = NORMALIZERS["instant"]("2026-01-01T12:00:00+00:00")
    decimal = NORMALIZERS["decimal"]("1.5")
    values = [instant, decimal, "text", None]
    for one in values:
        for other in values:
            assert comparable(one, other) == (one is other and one is not None)
    assert comparable(decimal, 1)
    assert comparable(2.5, decimal)
