"""What subscribers of a cluster observed, and the promises that it must keep."""

from typing import Any

from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.protocol.errors import AerostackError
from tests.unit.channels.peers import Peer
from tests.unit.channels.replicas import TOPIC, Node, Replicas

Received = list[tuple[int, str]]
"""Position and payload of events."""


class Witness:
    """A subscriber of TOPIC from a position on. `received` is what it received since the last gap, and complete;
    `everything` is what it received before, too."""

    def __init__(self, node: Node, since: str | None = None) -> None:
        self.node = node
        self.peer: Peer = node.peer(TOPIC, since=since)
        self.received: Received = []
        self.everything: Received = []
        self.members: dict[str, Any] = {}
        self.begin = -1
        self.gaps = 0
        self.take()
        self.start = self.begin

    def take(self) -> None:
        for message in self.peer.take():
            if message["type"] == "subscribed":
                self.begin = max(self.begin, position(message["cursor"]))
                self.gaps += message["recovered"] is False
                if message["recovered"] is False:
                    self.received = []
            elif message["type"] == "event" and message["event"].startswith("presence:"):
                if message["event"] == "presence:leave":
                    self.members.pop(message["userId"], None)
                else:
                    self.members[message["userId"]] = message["data"]
            elif message["type"] == "event":
                self.received.append((position(message["cursor"]), message["data"]))
                self.everything.append(self.received[-1])


class Observed:
    """Witnesses on the nodes of a cluster, the answers of publishers, and the checks."""

    def __init__(self, cluster: Replicas) -> None:
        self.cluster = cluster
        self.witnesses: dict[str, Witness] = {}
        self.answers: list[tuple[str, list[Outcome | AerostackError]]] = []
        self.persisted: set[str] = set()

    def watch(self, node: Node, since: str | None = None) -> Witness:
        witness = self.witnesses[node.name] = Witness(node, since)
        return witness

    def publish(self, node: Node, payload: str, *, id: str | None = None, persist: bool = False) -> None:
        if persist and id is None:
            self.persisted.add(payload)
        answers = node.publish(payload, id=id, persist=persist)
        self.answers.append((payload, answers))

    def check(self) -> None:
        """Check what holds at any moment."""
        payloads: dict[int, str] = {}
        for witness in self.witnesses.values():
            witness.take()
            positions = [each for each, _ in witness.everything]
            assert positions == sorted(set(positions)), "cursors strictly grow"
            texts = [payload for _, payload in witness.received]
            assert len(texts) == len(set(texts)), "nothing is delivered twice"
            for at, payload in witness.everything:
                assert payloads.setdefault(at, payload) == payload, "the same cursor is the same event everywhere"
        stored = {message.position for message in self.cluster.messages.stored.values()}
        for at, payload in payloads.items():
            assert payload not in self.persisted or at in stored, "nothing is delivered before it is stored"

    def check_kept(self) -> None:
        """Check that what was acknowledged and stored reached everybody, whatever the journal lost."""
        for witness in self.witnesses.values():
            witness.take()
        for payload, answers in self.answers:
            if payload not in self.persisted:
                continue
            for answer in answers:
                if isinstance(answer, Outcome):
                    for name, witness in self.witnesses.items():
                        there = (position(answer.cursor), payload) in witness.everything
                        is_here = any(node.name == name for node in self.cluster.nodes)
                        assert there or not is_here or position(answer.cursor) <= witness.start, (
                            "kept messages came"
                        )

    def check_quiet(self) -> None:
        """Check what holds once everything has settled, on the nodes that run."""
        self.check()
        running = [self.witnesses[node.name] for node in self.cluster.nodes if node.name in self.witnesses]
        for one in running:
            for other in running:
                begin = max(one.begin, other.begin)
                assert _after(one.received, begin) == _after(other.received, begin), "all received the same events"
        for payload, answers in self.answers:
            for answer in answers:
                if isinstance(answer, Outcome) and not answer.duplicate:
                    for witness in running:
                        at = position(answer.cursor)
                        assert at <= witness.begin or (at, payload) in witness.received, (
                            "what was acknowledged came"
                        )
        members = [node.hub.presence.members(TOPIC) for node in self.cluster.nodes]
        assert all(each == members[0] for each in members), "all nodes know the same members"
        for witness in running:
            assert set(witness.members) == {each.user_id for each in members[0]}, (
                "transitions add up to the members"
            )
        assert all(node.hub.mismatches == 0 for node in self.cluster.nodes), "no node found that another diverged"


def position(cursor: str) -> int:
    """The position of the item that a cursor stands after."""
    return int(cursor.rpartition(".")[2].partition("-")[0])


def _after(received: Received, begin: int) -> Received:
    return [each for each in received if each[0] > begin]
