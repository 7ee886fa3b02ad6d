from typing import Any

import msgspec
from msgspec import UNSET, Raw

from aerostack_realtime.protocol.messages import (
    ChatMessage,
    DbChange,
    Event,
    Member,
    Operation,
    Presence,
    Snapshot,
    Subscribed,
)
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.subscription import SEEN_LIMIT, State, Subscription

ROOM = "chat/room/default"


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def message(cursor: str, data: Any = None, event: str = "message", **more: Any) -> Event:
    return Event(topic=ROOM, event=event, data=raw(data), timestamp=1, id=f"id-{cursor}", cursor=cursor, **more)


def change(cursor: str, operation: Operation, data: Any, old: Any = UNSET) -> DbChange:
    return DbChange(
        topic="table/orders/default",
        operation=operation,
        data=raw(data),
        old=UNSET if old is UNSET else raw(old),
        timestamp=7,
        cursor=cursor,
    )


def confirmed(subscription: Subscription, cursor: str = "c0", recovered: bool | None = None) -> Payload | None:
    """Ask under a new id and let the server agree."""
    id = f"ask-{cursor}"
    subscription.request(id)
    return subscription.confirm(Subscribed(ROOM, cursor, recovered, id))


def subscribed() -> Subscription:
    subscription = Subscription("chat/room", ROOM)
    assert confirmed(subscription) is None
    return subscription


def received(subscription: Subscription, *cursors: str) -> list[str | None]:
    payloads = [subscription.receive(message(cursor)) for cursor in cursors]
    return [payload.cursor for payload in payloads if payload is not None]


def test_an_event_has_the_topic_as_the_user_wrote_it() -> None:
    payload = subscribed().receive(message("c1", {"text": "hi"}, user_id="ann"))
    assert payload == Payload(
        type="event",
        topic="chat/room",
        event="message",
        data={"text": "hi"},
        user_id="ann",
        timestamp=1,
        id="id-c1",
        cursor="c1",
    )


def test_a_row_change_has_its_operation_and_both_rows() -> None:
    subscription = Subscription("orders", "table/orders/default")
    confirmed(subscription)
    payload = subscription.receive(change("c1", "UPDATE", {"id": 1, "total": 2}, {"id": 1, "total": 1}))
    assert payload is not None
    assert (payload.type, payload.operation, payload.event) == ("db_change", "UPDATE", None)
    assert (payload.data, payload.old) == ({"id": 1, "total": 2}, {"id": 1, "total": 1})
    assert payload.name == "UPDATE"


def test_nothing_is_received_before_the_server_has_confirmed() -> None:
    subscription = Subscription("chat/room", ROOM)
    subscription.request("a")
    assert received(subscription, "c1") == []


def test_it_resumes_after_the_last_handled_event() -> None:
    subscription = subscribed()
    for cursor in ("c1", "c2", "c3"):
        payload = subscription.receive(message(cursor))
        if payload is not None and cursor != "c3":
            subscription.handled(payload)
    subscription.lost()
    assert subscription.request("again").since == "c2"


def test_without_an_event_it_resumes_where_it_was_confirmed() -> None:
    subscription = subscribed()
    subscription.lost()
    assert subscription.request("again").since == "c0"


def test_the_first_request_starts_from_now_or_from_a_given_cursor() -> None:
    assert Subscription("chat/room", ROOM).request("a").since is None
    assert Subscription("chat/room", ROOM, since="c5").request("a").since == "c5"


def test_events_repeated_by_a_resumption_are_delivered_once() -> None:
    subscription = subscribed()
    assert received(subscription, "c1", "c2") == ["c1", "c2"]
    subscription.lost()
    assert confirmed(subscription, "c0", recovered=True) is None
    assert received(subscription, "c1", "c2", "c3") == ["c3"]


def test_events_discarded_unhandled_are_delivered_when_repeated() -> None:
    subscription = subscribed()
    received(subscription, "c1", "c2")
    subscription.forget_unhandled()
    subscription.lost()
    confirmed(subscription, "c0", recovered=True)
    assert received(subscription, "c1", "c2") == ["c1", "c2"]


def test_the_memory_of_repeats_is_bounded() -> None:
    subscription = subscribed()
    received(subscription, *(f"c{n}" for n in range(1, SEEN_LIMIT + 2)))
    assert received(subscription, "c2") == []
    assert received(subscription, "c1") == ["c1"]


def test_a_failed_resumption_is_a_gap() -> None:
    subscription = subscribed()
    subscription.lost()
    gap = confirmed(subscription, "c9", recovered=False)
    assert gap == Payload(
        type="event",
        topic="chat/room",
        event="gap",
        data={"reason": "not_recovered", "since": "c0"},
        cursor="c9",
    )
    subscription.handled(gap)
    assert subscription.cursor == "c9"


def test_a_resumption_without_recovered_is_a_gap() -> None:
    subscription = subscribed()
    subscription.lost()
    gap = confirmed(subscription, "c9", recovered=None)
    assert gap is not None
    assert gap.name == "gap"


def test_an_interruption_of_the_log_is_a_gap() -> None:
    subscription = subscribed()
    gap = subscription.confirm(Subscribed(ROOM, "c9", recovered=False))
    assert gap is not None
    assert gap.cursor == "c9"
    assert gap.data == {"reason": "interrupted", "since": "c0"}
    assert received(subscription, "c10") == ["c10"]


def test_stored_messages_after_a_gap_are_delivered_once() -> None:
    subscription = subscribed()
    assert received(subscription, "1.5") == ["1.5"]
    assert subscription.confirm(Subscribed(ROOM, "1.5", recovered=False)) is not None
    assert received(subscription, "1.6", "1.7") == ["1.6", "1.7"], "what a failed journal had lost"
    subscription.lost()
    assert subscription.request("again").since == "1.5"
    subscription.confirm(Subscribed(ROOM, "1.5", False, "again"))
    assert received(subscription, "1.6", "1.7", "2.9") == ["2.9"]


def test_dropped_events_are_a_gap_with_their_number() -> None:
    subscription = subscribed()
    gap = subscription.confirm(Subscribed(ROOM, "c9", recovered=False, dropped=8))
    assert gap is not None
    assert gap.data == {"reason": "dropped", "since": "c0", "dropped": 8}
    assert received(subscription, "c10") == ["c10"]


def test_a_request_carries_the_slow_policy() -> None:
    asked = Subscription("chat/room", ROOM, slow="latest", key=("id", "kind")).request("1")
    assert (asked.slow, asked.key) == ("latest", ["id", "kind"])
    plain = Subscription("chat/room", ROOM).request("1")
    assert (plain.slow, plain.key) == ("resume", None)


def test_the_answer_to_an_older_request_is_ignored() -> None:
    subscription = Subscription("chat/room", ROOM)
    subscription.request("old")
    subscription.end()
    subscription.request("new")
    subscription.confirm(Subscribed(ROOM, "c1", None, "old"))
    assert not subscription.confirmed
    assert received(subscription, "c2") == []
    subscription.confirm(Subscribed(ROOM, "c3", None, "new"))
    assert subscription.live


def test_a_pending_request_is_confirmed_on_the_next_connection() -> None:
    subscription = Subscription("chat/room", ROOM)
    subscription.request("a")
    subscription.lost()
    subscription.confirm(Subscribed(ROOM, "c1", None, "a"))
    assert subscription.live


def test_a_subscription_after_the_end_starts_from_now() -> None:
    subscription = subscribed()
    subscription.end()
    assert received(subscription, "c1") == []
    assert subscription.request("b").since is None


def test_a_refused_first_request_keeps_its_cursor_for_the_next() -> None:
    subscription = Subscription("chat/room", ROOM, since="c5")
    subscription.request("a")
    subscription.end()
    assert subscription.request("b").since == "c5"
    subscription.confirm(Subscribed(ROOM, "c5", True, "b"))
    subscription.end()
    assert subscription.request("c").since is None


def test_members_already_there_do_not_move_the_cursor() -> None:
    subscription = subscribed()
    payload = subscription.receive(message("c7", {"name": "Ann"}, "presence:join", user_id="ann", snapshot=True))
    assert payload is not None
    assert (payload.name, payload.user_id, payload.data) == ("presence:join", "ann", {"name": "Ann"})
    subscription.handled(payload)
    assert subscription.cursor == "c0"


def test_presence_events_with_one_cursor_are_all_delivered() -> None:
    subscription = subscribed()
    received(subscription, "c1")
    payloads = [
        subscription.receive(message("c1", {}, "presence:join", user_id="ann")),
        subscription.receive(message("c1", {}, "presence:join", user_id="bob")),
        subscription.receive(message("c1", {}, "presence:leave", user_id="ann")),
    ]
    assert [(each.name, each.user_id) for each in payloads if each] == [
        ("presence:join", "ann"),
        ("presence:join", "bob"),
        ("presence:leave", "ann"),
    ]


def test_a_reconnect_delivers_only_the_difference_in_members() -> None:
    subscription = subscribed()
    for user in ("ann", "bob"):
        subscription.receive(message("c1", {"at": 1}, "presence:join", user_id=user))
    subscription.lost()
    confirmed(subscription, "c1", recovered=True)
    again = message("c2", {"at": 1}, "presence:join", user_id="bob", snapshot=True)
    assert subscription.receive(again) is None
    payloads = subscription.reconcile(
        Presence(ROOM, [Member("bob", raw({"at": 1}), 1), Member("cat", raw({"at": 9}), 2)], "p")
    )
    assert [(each.name, each.user_id, each.data) for each in payloads] == [
        ("presence:leave", "ann", {"at": 1}),
        ("presence:join", "cat", {"at": 9}),
    ]


def test_a_member_without_a_user_id_is_identified_by_its_state() -> None:
    payload = subscribed().receive(message("c1", {"userId": "ann"}, "presence:join"))
    assert payload is not None
    assert payload.user_id == "ann"


def test_listeners_are_called_in_the_order_they_were_added() -> None:
    subscription = subscribed()
    calls: list[str] = []

    def first(_: Payload) -> None:
        calls.append("first")

    def second(_: Payload) -> None:
        calls.append("second")

    subscription.add_listener("message", first)
    subscription.add_listener("*", second)
    subscription.add_listener("other", first)
    payload = subscription.receive(message("c1"))
    assert payload is not None
    assert subscription.handlers(payload) == [first, second]


def test_a_listener_is_removed_alone_or_with_all_of_its_event() -> None:
    subscription = subscribed()
    payload = Payload(type="event", topic="chat/room", event="message")

    def one(_: Payload) -> None: ...
    def two(_: Payload) -> None: ...

    subscription.add_listener("message", one)
    subscription.add_listener("message", two)
    subscription.remove_listener("message", one)
    subscription.remove_listener("message", one)
    assert subscription.handlers(payload) == [two]
    subscription.remove_listener("message")
    assert not subscription.has_listeners


def test_a_legacy_chat_message_keeps_its_type() -> None:
    reply = ChatMessage(ROOM, "chat_message", raw({"text": "hi"}), 1, "id", "c1", "ann")
    payload = subscribed().receive(reply)
    assert payload is not None
    assert (payload.type, payload.event, payload.data) == ("chat_message", "chat_message", {"text": "hi"})
    assert payload.user_id == "ann"


def table() -> Subscription:
    return Subscription("orders", "table/orders/default", snapshot=Raw(b"true"))


def rows(id: str, *keys: int, last: bool = True) -> Snapshot:
    return Snapshot("table/orders/default", [raw({"id": key}) for key in keys], "c1", last, id)


def test_a_snapshot_goes_through_its_states() -> None:
    subscription = table()
    states = [subscription.state]
    assert subscription.request("1").snapshot == Raw(b"true")
    states.append(subscription.state)
    subscription.confirm(Subscribed("table/orders/default", "c0", None, "1"))
    states.append(subscription.state)
    parts = [subscription.load(rows("1", 1, last=False)), subscription.load(rows("1", 2))]
    states.append(subscription.state)
    subscription.lost()
    states.append(subscription.state)
    assert states == [State.OFF, State.REQUESTED, State.LOADING, State.LIVE, State.SUSPENDED]
    assert [(part.data.first, part.data.last) for part in parts if part] == [(True, False), (False, True)]


def test_a_loaded_snapshot_resumes_by_its_cursor() -> None:
    subscription = table()
    subscription.request("1")
    subscription.confirm(Subscribed("table/orders/default", "c0", None, "1"))
    payload = subscription.load(rows("1", 1))
    assert payload is not None
    subscription.handled(payload)
    subscription.lost()
    again = subscription.request("2")
    assert (again.since, again.snapshot) == ("c1", Raw(b"null"))


def test_a_connection_lost_while_loading_asks_for_all_rows_again() -> None:
    subscription = table()
    subscription.request("1")
    subscription.confirm(Subscribed("table/orders/default", "c0", None, "1"))
    subscription.load(rows("1", 1, last=False))
    subscription.lost()
    assert subscription.state is State.STALE
    again = subscription.request("2")
    assert (again.since, again.snapshot) == (None, Raw(b"true"))
    subscription.confirm(Subscribed("table/orders/default", "c5", None, "2"))
    payload = subscription.load(rows("2", 1, 2))
    assert payload is not None
    assert payload.data.first


def test_a_gap_of_a_snapshot_loads_the_rows_again() -> None:
    subscription = table()
    subscription.request("1")
    subscription.confirm(Subscribed("table/orders/default", "c0", None, "1"))
    subscription.load(rows("1", 1))
    assert subscription.confirm(Subscribed("table/orders/default", "c9", recovered=False)) is None
    assert subscription.state is State.STALE
