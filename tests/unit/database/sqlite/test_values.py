"""SQLite's values as the wire's."""

from typing import Any

import pytest

from aerostack_realtime.database.sqlite.values import repair, to_parameters, to_row, to_wire
from aerostack_realtime.protocol.errors import BadMessage


@pytest.mark.parametrize(
    ("stored", "wire"),
    [
        (None, None),
        (2**53 - 1, 2**53 - 1),
        (2**53, str(2**53)),
        (-(2**53), str(-(2**53))),
        (1.5, 1.5),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        ("text", "text"),
        (b"\x00\xff", "AP8="),
    ],
)
def test_a_value_is_what_json_can_hold(stored: Any, wire: Any) -> None:
    assert to_wire(stored) == wire


def test_of_two_columns_of_one_name_the_last_counts() -> None:
    assert to_row(["a", "b", "a"], [1, 2, 3]) == {"a": 3, "b": 2}


def test_text_that_is_not_utf8_is_repaired_and_a_blob_left_alone() -> None:
    assert repair([1, b"\xffA", 0, b"\xff", 0, 5]) == ["\ufffdA", b"\xff", 5]


def test_parameters_are_what_sqlite_can_hold() -> None:
    assert to_parameters([None, True, 5, 1.5, "x"]) == [None, 1, 5, 1.5, "x"]


@pytest.mark.parametrize("value", [[1], {"a": 1}, 2**63, "\ud800", b"x"])
def test_other_parameters_are_refused_by_their_number(value: Any) -> None:
    with pytest.raises(BadMessage, match="Parameter 2"):
        to_parameters([1, value])
