"""Table channels: every subscriber is sent the changes of its view, as its view shows them."""

from hypothesis import given
from hypothesis import strategies as st

from aerostack_realtime.access.rows import EVERYTHING, Scope
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import Change, Row
from aerostack_realtime.protocol.messages import Filter, Operation
from tests.unit.channels.peers import Peer, unframed

COLUMNS = ("id", "status")
HIDING = Scope(columns=("id",))
ASKED: list[tuple[Filter | None, Scope]] = [
    (None, EVERYTHING),
    (None, HIDING),
    ({"id": 1}, EVERYTHING),
    ({"id": 1}, HIDING),
    ({"id": 2}, EVERYTHING),
    ({"status": "open"}, EVERYTHING),
    ({"id": 1, "status": "open"}, EVERYTHING),
    ({"id": 1, "status": {"ne": "paid"}}, EVERYTHING),
]

rows = st.fixed_dictionaries({"id": st.sampled_from([1, 2, [1]]), "status": st.sampled_from(["open", "paid"])})


def change(number: int, old: Row | None, new: Row | None) -> Change:
    operation: Operation = "INSERT" if old is None else "DELETE" if new is None else "UPDATE"
    row = new if new is not None else old
    assert row is not None
    return Change("orders", operation, row, old, 7, f"e.{number}", "3e8", commit_end=number % 2 == 1)


@given(
    st.lists(st.sampled_from(ASKED), min_size=1, max_size=4),
    st.lists(st.tuples(st.none() | rows, st.none() | rows).filter(any), max_size=6),
)
def test_each_subscriber_is_sent_what_its_view_shows(
    asked: list[tuple[Filter | None, Scope]], written: list[tuple[Row | None, Row | None]]
) -> None:
    channel = TableChannel("orders", "orders", lambda: Audience(lambda _: None, 1 << 20, lambda _: None), 1 << 20)
    peers = [Peer(str(number)) for number in range(len(asked))]
    views = [channel.views.view(filter, COLUMNS, scope) for filter, scope in asked]
    for peer, view in zip(peers, views, strict=True):
        channel.add(peer, view, None, presence=True)
    changes = [change(number, old, new) for number, (old, new) in enumerate(written)]
    channel.deliver(changes)
    for audience in channel.audiences():
        audience.flush()
    assert channel.counters.events == len(changes)
    for peer, view in zip(peers, views, strict=True):
        shown = [(each, operation) for each in changes if (operation := view.operation(each)) is not None]
        assert [
            (frame["cursor"], frame["operation"], frame["data"], frame.get("old"), frame.get("commitEnd", False))
            for frame in unframed(b"".join(peer.written))
        ] == [
            (
                each.cursor,
                operation,
                view.cut(each.old if operation == "DELETE" and each.old is not None else each.data),
                None if each.old is None or operation == "INSERT" else view.cut(each.old),
                each.commit_end,
            )
            for each, operation in shown
        ]
