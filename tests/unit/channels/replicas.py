"""A cluster without sockets: hubs of several nodes on one journal that a test moves by hand."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from msgspec import Raw
from msgspec.structs import replace

from aerostack_realtime.channels.cluster import NodeInfo
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.hub import Hub, Outcome
from aerostack_realtime.channels.parts import HubOptions
from aerostack_realtime.database.base import ChangeFeed
from aerostack_realtime.database.message_store import (
    LicenceLost,
    MessageStore,
    NewMessage,
    OutcomeUnknown,
    Stored,
    StoredMessage,
    compacted_later,
)
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, Unavailable
from tests.unit.channels.peers import Peer, Tick
from tests.unit.channels.replica_journal import SECOND, SharedJournal, SharedLog

TOPIC = "chat/a/p"


class Messages:
    """The stored messages of all nodes, and their licences."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str, str], StoredMessage] = {}
        self._newest: dict[str, int] = {}
        self._compacted: dict[tuple[str, str], int] = {}
        self.licences: set[str] = set()

    def insert(self, message: NewMessage) -> Stored | AerostackError:
        key = message.topic, message.user_id, message.id
        if key in self.stored:
            return Stored(self.stored[key], duplicate=True)
        if message.compacts:
            if self._compacted.get((message.topic, message.event), 0) > message.compacts:
                return compacted_later()
            self._compact(message)
        created_at = max(message.position // 1000, self._newest.get(message.topic, 0) + 1)
        self._newest[message.topic] = created_at
        stored = StoredMessage(*key[:1], message.id, message.user_id, message.event, message.data,
                               message.position, created_at, message.stream)  # fmt: skip
        self.stored[key] = stored
        return Stored(stored, duplicate=False)

    def _compact(self, message: NewMessage) -> None:
        self._compacted[message.topic, message.event] = message.position
        for key, each in list(self.stored.items()):
            is_replaced = each.topic == message.topic and each.event == message.event
            if is_replaced and each.position <= message.compacts and each.position not in message.keeps:
                del self.stored[key]

    def update(self, message: StoredMessage) -> None:
        key = message.topic, message.user_id, message.id
        known = self.stored.setdefault(key, message)
        assert known.stream is not None, "only streams grow"
        assert message.stream is not None, "only streams grow"
        grows = known.stream.n <= message.stream.n or message.stream.state != "open"
        if known.stream.state == "open" and grows:
            self.stored[key] = replace(message, position=known.position, created_at=known.created_at)


class Store:
    """One node's message store: `commit` stores what waits, if the node has its licence."""

    def __init__(self, messages: Messages, node: str) -> None:
        self.messages = messages
        self.node = node
        self.waiting: list[tuple[NewMessage, Callable[[Stored | AerostackError], None]]] = []
        self.updates: list[tuple[StoredMessage, Callable[[AerostackError | None], None]]] = []
        self.full = False
        self.away = 0

    def append(self, message: NewMessage, done: Callable[[Stored | AerostackError], None]) -> None:
        if self.full:
            raise Overloaded("Too many messages wait to be stored.")
        self.waiting.append((message, done))

    def update(self, message: StoredMessage, done: Callable[[AerostackError | None], None]) -> None:
        self.updates.append((message, done))

    async def open_streams(self) -> list[StoredMessage]:
        """`away` calls fail first."""
        if self.away:
            self.away -= 1
            raise Unavailable("The database is away.")
        found = self.messages.stored.values()
        return [each for each in found if each.stream is not None and each.stream.state == "open"]

    def commit(self, failure: AerostackError | None = None) -> None:
        if self.node not in self.messages.licences:
            failure = LicenceLost()
        waiting, self.waiting = self.waiting, []
        outcomes = [failure or self.messages.insert(message) for message, _ in waiting]
        for (_, done), outcome in zip(waiting, outcomes, strict=True):
            done(outcome)
        updates, self.updates = self.updates, []
        for message, answer in updates:
            if failure is None:
                self.messages.update(message)
            answer(failure)

    def lose_answers(self, *, is_stored: bool) -> None:
        """What waits is stored or not, and nobody knows: the database does not reply."""
        if is_stored and self.node in self.messages.licences:
            for message, _ in self.waiting:
                self.messages.insert(message)
            for growth, _ in self.updates:
                self.messages.update(growth)
        waiting, self.waiting = self.waiting, []
        updates, self.updates = self.updates, []
        for _, done in waiting:
            done(OutcomeUnknown("The database does not reply."))
        for _, answer in updates:
            answer(OutcomeUnknown("The database does not reply."))

    async def after(self, topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
        found = [placed(each) for each in self.messages.stored.values() if each.topic == topic and is_whole(each)]
        found = sorted((each for each in found if position < each.position <= until), key=_position)
        return found[:limit]


def is_whole(message: StoredMessage) -> bool:
    return message.stream is None or message.stream.state != "open"


def placed(message: StoredMessage) -> StoredMessage:
    """A stream stands at the position of its end."""
    return message if message.stream is None else replace(message, position=message.stream.ended)


class Commits:
    """Implements `Commits` for all nodes; `away` calls fail first."""

    def __init__(self, messages: Messages) -> None:
        self.messages = messages
        self.away = 0

    async def grant(self, node: str) -> bool:
        self.messages.licences.add(node)
        return True

    async def revoke(self, node: str) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("The database is away.")
        self.messages.licences.discard(node)

    async def stored_at(self, places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        found = {(each.topic, each.position): each.created_at for each in self.messages.stored.values()}
        for each in self.messages.stored.values():
            if each.stream is not None and each.stream.ended:
                found[each.topic, each.stream.ended] = each.created_at
        return {place: found[place] for place in places if place in found}

    async def with_messages(self, topics: Sequence[str], after: int, until: int) -> set[str]:
        if self.away:
            self.away -= 1
            raise Unavailable("The database is away.")
        return {
            each.topic
            for each in self.messages.stored.values()
            if each.topic in topics and is_whole(each) and after < placed(each).position <= until
        }


class Node:
    """One node: its hub, journal and store, and a peer subscribed to TOPIC by default."""

    def __init__(
        self,
        cluster: "Replicas",
        name: str,
        *,
        feed: object = None,
        previous: bool = False,
        alone: bool = False,
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.tick = Tick()
        self.journal = SharedJournal(cluster.log, name, previous=previous)
        self.store = Store(cluster.messages, name)
        self.later: list[Callable[[], None]] = []
        self.keeper = False
        cluster.messages.licences.add(name)
        self.hub = Hub(
            HubOptions(
                journal=self.journal,
                changes=cast(ChangeFeed, feed),
                store=cast(MessageStore, self.store),
                defer=self.tick.defer,
                later=lambda _, call: self.later.append(call),
                buffer_limit=1 << 20,
                presence_limit=100,
                logs=Logs([], 1 << 24),
                commits=None if alone else cluster.commits,
                keep=self._keep,
                info=NodeInfo(name, "1"),
                retry_seconds=0,
            )
        )
        self.peers: dict[str, Peer] = {}

    def _keep(self, keeper: bool) -> None:
        self.keeper = keeper

    def peer(self, topic: str | None = TOPIC, *, since: str | None = None, presence: bool = True) -> Peer:
        """A new connection, subscribed to a topic."""
        peer = Peer(f"{self.name}-{len(self.peers)}-{secrets.token_hex(2)}")
        self.peers[peer.connection_id] = peer
        self.hub.join(peer)
        if topic is not None:
            self.hub.subscriptions.subscribe(peer, messages.Subscribe(topic, since=since, presence=presence))
        return peer

    def publish(self, data: object = 1, topic: str = TOPIC, **options: Any) -> list[Outcome | AerostackError]:
        """Publish; the list gets the answer."""
        answers: list[Outcome | AerostackError] = []
        self.hub.publish(topic, "m", Raw(messages.encode(data)), answers.append, **options)
        return answers

    def step(self) -> None:
        """Everything that this node can do now."""
        self.tick.end()
        self.journal.flush()
        self.journal.read()
        self.tick.end()


class Replicas:
    """A cluster. `nodes` are those that run."""

    def __init__(self, *names: str, log: SharedLog | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self.log = log or SharedLog()
        self.messages = Messages()
        self.commits = Commits(self.messages)
        self.nodes: list[Node] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        for name in names:
            self.start(name)

    def start(
        self,
        name: str,
        *,
        feed: object = None,
        previous: bool = False,
        alone: bool = False,
        refusal: AerostackError | None = None,
    ) -> Node:
        """A node joins; it is ready once the others have run. One that is `alone` has no cluster. `refusal` is
        what its journal says at first."""
        node = Node(self, name, feed=feed, previous=previous, alone=alone)
        node.journal.refusal = refusal
        self.loop.run_until_complete(node.hub.start())
        self.nodes.append(node)
        self.tasks[name] = self.loop.create_task(node.hub.run())
        return node

    def kill(self, node: Node) -> None:
        """A node stops in the middle of whatever it does."""
        self.nodes.remove(node)
        self.tasks.pop(node.name).cancel()
        self.pump()

    def fail_over(self, lost: int) -> None:
        """Another server takes over without the newest `lost` items, in a new generation; all licences end.

        Each node reads what survived. What it had appended and not read back is appended again."""
        highest = self.log.last
        entries = self.log.lose(lost)
        for node in self.nodes:
            reached = node.journal.last
            node.journal.read()
            again = [each.item for each in entries if each.node == node.name and each.position > reached]
            node.journal.waiting[:0] = again
        self.messages.licences.clear()
        self.log.begin(highest)
        for node in self.nodes:
            node.journal.read()

    def pump(self) -> None:
        """Let the resolvers run."""
        for _ in range(8):
            self.loop.run_until_complete(asyncio.sleep(0))

    def tick_all(self) -> None:
        """Let every node do what it can, before any resolver runs."""
        for node in self.nodes:
            node.step()

    def settle(self) -> None:
        """Run until nothing more happens."""
        for _ in range(8):
            for node in self.nodes:
                node.step()
            self.pump()

    def beat(self, seconds: int = 1) -> None:
        """Let time pass, with everybody at work."""
        for _ in range(seconds):
            self.log.now += SECOND
            for node in self.nodes:
                node.hub.sweep()
            self.settle()

    def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.pump()
        self.loop.close()


def is_ready(node: Node) -> bool:
    return node.hub.is_ready


def _position(message: StoredMessage) -> int:
    return message.position


def heard(received: list[dict[str, Any]]) -> list[Any]:
    """The data of events, and GAP where a gap is reported."""
    found: list[Any] = []
    for each in received:
        if each["type"] == "subscribed" and each["recovered"] is False:
            found.append("GAP")
        elif each["type"] == "event" and not each["event"].startswith("presence:"):
            found.append(each["data"])
    return found


def events(received: Sequence[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Cursor and data of the events but presence."""
    return [
        (each["cursor"], each["data"])
        for each in received
        if each["type"] == "event" and not each["event"].startswith("presence:")
    ]


def presence(received: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The transitions of members, without the snapshot of a subscription."""
    return [
        (each["event"].removeprefix("presence:"), each["userId"])
        for each in received
        if each["type"] == "event" and each["event"].startswith("presence:") and "snapshot" not in each
    ]
