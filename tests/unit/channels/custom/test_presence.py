"""Presence: one member per user, however many connections."""

from msgspec import UNSET, Raw

from aerostack_realtime.channels.custom.presence import Change, Presence

NOW = 1_763_912_345_678


def said(changes: list[Change]) -> list[tuple[str, str, bytes]]:
    return [(change.transition, change.user_id, bytes(change.state)) for change in changes]


def test_join_update_and_leave() -> None:
    presence = Presence()
    assert said(presence.track("c1", "ann", b"{}", NOW, 1)) == [("presence:join", "ann", b"{}")]
    assert said(presence.track("c1", "ann", b'{"x":1}', NOW, 2)) == [("presence:update", "ann", b'{"x":1}')]
    assert said(presence.untrack("c1")) == [("presence:leave", "ann", b'{"x":1}')]
    assert presence.members() == []


def test_the_same_state_again_is_nothing() -> None:
    presence = Presence()
    presence.track("c1", "ann", b"{}", NOW, 3)
    assert presence.track("c1", "ann", b"{}", NOW, 4) == []


def test_several_connections_of_one_user_are_one_member() -> None:
    presence = Presence()
    presence.track("c1", "ann", b'{"tab":1}', NOW, 5)
    assert said(presence.track("c2", "ann", b'{"tab":2}', NOW + 5, 6)) == [
        ("presence:update", "ann", b'{"tab":2}')
    ]
    assert [(member.user_id, member.since) for member in presence.members()] == [("ann", NOW)]
    assert said(presence.untrack("c2")) == [("presence:update", "ann", b'{"tab":1}')]
    assert said(presence.untrack("c1")) == [("presence:leave", "ann", b'{"tab":1}')]


def test_an_older_connection_that_leaves_changes_nothing() -> None:
    presence = Presence()
    presence.track("c1", "ann", b'{"tab":1}', NOW, 7)
    presence.track("c2", "ann", b'{"tab":2}', NOW, 8)
    assert presence.untrack("c1") == []


def test_untracking_what_is_not_tracked_is_nothing() -> None:
    assert Presence().untrack("c1") == []


def test_a_connection_that_becomes_someone_else_leaves_first() -> None:
    presence = Presence()
    presence.track("c1", "ann", b"{}", NOW, 9)
    assert said(presence.track("c1", "bob", b"{}", NOW, 10)) == [
        ("presence:leave", "ann", b"{}"),
        ("presence:join", "bob", b"{}"),
    ]


def test_the_state_tracked_last_counts_in_whatever_order_a_node_learns_it() -> None:
    presence = Presence()
    presence.track("c2", "ann", b'{"tab":2}', NOW, 9, since=NOW - 5)
    assert presence.track("c1", "ann", b'{"tab":1}', NOW, 7, since=NOW - 5) == []
    assert [(bytes(member.state), member.since) for member in presence.members()] == [(b'{"tab":2}', NOW - 5)]


def test_members_are_in_the_order_they_joined_also_when_learnt_later() -> None:
    presence = Presence()
    presence.track("c1", "ann", b"{}", NOW, 9)
    presence.track("c2", "bob", b"{}", NOW, 10, since=NOW - 5)
    assert [member.user_id for member in presence.members(1)] == ["bob"]


def test_connections_of_one_user_can_be_members_of_their_own() -> None:
    presence = Presence()
    presence.track("c0", "ann", b"{}", NOW, 1)
    for name in ("c1", "c2"):
        joined = presence.track(name, "ann", b"{}", NOW, 2, connection_id=name)
        assert joined == [Change("presence:join", "ann", Raw(b"{}"), name)]
    members = [(member.user_id, member.connection_id) for member in presence.members()]
    assert members == [("ann", UNSET), ("ann", "c1"), ("ann", "c2")]
    assert presence.untrack("c1") == [Change("presence:leave", "ann", Raw(b"{}"), "c1")]


def test_a_connection_that_becomes_a_member_of_its_own_leaves_first() -> None:
    presence = Presence()
    presence.track("c1", "ann", b"{}", NOW, 1)
    changes = presence.track("c1", "ann", b"{}", NOW, 2, connection_id="c1")
    assert [(each.transition, each.connection_id) for each in changes] == [
        ("presence:leave", UNSET),
        ("presence:join", "c1"),
    ]
