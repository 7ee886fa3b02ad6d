from aerostack_realtime.protocol.presence import JOIN, LEAVE, UPDATE
from aerostack_realtime.sdk.presence import Key, Members, Transition

ANN, BOB, CAT, DAN = (("ann", None), ("bob", None), ("cat", None), ("dan", None))
ANN_TAB: Key = ("ann", "c1")


def members(**states: object) -> Members:
    present = Members()
    for user_id, state in states.items():
        present.apply(JOIN, (user_id, None), state)
    return present


def test_a_new_member_joins() -> None:
    assert members().apply(JOIN, ANN, {"at": 1}) == Transition(JOIN, ANN, {"at": 1})


def test_a_repeated_join_is_delivered_once() -> None:
    assert members(ann={"at": 1}).apply(JOIN, ANN, {"at": 1}) is None


def test_a_join_of_a_known_member_with_another_state_is_an_update() -> None:
    assert members(ann={"at": 1}).apply(JOIN, ANN, {"at": 2}) == Transition(UPDATE, ANN, {"at": 2})


def test_an_update_of_an_unknown_member_is_a_join() -> None:
    assert members().apply(UPDATE, ANN, {"at": 2}) == Transition(JOIN, ANN, {"at": 2})


def test_a_member_leaves_once() -> None:
    present = members(ann={"at": 1})
    assert present.apply(LEAVE, ANN, {"at": 1}) == Transition(LEAVE, ANN, {"at": 1})
    assert present.apply(LEAVE, ANN, {"at": 1}) is None
    assert len(present) == 0


def test_the_full_list_reports_the_differences_leaves_first() -> None:
    present = members(ann=1, bob=2, cat=3)
    assert present.reconcile({BOB: 2, CAT: 4, DAN: 5}) == [
        Transition(LEAVE, ANN, 1),
        Transition(UPDATE, CAT, 4),
        Transition(JOIN, DAN, 5),
    ]
    assert present.reconcile({BOB: 2, CAT: 4, DAN: 5}) == []


def test_forgetting_tells_nothing() -> None:
    present = members(ann=1)
    present.clear()
    assert present.reconcile({}) == []


def test_a_connection_is_a_member_beside_its_user() -> None:
    present = members(ann=1)
    assert present.apply(JOIN, ANN_TAB, 2) == Transition(JOIN, ANN_TAB, 2)
    assert present.reconcile({ANN_TAB: 2}) == [Transition(LEAVE, ANN, 1)]
