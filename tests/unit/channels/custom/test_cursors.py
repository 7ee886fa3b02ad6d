"""Cursors over a change of the journal's epoch, and the events that one item causes."""

from collections.abc import Callable

from aerostack_realtime.channels.custom.log import Cursors


class Epochs:
    """The epochs of a journal: the last one is now."""

    def __init__(
        self, *epochs: str, understands: Callable[[str, int], bool] = lambda epoch, position: False
    ) -> None:
        self.epochs = list(epochs)
        self.understands = understands

    @property
    def epoch(self) -> str:
        return self.epochs[-1]

    def epoch_of(self, position: int) -> str:
        """Each epoch has ten positions."""
        return self.epochs[min(position // 10, len(self.epochs) - 1)]


def test_a_cursor_names_its_position() -> None:
    cursors = Cursors(Epochs("e"))
    assert cursors.at(5) == "e.5"
    assert cursors.position("e.5") == 5


def test_cursors_that_no_journal_gave_are_before_everything() -> None:
    cursors = Cursors(Epochs("e"))
    malformed = ("", "x", "other.5", "e.", ".5", "e.-1", "e." + "9" * 20)
    assert [cursors.place(each) for each in malformed] == [(-1, 0)] * len(malformed)


def test_the_journal_decides_about_cursors_of_earlier_epochs() -> None:
    cursors = Cursors(Epochs("now", understands=lambda epoch, position: epoch == "earlier" and position <= 5))
    assert [cursors.position(each) for each in ("earlier.5", "earlier.6", "other.5")] == [5, -1, -1]


def test_an_event_of_an_earlier_epoch_keeps_its_cursor() -> None:
    cursors = Cursors(Epochs("first", "second"))
    assert [cursors.of(9), cursors.of(10)] == ["first.9", "second.10"]


def test_events_of_one_item_have_cursors_of_their_own() -> None:
    cursors = Cursors(Epochs("e"))
    given = [cursors.of_part(8, part, 3) for part in (1, 2, 3)]
    assert given == ["e.7-1", "e.7-2", "e.8"]
    assert [cursors.place(each) for each in given] == [(7, 1), (7, 2), (8, 0)]
    assert cursors.place("e.7-x") == (7, 0)
