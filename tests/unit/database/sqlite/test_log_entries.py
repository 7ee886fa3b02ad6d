"""Entries of the log become changes."""

from typing import Any

import pytest

from aerostack_realtime.database.base import LARGE_BYTES, Change, Row
from aerostack_realtime.database.sqlite.log_entries import entry_layout, row_converter
from aerostack_realtime.database.sqlite.triggers import DELETE, INSERT, UPDATE
from aerostack_realtime.database.sqlite.values import to_row

COLUMNS = ("id", "note")


@pytest.mark.parametrize(
    "value",
    [None, 0, 2**53 - 1, 2**53, -(2**53), 1.5, float("inf"), float("-inf"), "text", "", b"\x00\xff"],
)
def test_a_converter_makes_the_rows_that_to_row_makes(value: Any) -> None:
    row, _ = row_converter(COLUMNS)((value, "x"))
    assert row == to_row(COLUMNS, (value, "x"))


def test_a_column_may_have_any_name() -> None:
    columns = ("it's", '"', "\\", "\n", "return {}", "v0", "", "\ud800")
    row, _ = row_converter(columns)(tuple(range(len(columns))))
    assert row == dict(zip(columns, range(len(columns)), strict=True))


def test_of_two_columns_of_one_name_a_converter_takes_the_last() -> None:
    row, _ = row_converter(("a", "b", "a"))((1, 2, 3))
    assert row == {"a": 3, "b": 2}


def test_the_bytes_of_a_row_include_those_of_its_texts_and_blobs() -> None:
    convert = row_converter(COLUMNS)
    _, without = convert((1, None))
    assert [convert((1, value))[1] - without for value in ("x" * 1000, b"x" * 2000)] == [1000, 2000]


def test_entries_of_each_operation_become_changes() -> None:
    layout = entry_layout("orders", COLUMNS)
    old: Row = {"id": 1, "note": "old"}
    new: Row = {"id": 2, "note": "new"}

    def change(operation: int) -> Change:
        return layout.change((7, 3, operation, 1000, 1, 2, "old", "new", None, None), "e.7")[0]

    assert change(INSERT) == Change("orders", "INSERT", new, None, 1000, "e.7")
    assert change(UPDATE) == Change("orders", "UPDATE", new, old, 1000, "e.7")
    assert change(DELETE) == Change("orders", "DELETE", old, old, 1000, "e.7")


def test_changes_beyond_the_limit_are_marked_as_large() -> None:
    layout, text = entry_layout("orders", COLUMNS), "x" * (LARGE_BYTES // 2)

    def large(operation: int, old: str, new: str) -> bool:
        return layout.change((7, 3, operation, 1000, 1, 1, old, new), "e.7")[0].large

    assert not large(INSERT, text, text)
    assert large(INSERT, "", 2 * text)
    assert large(DELETE, 2 * text, "")
    assert large(UPDATE, text, text)
