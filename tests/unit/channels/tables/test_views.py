"""Views: which changes a filter shows, and as what."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.rows import RuleFailed, Scope
from aerostack_realtime.access.rules import Rules, TableRule
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.tables.views import View, Views, parse
from aerostack_realtime.database.base import Change, Row
from aerostack_realtime.protocol.errors import Forbidden, InvalidFilter
from aerostack_realtime.protocol.messages import Filter, Operation

COLUMNS = ("id", "status", "total")
COMPARED = json.loads((Path(__file__).parents[4] / "spec" / "filters.json").read_text())
"""Filters and which rows they show, with and without column types; the clients are tested by the same cases."""


def views() -> Views:
    return Views(lambda: Audience(lambda each: None, 0, lambda consumers: None))


def change(old: Row | None, new: Row | None) -> Change:
    operation: Operation = "UPDATE" if old and new else "INSERT" if new else "DELETE"
    row = new or old
    assert row is not None
    return Change("orders", operation, row, old, 0, "e.1")


def row(id: int, status: Any = "open", total: Any = 10) -> Row:
    return {"id": id, "status": status, "total": total}


def routed(all_of_them: Views, what: Change) -> list[tuple[View, Operation | RuleFailed]]:
    return list(all_of_them.route(what))


def test_without_a_filter_everything_is_shown_as_it_is() -> None:
    all_of_them = views()
    view = all_of_them.view(None, COLUMNS)
    assert routed(all_of_them, change(None, row(1))) == [(view, "INSERT")]
    assert routed(all_of_them, change(row(1), row(2))) == [(view, "UPDATE")]
    assert routed(all_of_them, change(row(1), None)) == [(view, "DELETE")]


def test_a_row_that_moves_into_a_view_is_an_insert_and_out_of_it_a_delete() -> None:
    all_of_them = views()
    opened = all_of_them.view({"status": "open"}, COLUMNS)
    paid = all_of_them.view({"status": "paid"}, COLUMNS)
    moved = routed(all_of_them, change(row(1), row(1, "paid")))
    assert sorted(moved, key=lambda each: str(each[1])) == [(opened, "DELETE"), (paid, "INSERT")]
    assert routed(all_of_them, change(row(1, "lost"), row(1, "late"))) == []
    assert routed(all_of_them, change(row(1), row(1, total=11))) == [(opened, "UPDATE")]


def test_equal_filters_are_one_view_however_they_are_written() -> None:
    all_of_them = views()
    assert all_of_them.view({"id": 1, "status": "open"}, COLUMNS) is all_of_them.view(
        {"status": {"eq": "open"}, "id": 1}, COLUMNS
    )


def test_a_view_nobody_watches_is_forgotten() -> None:
    all_of_them = views()
    all_of_them.discard(all_of_them.view({"status": "open"}, COLUMNS))
    assert list(all_of_them) == []
    assert routed(all_of_them, change(None, row(1))) == []


@pytest.mark.parametrize(
    ("filter", "shown"),
    [
        ({"status": None}, [None]),
        ({"status": {"ne": "open"}}, [None, "paid", 5]),
        ({"status": {"in": ["open", "paid"]}}, ["open", "paid"]),
        ({"status": {"gt": "open"}}, ["paid"]),
        ({"status": {"gte": 5}}, [5]),
        ({"status": {"gt": "a", "lt": "p"}}, ["open"]),
    ],
)
def test_operators(filter: Filter, shown: list[Any]) -> None:
    all_of_them = views()
    all_of_them.view(filter, COLUMNS)
    values: list[Any] = [None, "open", "paid", 5]
    assert [value for value in values if routed(all_of_them, change(None, row(1, value)))] == shown


def test_integers_beyond_exact_floats_compare_as_strings() -> None:
    all_of_them = views()
    all_of_them.view({"id": 2**53 + 1}, COLUMNS)
    assert routed(all_of_them, change(None, {"id": str(2**53 + 1)}))
    assert not routed(all_of_them, change(None, {"id": str(2**53)}))


def test_integers_of_a_rule_are_compared_as_they_are_on_the_wire() -> None:
    all_of_them = views()
    all_of_them.view(None, COLUMNS, Scope((("id", 2**53 + 1),)))
    all_of_them.view(None, COLUMNS, Scope((("id", (1, 2**53 + 3)),)))
    for number in (1, 3):
        assert len(routed(all_of_them, change(None, {"id": str(2**53 + number)}))) == 1


def test_columns_of_a_kind_are_compared_by_what_their_strings_stand_for() -> None:
    all_of_them = views()
    wanted: list[Filter] = [
        {"total": 10},
        {"total": {"gt": 9.5}},
        {"total": {"in": ["10", 11]}},
        {"total": {"ne": 10}},
    ]
    each_view = [all_of_them.view(filter, COLUMNS, column_types={"total": "decimal"}) for filter in wanted]
    assert [view for view, _ in routed(all_of_them, change(None, row(1, total="10.00")))] == each_view[:3]
    assert [view for view, _ in routed(all_of_them, change(None, row(1, total="9.50")))] == each_view[3:]
    as_text = all_of_them.view({"total": 10}, COLUMNS)
    assert as_text is not each_view[0], "the table was altered meanwhile"
    assert as_text not in [view for view, _ in routed(all_of_them, change(None, row(1, total="10.00")))]


@pytest.mark.parametrize("value", [[], [1], {}, {"a": None}])
def test_arrays_and_objects_are_equal_to_nothing(value: Any) -> None:
    all_of_them = views()
    for filter in ({"total": None}, {"total": {"in": [None, 1]}}, {"total": {"gt": 0}}):
        all_of_them.view(filter, COLUMNS)
    other = all_of_them.view({"total": {"ne": None}}, COLUMNS)
    assert routed(all_of_them, change(None, row(1, total=value))) == [(other, "INSERT")]


@pytest.mark.parametrize(
    "filter",
    [
        {"colour": 1},
        {"status": {"like": "%"}},
        {"status": [1]},
        {"status": {"in": "open"}},
        {"status": {"in": [[1]]}},
        {"status": {"in": list(range(101))}},
        {"status": {"eq": {"a": 1}}},
    ],
)
def test_a_filter_that_means_nothing_is_refused(filter: Filter) -> None:
    with pytest.raises(InvalidFilter):
        parse(filter, COLUMNS)


rows = st.fixed_dictionaries(
    {"id": st.integers(0, 2), "status": st.sampled_from(["a", "b", None]), "total": st.integers(0, 2)}
)
filters = st.dictionaries(
    st.sampled_from(COLUMNS),
    st.sampled_from([0, 1, "a", None, {"ne": 1}, {"gt": 0}, {"in": ["a", 1, None]}, {"eq": "b"}]),
    max_size=3,
)


@given(
    st.lists(filters, min_size=1, max_size=5),
    st.lists(st.tuples(st.none() | rows, st.none() | rows), max_size=20),
)
def test_the_index_shows_each_view_what_asking_it_alone_would(
    wanted: list[Filter], changes: list[tuple[Row | None, Row | None]]
) -> None:
    all_of_them = views()
    each_view = {all_of_them.view(filter, COLUMNS) for filter in wanted}
    for old, new in changes:
        if old is None and new is None:
            continue
        what = change(old, new)
        expected = {(view, view.operation(what)) for view in each_view if view.operation(what)}
        found = routed(all_of_them, what)
        assert len(found) == len(set(found))
        assert set(found) == expected


def test_ten_thousand_rules_on_the_own_id_leave_one_to_touch() -> None:
    all_of_them = views()
    for number in range(10_000):
        all_of_them.view(None, COLUMNS, Scope((("id", number),)))
    assert [view.key for view, _ in routed(all_of_them, change(None, row(77)))] == [(77,)]


def test_a_scope_and_a_filter_both_have_to_hold() -> None:
    all_of_them = views()
    scope = Scope((("status", "open"),))
    for filter, shown in (({"status": "paid"}, 0), ({"status": "open"}, 1), ({"id": 1}, 1), ({"id": 2}, 0)):
        view = all_of_them.view(filter, COLUMNS, scope)
        assert len(routed(all_of_them, change(None, row(1)))) == shown
        all_of_them.discard(view)
    assert routed(all_of_them, change(None, row(1))) == []


def test_a_value_of_a_rule_may_be_one_of_several() -> None:
    all_of_them = views()
    all_of_them.view(None, COLUMNS, Scope((("status", ("open", "paid")),)))
    shown = [
        status for status in ("open", "paid", "lost", None) if routed(all_of_them, change(None, row(1, status)))
    ]
    assert shown == ["open", "paid"]


def test_a_rule_for_a_column_that_is_not_there_shows_nothing() -> None:
    with pytest.raises(Forbidden):
        views().view(None, COLUMNS, Scope((("owner", "ann"),)))


def test_hidden_columns_are_cut_and_their_changes_are_none() -> None:
    all_of_them = views()
    view = all_of_them.view(None, COLUMNS, Scope(columns=("id", "status", "gone")))
    assert view.cut(row(1)) == {"id": 1, "status": "open"}
    assert routed(all_of_them, change(row(1), row(1, total=11))) == []
    assert routed(all_of_them, change(row(1), row(1, "paid"))) == [(view, "UPDATE")]
    with pytest.raises(InvalidFilter, match="it has id, status"):
        all_of_them.view({"total": 1}, COLUMNS, Scope(columns=("id", "status")))


def test_a_rule_that_fails_concerns_its_own_view_alone() -> None:
    all_of_them = views()
    rules = Rules(tables=[TableRule("orders", rows="row.total > 10")])
    ann = Identity("user", "ann", claims={"sub": "ann"})
    failing = all_of_them.view(None, COLUMNS, rules.scope(ann, "orders"))
    plain = all_of_them.view(None, COLUMNS)
    found = dict(routed(all_of_them, change(None, row(1, total=None))))
    assert found[plain] == "INSERT"
    assert isinstance(found[failing], RuleFailed)


def test_existing_views_compare_by_a_column_s_new_type() -> None:
    all_of_them = views()
    dear = all_of_them.view({"total": {"gt": 9}}, COLUMNS)
    ten = all_of_them.view({"total": "10"}, COLUMNS)
    assert routed(all_of_them, change(None, row(1, total="10.00"))) == []
    all_of_them.retype({"total": "decimal"})
    shown = routed(all_of_them, change(None, row(1, total="10.00")))
    assert sorted(shown, key=lambda each: each[0] is ten) == [(dear, "INSERT"), (ten, "INSERT")]
    assert all_of_them.view({"total": "10"}, COLUMNS, column_types={"total": "decimal"}) is ten
    for view in (dear, ten):
        all_of_them.discard(view)
    assert list(all_of_them) == []


@pytest.mark.parametrize("case", COMPARED["filters"], ids=lambda case: json.dumps(case["filter"]))
def test_a_filter_shows_the_rows_that_clients_show_by_it(case: dict[str, Any]) -> None:
    rows = COMPARED["rows"]
    typed = views().view(case["filter"], tuple(rows[0]), column_types=COMPARED["columnTypes"])
    assert [row["id"] for row in rows if typed.shows(row)] == case["shown"]
    untyped = views().view(case["filter"], tuple(rows[0]))
    assert [row["id"] for row in rows if untyped.shows(row)] == case.get("untyped", case["shown"])
