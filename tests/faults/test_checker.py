"""The checker on made-up histories: it finds every kind of anomaly, and nothing in a history without one."""

from collections.abc import Sequence

from tests.faults.checker import check_members, check_table, check_topic
from tests.faults.history import (
    Anomaly,
    Cell,
    Handled,
    Message,
    Place,
    RowChange,
    Shown,
    TableHistory,
    TopicHistory,
    Version,
)

GAP = None


def place(position: int, epoch: int = 0) -> Place:
    return Place(epoch, position)


def message(number: int) -> Message:
    return Message("pub.0", number)


def topic(*handled: Handled, kept: Sequence[int] = (), acknowledged: Sequence[int] = (1, 2, 3, 4)) -> TopicHistory:
    """Messages 1 to 4 at places 10 to 40; one subscriber that handled `handled`."""
    return TopicHistory(
        "t",
        sent={message(number): number in kept for number in (1, 2, 3, 4)},
        acknowledged={message(number): place(number * 10) for number in acknowledged},
        started={"s": place(0)},
        handled={"s": list(handled)},
    )


def saw(number: int, epoch: int = 0) -> Handled:
    return Handled(place(number * 10, epoch), message(number))


def gap(position: int, epoch: int = 0) -> Handled:
    return Handled(place(position, epoch), GAP)


def kinds(anomalies: list[Anomaly]) -> list[str]:
    return sorted(each.kind for each in anomalies)


def test_a_history_without_an_anomaly() -> None:
    assert check_topic(topic(saw(1), saw(2), saw(3), saw(4), kept=[1, 3])) == []


def test_a_restore_under_a_running_server_excuses_a_reported_gap() -> None:
    observed = topic(saw(1), gap(10), saw(3), saw(4), kept=[2])
    observed.undone = [(place(15), place(25))]
    assert check_topic(observed) == []
    silent = topic(saw(1), saw(3), saw(4), kept=[2])
    silent.undone = [(place(15), place(25))]
    assert kinds(check_topic(silent)) == ["lost"]
    elsewhere = topic(saw(1), gap(10), saw(3), saw(4), kept=[2])
    elsewhere.undone = [(place(35), place(38))]
    assert kinds(check_topic(elsewhere)) == ["lost"]


def test_unacknowledged_messages_may_be_sent_again_after_a_restore() -> None:
    anew = topic(saw(1), saw(2), Handled(place(25), message(1)), saw(3), saw(4), kept=[1], acknowledged=[2, 3, 4])
    assert "duplicated" in kinds(check_topic(anew))
    anew.undone = [(place(5), place(15))]
    assert "duplicated" not in kinds(check_topic(anew))


def test_a_persisted_message_that_a_subscriber_never_handled_is_lost() -> None:
    assert kinds(check_topic(topic(saw(1), saw(3), saw(4), kept=[2]))) == ["lost"]
    assert kinds(check_topic(topic(saw(1), gap(10), saw(3), saw(4), kept=[2]))) == ["lost"], "gap or not"


def test_the_last_messages_are_lost_too() -> None:
    assert kinds(check_topic(topic(saw(1), saw(2), kept=[1, 2, 3, 4]))) == ["lost"]


def test_what_was_not_acknowledged_may_be_missing() -> None:
    assert check_topic(topic(saw(1), saw(2), saw(4), kept=[2], acknowledged=[1, 2, 4])) == []


def test_an_ephemeral_message_may_be_missing_after_a_gap_only() -> None:
    assert kinds(check_topic(topic(saw(1), saw(3), saw(4)))) == ["unreported gap"]
    assert check_topic(topic(saw(1), gap(10), saw(3), saw(4))) == []
    assert kinds(check_topic(topic(saw(1), saw(3), gap(30), saw(4)))) == ["unreported gap"]


def test_a_gap_covers_ephemeral_messages_among_replayed_ones() -> None:
    assert check_topic(topic(saw(1), gap(10), saw(2), saw(4), kept=[2])) == []


def test_what_came_before_the_subscription_is_not_missed() -> None:
    history = topic(saw(3), saw(4), kept=[1, 2])
    history.started["s"] = place(20)
    assert check_topic(history) == []


def test_a_message_that_is_handled_twice_is_a_duplicate() -> None:
    assert "duplicated" in kinds(check_topic(topic(saw(1), saw(2), saw(2), saw(3), saw(4))))
    again = Handled(place(25), message(2))
    assert kinds(check_topic(topic(saw(1), saw(2), again, saw(3), saw(4)))) == ["duplicated"]
    assert "duplicated" in kinds(check_topic(topic(saw(1), saw(2), gap(20), again, saw(3), saw(4), kept=[2])))


def test_an_unacknowledged_ephemeral_message_may_come_again_after_a_gap() -> None:
    again = Handled(place(25), message(2))
    assert check_topic(topic(saw(1), saw(2), gap(20), again, saw(3), saw(4))) == []


def test_a_repeated_ephemeral_message_may_follow_a_replayed_one() -> None:
    history = topic(saw(1), gap(10), saw(3), Handled(place(35), message(2)), saw(4), kept=[3])
    history.acknowledged[message(2)] = place(35)
    assert check_topic(history) == []
    later = topic(saw(1), gap(10), saw(3), saw(4), Handled(place(45), message(2)), kept=[3])
    assert kinds(check_topic(later)) == ["reordered"], "but not one that was sent after the gap"


def test_cursors_and_publishers_that_go_back_are_reordered() -> None:
    assert set(kinds(check_topic(topic(saw(2), saw(1), saw(3), saw(4))))) == {"reordered"}
    swapped = topic(Handled(place(10), message(2)), Handled(place(20), message(1)), saw(3), saw(4))
    assert "reordered" in kinds(check_topic(swapped))


def test_a_refused_message_may_follow_one_whose_acknowledgement_was_lost() -> None:
    swapped = topic(Handled(place(10), message(2)), Handled(place(20), message(1)), saw(3), saw(4))
    swapped.acknowledged |= {message(1): place(20), message(2): place(10)}
    swapped.is_clustered = True
    assert kinds(check_topic(swapped)) == ["reordered"], "both were accepted when they were sent first"
    swapped.repeated = {message(2)}
    assert check_topic(swapped) == []
    swapped.is_clustered = False
    assert kinds(check_topic(swapped)) == ["reordered"], "a single node does not do that"


def test_two_subscribers_that_disagree_are_reordered() -> None:
    history = topic(saw(1), saw(2), saw(3), saw(4), acknowledged=[])
    other = [Handled(place(11), message(1)), Handled(place(20), message(3))]
    history.handled["other"] = other
    assert kinds(check_topic(history)) == ["reordered"]


def test_a_message_nobody_published_is_a_phantom() -> None:
    assert kinds(check_topic(topic(saw(1), saw(2), saw(3), saw(4), saw(5)))) == ["phantom"]


def test_a_restored_backup_may_take_messages_back_if_reported() -> None:
    observed = topic(saw(1), gap(0, 1), saw(4, 1), kept=[1, 2, 3, 4])
    observed.acknowledged[message(4)] = place(40, 1)
    assert check_topic(observed) == []
    silent = topic(saw(1), saw(4, 1), kept=[1, 2, 3, 4])
    silent.acknowledged[message(4)] = place(40, 1)
    assert kinds(check_topic(silent)) == ["lost"]


def test_the_history_is_held_against_the_acknowledgements() -> None:
    history = topic(saw(1), saw(2), saw(3), saw(4), kept=[1, 2, 3])
    history.stored = [message(1), message(3)]
    assert kinds(check_topic(history)) == ["lost"]
    history.undone = [(place(15), place(0, 1))]
    assert check_topic(history) == []
    history.stored = [message(1), message(2), message(2), message(3)]
    assert kinds(check_topic(history)) == ["duplicated"]
    history.stored = [message(2), message(1), message(3)]
    assert kinds(check_topic(history)) == ["reordered"]
    history.stored = [message(1), message(2), message(3), message(4)]
    assert kinds(check_topic(history)) == ["phantom"], "an ephemeral message is not stored"


# --- tables ----------------------------------------------------------------------------------------------

COMMITTED = [
    RowChange(1, None, Cell(100, 0)),
    RowChange(2, None, Cell(101, 5)),
    RowChange(1, Cell(100, 0), Cell(102, 5)),
    RowChange(2, Cell(101, 5), Cell(103, 0)),
    RowChange(1, Cell(102, 5), None),
]
ALL = [
    Version("I", 1, 100),
    Version("I", 2, 101),
    Version("U", 1, 102),
    Version("U", 2, 103),
    Version("D", 1, 102),
]
FIVES = [Version("I", 2, 101), Version("I", 1, 102), Version("D", 2, 101), Version("D", 1, 102)]


def table(*handled: Version | None, shown: Shown | None = None, moved: int = 99) -> TableHistory:
    """The changes above; one subscriber whose cursors are of another epoch from the entry `moved` on."""
    return TableHistory(
        committed=[COMMITTED],
        acknowledged=[100, 103],
        shown={"s": shown},
        handled={"s": [Handled(Place(int(at >= moved), at), what) for at, what in enumerate(handled)]},
    )


def test_the_changes_of_a_table_and_of_a_view() -> None:
    assert check_table(table(*ALL)) == []
    assert check_table(table(*FIVES, shown=Shown(5, 6))) == []


def test_a_missing_change_is_lost_gap_or_not() -> None:
    assert kinds(check_table(table(*ALL[:2], *ALL[3:]))) == ["lost"]
    assert kinds(check_table(table(*ALL[:2], GAP, *ALL[3:]))) == ["lost"]
    assert kinds(check_table(table(*ALL[:4]))) == ["lost"]
    assert kinds(check_table(table(*FIVES[1:], shown=Shown(5, 6)))) == ["lost"]


def test_a_repeated_change_is_a_duplicate() -> None:
    assert kinds(check_table(table(*ALL[:2], *ALL[1:]))) == ["duplicated"]


def test_a_change_that_was_never_committed_is_a_phantom() -> None:
    assert kinds(check_table(table(*ALL, Version("I", 9, 900)))) == ["phantom"]
    assert "phantom" in kinds(check_table(table(*ALL, shown=Shown(5, 6)))), "nor one outside the view"


def test_changed_places_are_found() -> None:
    assert kinds(check_table(table(ALL[0], ALL[2], ALL[1], *ALL[3:]))) == ["duplicated", "lost"]
    history = table(*ALL)
    history.handled["s"] = [Handled(Place(0, -at), what) for at, what in enumerate(ALL)]
    assert kinds(check_table(history)) == ["reordered"]


def test_a_restored_backup_that_is_not_reported_is_found() -> None:
    after = [RowChange(3, None, Cell(200, 5)), RowChange(1, Cell(100, 0), None)]
    versions = [Version("I", 3, 200), Version("D", 1, 100)]
    observed = table(*ALL[:3], GAP, *versions, moved=3)
    observed.committed = [COMMITTED, after]
    assert check_table(observed) == []
    later = table(*ALL[:3], GAP, *versions[1:], moved=3)
    later.committed = [COMMITTED, after]
    assert check_table(later) == [], "what was skipped is part of the gap"
    silent = table(*ALL[:3], *versions, moved=3)
    silent.committed = [COMMITTED, after]
    assert kinds(check_table(silent)) == ["unreported gap"]


def test_a_client_that_has_just_the_backup_resumes_without_a_gap() -> None:
    after = [RowChange(3, None, Cell(200, 5)), RowChange(1, Cell(100, 0), None)]
    versions = [Version("I", 3, 200), Version("D", 1, 100)]
    found = []
    for kept in (2, 3, 4):
        history = table(*ALL[:3], *versions, moved=3)
        history.committed, history.kept = [COMMITTED, after], [kept, None]
        found.append(kinds(check_table(history)))
    assert found == [["unreported gap"], [], ["unreported gap"]]
    late = table(*ALL[:3], *versions[1:], moved=3)
    late.committed, late.kept = [COMMITTED, after], [3, None]
    assert kinds(check_table(late)) == ["unreported gap"], "the first one after it is missing"


def test_a_gap_of_an_interrupted_log_covers_what_precedes_its_end() -> None:
    observed = table(*ALL[:2], GAP, *ALL[3:])
    observed.seams = [[(2, 3)]]
    assert check_table(observed) == []
    silent = table(*ALL[:2], *ALL[3:])
    silent.seams = [[(2, 3)]]
    assert kinds(check_table(silent)) == ["lost"]
    beyond = table(*ALL[:2], GAP, *ALL[4:])
    beyond.seams = [[(2, 3)]]
    assert kinds(check_table(beyond)) == ["lost"], "it continues after the end"
    beyond.reached = {Place(0, 2): 4}.__getitem__
    assert check_table(beyond) == [], "the gap reports it"
    beyond.reached = {Place(0, 2): 3}.__getitem__
    assert kinds(check_table(beyond)) == ["lost"], "it continues after the end of the gap"
    beyond.reached = {Place(0, 2): 4}.__getitem__
    beyond.seams = [[(0, 1)]]
    assert kinds(check_table(beyond)) == ["lost"], "it has nothing to do with where the log was interrupted"


def test_an_acknowledged_transaction_that_is_not_there_is_lost() -> None:
    history = table(*ALL)
    history.acknowledged.append(500)
    assert kinds(check_table(history)) == ["lost"]


def test_rows_that_differ_from_the_table_are_found() -> None:
    history = table(*ALL)
    history.states["s"] = ({"1": "a", "2": "b"}, {"1": "a", "2": "c", "3": "d"})
    assert check_table(history) == [Anomaly("diverged", "s's rows", "row 2 is b, not c", 2)]


def test_wrongly_reported_members_are_found() -> None:
    present = {"a": 0, "b": 2}
    assert check_members({"a": {"a": 0, "b": 2}, "b": {"b": 2, "a": 0}}, present) == []
    found = check_members({"a": {"a": 0, "b": 1, "c": 0}, "b": {"a": 0}}, present)
    assert [(each.kind, each.where, each.count) for each in found] == [
        ("diverged", "a's members", 2),
        ("diverged", "b's members", 1),
    ]
