"""Cursors over a change of the database's epoch."""

from aerostack_realtime.channels.custom.cursors import Cursors


def unheard(epoch: str, position: int) -> bool:
    return False


def test_a_cursor_names_its_position() -> None:
    cursors = Cursors(lambda: "e", unheard)
    assert cursors.at(5) == "e.5"
    assert cursors.position("e.5") == 5


def test_what_this_process_never_gave_is_before_everything() -> None:
    cursors = Cursors(lambda: "e", unheard)
    assert [cursors.position(each) for each in ("", "x", "other.5", "e.", ".5", "e." + "9" * 20)] == [-1] * 6


def test_a_cursor_from_before_a_backup_was_restored_is_understood_while_the_process_lives() -> None:
    epochs = ["before"]
    cursors = Cursors(lambda: epochs[-1], unheard)
    old = cursors.at(5)
    epochs.append("after")
    assert cursors.at(6) == "after.6"
    assert cursors.position(old) == 5
    assert Cursors(lambda: epochs[-1], unheard).position(old) == -1, "but not by the next process"


def test_the_cursor_of_one_position_is_of_the_epoch_at_that_moment() -> None:
    epochs = ["before"]
    cursors = Cursors(lambda: epochs[-1], unheard)
    assert [cursors.at(5), cursors.at(5)] == ["before.5", "before.5"]
    epochs.append("after")
    assert [cursors.at(5), cursors.at(5)] == ["after.5", "after.5"]


def test_a_cursor_of_an_earlier_run_is_understood_as_far_as_the_database_does() -> None:
    cursors = Cursors(lambda: "now", lambda epoch, position: epoch == "earlier" and position <= 5)
    assert [cursors.position(each) for each in ("earlier.5", "earlier.6", "other.5")] == [5, -1, -1]
