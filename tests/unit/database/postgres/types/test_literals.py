"""Arrays and composites: whatever is in them, they are read as they were printed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.database.postgres.types.literals import array, composite
from aerostack_realtime.database.postgres.types.values import text

SPACE = " \t\n\r\v\f"
nasty = st.text(
    st.sampled_from('ab,;"\\{}()[]= \t\n\0NUL') | st.characters(codec="utf-8"), max_size=12
) | st.sampled_from(["", "NULL", "null", '"', "\\", '""', "\\\\", ",", " ", "{}", "()"])


def printed_array(value: Any, delimiter: str = ",") -> str:
    """As `array_out` of PostgreSQL's arrayfuncs.c prints it."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "{" + delimiter.join(printed_array(item, delimiter) for item in value) + "}"
    assert isinstance(value, str)
    if not value or value.upper() == "NULL" or set(value) & set('"\\{}' + delimiter + SPACE):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return value


def printed_composite(values: list[str | None]) -> str:
    """As `record_out` of PostgreSQL's rowtypes.c prints it."""

    def field(value: str | None) -> str:
        if value is None:
            return ""
        if not value or set(value) & set('"\\(),' + SPACE):
            return '"' + value.replace("\\", "\\\\").replace('"', '""') + '"'
        return value

    return "(" + ",".join(map(field, values)) + ")"


def boxes(dimensions: list[int]) -> st.SearchStrategy[Any]:
    """Arrays with these numbers of elements in their dimensions."""
    found: st.SearchStrategy[Any] = st.none() | nasty
    for size in dimensions:
        found = st.lists(found, min_size=size, max_size=size)
    return found


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6).flatmap(boxes), st.sampled_from(",;|"))
def test_an_array_is_read_as_it_was_printed(value: Any, delimiter: str) -> None:
    convert = array(text, delimiter.encode())
    assert convert(printed_array(value, delimiter).encode()) == value
    assert convert(b"[0:5]=" + printed_array(value, delimiter).encode()) == value


@given(st.lists(st.none() | nasty, min_size=1, max_size=6))
def test_a_composite_is_read_as_it_was_printed(values: list[str | None]) -> None:
    names = [f"a{number}" for number in range(len(values))]
    convert = composite(names, [text] * len(values))
    assert convert(printed_composite(values).encode()) == dict(zip(names, values, strict=True))


@given(st.lists(st.tuples(nasty, st.lists(st.none() | nasty, max_size=3)), min_size=1, max_size=3))
def test_composites_and_arrays_nest(value: list[tuple[str, list[str | None]]]) -> None:
    pair = composite(["name", "tags"], [text, array(text)])
    printed = printed_array([printed_composite([name, printed_array(tags)]) for name, tags in value])
    assert array(pair)(printed.encode()) == [{"name": name, "tags": tags} for name, tags in value]


def test_a_composite_of_nothing_is_an_empty_object() -> None:
    assert composite([], [])(b"()") == {}


@pytest.mark.parametrize(
    "printed",
    [
        *("", "1", "{", "}", "{1", "1}", "{1}}", "{{1}", "{1}{2}", "{1},{2}", "{1,}", "{,1}", "{1,,2}", '{"1}'),
        *('{"1"2}', "{{1}2}", "{1{2}}", "{{1},}", "{,{1}}", "{\\}", "[0:1]", "[0:1]{1}", "{{{{{{{1}}}}}}}"),
    ],
)
def test_malformed_arrays_are_refused(printed: str) -> None:
    with pytest.raises(ValueError):
        array(int)(printed.encode())


@pytest.mark.parametrize("printed", ["", "(", ")", "1,2", "(1)", "(1,2,3)", '("1,2)', '("1"2,3)', '(1,2"3")'])
def test_malformed_composites_are_refused(printed: str) -> None:
    with pytest.raises(ValueError):
        composite(["a", "b"], [text, text])(printed.encode())


@pytest.mark.parametrize("many", [200_000])
def test_a_long_value_is_read_in_time_in_proportion(many: int) -> None:
    quotes = '"' * many
    assert array(text)(printed_array([quotes]).encode()) == [quotes]
    assert composite(["a"], [text])(printed_composite([quotes]).encode()) == {"a": quotes}
