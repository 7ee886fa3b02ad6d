"""Parts of a table's log that several slow readers share."""

from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.shared_parts import PLACE_BYTES, SharedParts
from aerostack_realtime.channels.tables.views import View, ViewDefinition


def view() -> View:
    return View(ViewDefinition(()), Audience(lambda _: None, 1, lambda _: None))


FRAMES = [("2", b"b"), ("3", b"cc"), ("4", b"ddd")]


def test_a_part_is_found_by_its_beginning_and_by_each_change_in_it() -> None:
    parts, all_rows = SharedParts(1 << 20), view()
    assert parts.add(all_rows, "1", FRAMES, "5") == b"bccddd"
    assert parts.find(all_rows, "1") == (b"bccddd", "5")
    assert parts.find(all_rows, "2") == (b"ccddd", "5")
    assert parts.find(all_rows, "4") == (b"", "5")
    assert parts.find(all_rows, "5") is None


def test_the_end_of_a_part_is_not_its_beginning() -> None:
    parts, all_rows = SharedParts(1 << 20), view()
    parts.add(all_rows, "1", FRAMES, "4")
    parts.add(all_rows, "7", [], "7")
    assert parts.find(all_rows, "4") is None
    assert parts.find(all_rows, "7") is None


def test_each_view_has_parts_of_its_own() -> None:
    parts, one, other = SharedParts(1 << 20), view(), view()
    parts.add(one, "1", FRAMES, "5")
    assert parts.find(other, "1") is None


def test_the_oldest_parts_are_dropped_when_there_are_too_many() -> None:
    parts, all_rows = SharedParts(6 * PLACE_BYTES), view()
    for number in range(10):
        parts.add(all_rows, f"{number}", [(f"{number}a", b"x")], f"{number + 1}")
    assert [number for number in range(10) if parts.find(all_rows, f"{number}")] == [8, 9]
    parts.clear()
    assert parts.find(all_rows, "9") is None


def test_a_part_that_was_read_again_stays_when_the_first_one_is_dropped() -> None:
    parts, all_rows = SharedParts(5 * PLACE_BYTES), view()
    for data in (b"old", b"new"):
        parts.add(all_rows, "1", [("2", data)], "3")
    parts.add(all_rows, "3", [], "4")
    assert parts.find(all_rows, "1") == (b"new", "3")
