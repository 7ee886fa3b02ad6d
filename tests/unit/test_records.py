"""The records of connections: bounded whatever clients do, and honest about what they no longer hold."""

import tracemalloc

from aerostack_realtime import records
from aerostack_realtime.access.identity import Identity
from aerostack_realtime.protocol.messages import Error, Subscribe
from aerostack_realtime.records import ConnectionRecords


class Clock:
    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def connect(kept: ConnectionRecords, id: str, user: str) -> None:
    kept.connected(id)
    kept.identified(id, Identity("user", user))


def test_a_reconnecting_user_displaces_only_own_connections() -> None:
    kept = ConnectionRecords(Clock())
    connect(kept, "b", "bob")
    kept.closed("b", 1001, "", 0)
    before = kept.user_complete_from("ann")
    for number in range(100):
        connect(kept, f"a{number}", "ann")
        kept.closed(f"a{number}", 1001, "", 0)
    assert [each.id for each in kept.of_user("bob")] == ["b"]
    assert len(kept.of_user("ann")) == records.PER_USER
    assert kept.user_complete_from("ann") > before


def test_ended_connections_are_bounded_in_total() -> None:
    kept = ConnectionRecords(Clock())
    before = kept.complete_from
    for number in range(records.ENDED + 1):
        connect(kept, f"c{number}", f"user{number}")
        kept.closed(f"c{number}", 1001, "", 0)
    assert kept.find("c0") is None
    assert kept.of_user("user0") == []
    assert kept.find("c1") is not None
    assert kept.complete_from > before


def test_subscriptions_and_refusals_of_a_connection_are_bounded() -> None:
    kept = ConnectionRecords(Clock())
    connect(kept, "a", "ann")
    for number in range(100):
        kept.subscribed("a", Subscribe(f"t/{number}/p"), "e.1", None)
        kept.refused("a", Error("forbidden", "x" * 1000, False, "t" * 1000, "i" * 1000))
    found = kept.find("a")
    assert found is not None
    assert len(found.periods) == len(found.notes) == records.PER_CONNECTION
    assert found.complete_from > found.at
    assert max(len(found.notes[-1].message), len(kept.refusals[-1].id)) == records.LONGEST


def test_large_filters_are_forgotten_with_their_connection() -> None:
    kept = ConnectionRecords(Clock())
    connect(kept, "a", "ann")
    kept.subscribed("a", Subscribe("table/t/p", filter={"name": "x" * 5000}), "e.1", None)
    kept.closed("a", 1001, "", 0)
    found = kept.find("a")
    assert found is not None
    assert (found.periods, found.complete_from) == ((), found.closed_at)


def test_text_that_is_not_utf_8_is_replaced() -> None:
    kept = ConnectionRecords(Clock())
    kept.refuse("unauthorized", "no", user="\udcff")
    assert kept.refusals[-1].user == "?"


def test_a_connection_with_a_subscription_takes_at_most_400_bytes() -> None:
    kept, count = ConnectionRecords(Clock()), 2_000
    ids = [f"connection-{number}" for number in range(count)]
    people = [Identity("user", f"user{number}", claims={"sub": f"user{number}"}) for number in range(count)]
    command = Subscribe("chat/general/p")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for id, person in zip(ids, people, strict=True):
            kept.connected(id)
            kept.identified(id, person)
            kept.subscribed(id, command, "".join(("e.", "1234567890123456")), None)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < 400


def test_the_connections_of_a_user_are_followed_one_by_one() -> None:
    kept = ConnectionRecords(Clock())
    for id in ("a", "b", "c"):
        connect(kept, id, "ann")
    assert [each.id for each in kept.of_user("ann")] == ["a", "b", "c"]
    kept.identified("b", Identity("user", "bob"))
    kept.identified("a", Identity("user", "bob"))
    assert [each.id for each in kept.of_user("ann")] == ["c"]
    assert [each.id for each in kept.of_user("bob")] == ["a", "b"]
    kept.identified("c", Identity("user", "bob"))
    assert kept.of_user("ann") == []
