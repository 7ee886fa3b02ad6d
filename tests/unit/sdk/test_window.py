"""Which rows are shown: SQLite's order, the limit, and the edge of what is known."""

import pytest

from aerostack_realtime.sdk.window import SPARE, Window, compare


def test_values_stand_in_the_order_of_sqlite() -> None:
    values = [None, -1, 0, 1.5, 2, "", "A", "a"]
    for at, value in enumerate(values):
        assert [compare(each, value) for each in values] == [-1] * at + [0] + [1] * (len(values) - at - 1)


def test_rows_stand_in_their_order_and_equal_ones_by_key() -> None:
    rows: dict[int, dict[str, object]] = {1: {"n": 2}, 2: {"n": None}, 3: {"n": 5}, 4: {"n": 2}}
    assert Window("n", None).shown(rows) == [2, 1, 4, 3]
    assert Window("-n", None).shown(rows) == [3, 1, 4, 2]
    assert Window("-n", 2).shown(rows) == [3, 1]
    assert Window(None, None).shown(rows) == [1, 2, 3, 4]


def test_what_the_server_is_asked_for() -> None:
    assert bytes(Window(None, None).wanted) == b"true"
    assert bytes(Window("-n", 2).wanted) == b'{"limit":%d,"order":"-n"}' % (2 + SPARE)
    assert bytes(Window(None, 2, "slug").wanted) == b'{"limit":%d,"order":"slug"}' % (2 + SPARE)
    assert bytes(Window("n", 9_995).wanted) == b'{"limit":10000,"order":"n"}'
    with pytest.raises(ValueError, match="at least 1"):
        Window("n", 0)


def test_beyond_the_edge_nothing_is_known() -> None:
    window = Window("n", 1)
    window.begin({key: {"n": key} for key in range(SPARE)})
    assert window.covers(99, {"n": 99}), "fewer than asked for came: these are all"
    assert not window.needs_more(0)
    window.begin({key: {"n": key} for key in range(SPARE + 1)})
    assert not window.covers(99, {"n": 99})
    assert window.covers(99, {"n": 3})
    assert window.needs_more(0)
    assert not window.needs_more(1)


def test_numeric_strings_are_ordered_as_numbers() -> None:
    window = Window("n", None, "id")
    rows: dict[str, dict[str, object]] = {
        "9007199254740993": {"n": "10.00"},
        "10": {"n": "9.50"},
        "9": {"n": "9.5"},
        "8": {"n": 3},
        "7": {"n": "NaN"},
        "6": {"n": "Infinity"},
        "5": {"n": None},
    }
    window.begin(rows, ["n", "id"])
    assert window.shown(rows) == ["5", "8", "9", "10", "9007199254740993", "6", "7"]
    window.begin(rows)
    assert window.shown(rows)[:3] == ["5", "8", "9007199254740993"], "as text: 10.00 < 9.5"
