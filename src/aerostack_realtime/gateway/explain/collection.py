"""The records of all nodes about a user or a connection, collected by a question to the cluster."""

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.gateway.explain.spelling import near
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.records import ConnectionRecord, Interruption, Refusal

KIND = "explain"


class Wanted(Struct, frozen=True):
    """Which records: of a `user`, or of one `connection`, and refused commands with this `id`."""

    user: str | None = None
    connection: str | None = None
    id: str | None = None
    topic: str | None = None
    """Topics that are spelled almost like it are reported."""


class NodeRecords(Struct):
    """What one node has recorded. Its records of ended connections are complete from `complete_from`, in ms."""

    node: str
    complete_from: int
    connections: list[ConnectionRecord] = []
    refusals: list[Refusal] = []
    interruptions: list[Interruption] = []
    topics: list[str] = []


class Collected(Struct):
    """The records of all nodes together."""

    nodes: list[str]
    complete_from: int
    connections: list[ConnectionRecord]
    refusals: list[Refusal]
    interruptions: list[Interruption]
    topics: list[str]

    def identity(self, user: str) -> tuple[Identity, bool]:
        """The newest identity of a user, and whether its claims are known: without a connection, they are not."""
        for each in sorted(self.connections, key=lambda each: (each.closed_at == 0, each.at), reverse=True):
            if each.user == user:
                return identity_of(each), True
        return Identity("user", user, claims={"sub": user}), False


def identity_of(record: ConnectionRecord) -> Identity:
    """The identity of a connection."""
    if record.kind == "user":
        return Identity("user", record.user, claims=record.claims)
    return Identity("server" if record.kind == "server" else "anonymous", record.user)


class Collection:
    """Answers the questions of other nodes, and asks them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.handle(KIND, self._answer)

    async def ask(self, wanted: Wanted) -> Collected:
        """The records of all nodes. Raises AerostackError."""
        answers = Answer[list[bytes]]()
        self._hub.ask(KIND, wanted, answers.done)
        found = [msgspec.json.decode(each, type=NodeRecords) for each in await answers]
        return Collected(
            nodes=[each.node for each in found],
            complete_from=max((each.complete_from for each in found), default=0),
            connections=sorted((each for node in found for each in node.connections), key=lambda each: each.at),
            refusals=[each for node in found for each in node.refusals],
            interruptions=sorted(
                (each for node in found for each in node.interruptions), key=lambda each: each.at
            ),
            topics=sorted({each for node in found for each in node.topics}),
        )

    def _answer(self, payload: bytes) -> NodeRecords:
        wanted = msgspec.json.decode(payload, type=Wanted)
        records = self._hub.records
        found, complete_from = list[ConnectionRecord](), records.complete_from
        if wanted.user is not None:
            found = records.of_user(wanted.user)
            complete_from = records.user_complete_from(wanted.user)
        elif wanted.connection is not None and (one := records.find(wanted.connection)) is not None:
            found = [one]
        inspection = self._hub.inspection
        return NodeRecords(
            node=self._hub.node,
            complete_from=complete_from,
            connections=[
                each if each.closed_at else _with_waiting(each, inspection.waiting(each.id)) for each in found
            ],
            refusals=[
                each
                for each in records.refusals
                if (wanted.id is not None and each.id == wanted.id)
                or (wanted.user is not None and each.user == wanted.user)
            ],
            interruptions=list(records.interruptions),
            topics=[] if wanted.topic is None else near(wanted.topic, inspection.topics()),
        )


def _with_waiting(record: ConnectionRecord, waiting: int) -> ConnectionRecord:
    return replace(record, waiting=waiting)
