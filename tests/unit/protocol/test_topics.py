"""Topics: every way of writing one leads to its one canonical form."""

import pytest

from aerostack_realtime.protocol.errors import InvalidTopic
from aerostack_realtime.protocol.topics import canonical, project_of, table_of, without_project


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("orders", "table/orders/P"),
        ("table/orders", "table/orders/P"),
        ("table/orders/P", "table/orders/P"),
        ("public.orders", "table/public.orders/P"),
        ("table", "table/table/P"),
        ("P", "table/P/P"),
        ("table/P", "table/P/P"),
        ("chat/general", "chat/general/P"),
        ("chat/general/P", "chat/general/P"),
        ("chat/P", "chat/P/P"),
        ("a/b/c", "a/b/c/P"),
        ("a/", "table/a/P"),
        ("a/b/", "a/b/P"),
        ("table/a/", "table/a/P"),
        ("user:7@x~y+z/_-.", "user:7@x~y+z/_-./P"),
        ("x" * 256, f"table/{'x' * 256}/P"),
        (f"{'x' * 127}/{'y' * 128}/P", f"{'x' * 127}/{'y' * 128}/P"),
    ],
)
def test_every_form_has_one_canonical_form(written: str, expected: str) -> None:
    assert canonical(written, "P") == expected
    assert canonical(expected, "P") == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        "/",
        "//",
        "a//",
        "/a",
        "a//b",
        "a b",
        "ü/x",
        "a/b\n",
        "a/\u0000",
        "x" * 257,
        f"{'x' * 200}/{'y' * 56}",
        "table/a/b",
    ],
)
def test_anything_else_is_refused(written: str) -> None:
    with pytest.raises(InvalidTopic):
        canonical(written, "P")


def test_a_table_topic_names_its_table_and_a_custom_one_none() -> None:
    assert table_of("table/orders/P") == "orders"
    assert table_of("chat/general/P") is None
    assert table_of("table/a/b/P") is None


@pytest.mark.parametrize("written", ["orders", "chat/general", "a/b/c"])
def test_a_canonical_topic_is_its_written_form_and_its_project(written: str) -> None:
    topic = canonical(written, "shop")
    assert project_of(topic) == "shop"
    assert canonical(without_project(topic), "shop") == topic
