"""Writers and readers of streams without sockets: they do what the clients do."""

from collections.abc import Iterable
from typing import Any

from msgspec import Raw

from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError, Cancelled, Conflict, NotFound, OutOfStep
from aerostack_realtime.protocol.messages import End
from tests.unit.channels.peers import Peer
from tests.unit.channels.replicas import TOPIC, Node, Replicas


class Writer:
    """Writes one stream, over any number of connections, until it is answered with its end."""

    def __init__(self, node: Node, id: str, *, persist: bool = False) -> None:
        self.id = id
        self.persist = persist
        self.pieces: list[str] = []
        self.final: End | None = None
        self.ended: str | None = None
        self.n = 0
        """How many pieces the server has answered last."""
        self._attached = 0
        self._is_open = False
        self._next = 0
        self._final_sent = False
        self.node = node
        self.peer: Peer
        self.attach(node)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def has_ended(self) -> bool:
        """Whether the end was answered."""
        return self.ended is not None

    def attach(self, node: Node) -> None:
        """A new connection to a node: find out what arrived."""
        self.node, self.peer = node, node.peer(None)
        self._attached += 1
        self._open()

    def write(self, *pieces: str) -> None:
        if self.final is None and self.ended is None:
            self.pieces += pieces
            self.pump()

    def finish(self, state: End = "complete") -> None:
        self.final = self.final or state
        self.pump()

    def pump(self) -> None:
        """Send what was not sent yet."""
        if self.ended is not None:
            return
        if not self._is_open:
            self._open()
            return
        while self._next < len(self.pieces):
            self._append(self._next, messages.encode(self.pieces[self._next]))
            self._next += 1
        if self.final is not None and not self._final_sent:
            self._final_sent = True
            self._append(len(self.pieces), b"", self.final)

    def retry(self) -> None:
        """Send again what was not answered, as after a refusal for now."""
        self._next, self._final_sent = self.n, False
        self.pump()

    def _open(self) -> None:
        self._is_open, self._final_sent, attached = False, False, self._attached
        self.node.hub.streams.open(
            TOPIC,
            "answer",
            Raw(b'""'),
            lambda outcome: self._answered(attached, outcome, opening=True),
            user_id="bot",
            id=self.id,
            persist=self.persist,
            connection=self.peer.connection_id,
            by_key=False,
        )

    def _append(self, n: int, data: bytes, state: End | None = None) -> None:
        attached = self._attached
        self.node.hub.streams.append(
            TOPIC,
            self.id,
            n,
            data,
            state,
            lambda outcome: self._answered(attached, outcome),
            user_id="bot",
            connection=self.peer.connection_id,
            by_key=False,
        )

    def _answered(self, attached: int, outcome: Outcome | AerostackError, *, opening: bool = False) -> None:
        if attached != self._attached or self.ended is not None:
            return
        match outcome:
            case OutOfStep(n=n):
                self._next, self._final_sent, self.n = min(n, self._next), False, n
            case NotFound():
                self._is_open = False
            case Cancelled() | Conflict():
                self.ended = "cancelled" if isinstance(outcome, Cancelled) else "conflict"
            case Outcome():
                assert outcome.n is not None, "the answer to a writer has the number of pieces"
                self.n = n = outcome.n
                if outcome.state != "open":
                    self.ended = outcome.state
                elif opening:
                    self._is_open, self._next, self._final_sent = True, n, False
            case AerostackError():
                assert outcome.retryable, outcome


class StreamReader:
    """A subscriber that receives streams while they grow, and all it put together."""

    def __init__(self, node: Node, since: str | None = None) -> None:
        self.node = node
        self.peer = node.peer(None)
        self.texts: dict[str, str] = {}
        self.n: dict[str, int] = {}
        self.states: dict[str, str] = {}
        self.frames: list[dict[str, Any]] = []
        node.hub.subscriptions.subscribe(self.peer, messages.Subscribe(TOPIC, since=since, streams=True))
        self.take()

    def take(self) -> "StreamReader":
        for frame in self.peer.take():
            self.frames.append(frame)
            id = frame.get("id", "")
            if frame["type"] == "event" and "stream" in frame:
                self.texts[id], self.n[id] = frame["data"], frame["stream"]["n"]
                self.states[id] = frame["stream"]["state"]
            elif frame["type"] == "append":
                assert frame["n"] == self.n[id], f"{frame} does not continue {self.n[id]} pieces"
                self.texts[id] += frame.get("data", "")
                self.n[id], self.states[id] = frame["to"], frame.get("state", "open")
        return self


def whole(peer: Peer) -> Iterable[tuple[str, Any]]:
    """The events that a subscriber without streams received: id and data."""
    return [(each["id"], each["data"]) for each in peer.take() if each["type"] == "event"]


def commit(cluster: Replicas) -> None:
    """Store everything that waits, on all nodes, and let it be known."""
    cluster.settle()
    for node in cluster.nodes:
        node.store.commit()
    cluster.settle()
