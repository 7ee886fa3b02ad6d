"""How many frames the readers of a stream receive."""

from msgspec import Raw

from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError
from tests.unit.channels.peers import Peer
from tests.unit.channels.replicas import TOPIC, Node, Replicas

READERS = 1_000
TICKS = 10
PIECES = [[f"{tick}.{number} " for number in range(5)] for tick in range(TICKS)]


def reader(node: Node) -> Peer:
    peer = node.peer(None)
    node.hub.subscriptions.subscribe(peer, messages.Subscribe(TOPIC, streams=True))
    peer.take()
    return peer


def open_stream(node: Node, answers: list[Outcome | AerostackError]) -> None:
    node.hub.streams.open(
        TOPIC,
        "answer",
        Raw(b'""'),
        answers.append,
        user_id="bot",
        id="s",
        persist=False,
        connection="writer",
        by_key=False,
    )


def append(
    node: Node,
    n: int,
    answers: list[Outcome | AerostackError],
    piece: str | None = None,
    state: messages.End | None = None,
) -> None:
    data = b"" if piece is None else messages.encode(piece)
    node.hub.streams.append(
        TOPIC, "s", n, data, state, answers.append, user_id="bot", connection="writer", by_key=False
    )


def test_a_thousand_readers_receive_one_frame_per_tick() -> None:
    cluster = Replicas("a")
    cluster.settle()
    [node] = cluster.nodes
    readers = [reader(node) for _ in range(READERS)]
    answers: list[Outcome | AerostackError] = []
    open_stream(node, answers)
    cluster.settle()
    n = 0
    for pieces in PIECES:
        for piece in pieces:
            append(node, n, answers, piece)
            n += 1
        cluster.settle()
    append(node, n, answers, state="complete")
    cluster.settle()
    assert not any(isinstance(answer, AerostackError) for answer in answers)

    expected = readers[0].take()
    opening, *appended = expected
    assert (opening["type"], opening["data"]) == ("event", "")
    assert len(appended) == TICKS + 1, "the pieces of one tick are joined"
    assert "".join(frame.get("data", "") for frame in appended) == "".join(map("".join, PIECES))
    assert appended[-1]["state"] == "complete"
    assert all(each.take() == expected for each in readers[1:])
    cluster.close()
