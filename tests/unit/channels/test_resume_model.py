"""Clients that resume a table from what was read for others, against a model of what each lacks: in any order of
changes, resumes, reads, interruptions and disconnects, with little memory for what is shared."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from aerostack_realtime.access.rows import EVERYTHING, Scope
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.joined_topics import JoinedTopics
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.shared_log import SharedLog
from aerostack_realtime.channels.table_subscriptions import TableSubscriptions
from aerostack_realtime.database.base import Change, ChangeFeed, Replay
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.records import ConnectionRecords
from tests.unit.channels.peers import Peer, Tick

TOPIC = "table/orders/p"
COLUMNS = ("id", "room", "secret")
SCOPES = (EVERYTHING, Scope(equal=(("room", 1),)), Scope(columns=("id", "room")))
FILTERS: tuple[dict[str, Any] | None, ...] = (None, {"room": 0}, {"id": {"gte": 3}})
PART = 4
"""Changes that one read gives."""


class Client(Peer):
    """A client that keeps a cursor, and the ids that it received after it resumed from one."""

    def __init__(self, name: str, scope: Scope, filter: dict[str, Any] | None, since: str) -> None:
        super().__init__(name)
        self.rule = scope
        self.filter = filter
        self.command = messages.Subscribe(TOPIC, filter=filter, since=since)
        self.received: list[Any] = []
        self.is_gone = False
        self.position = int(since)
        """What it has, or knows that it lacks, is before this."""
        self.lost = 0

    def scope(self, table: str) -> Scope:
        return self.rule

    def concerns(self, row: dict[str, Any]) -> bool:
        wanted, equal = self.filter or {}, dict(self.rule.equal)
        room = wanted.get("room", row["room"]) == row["room"] and equal.get("room", row["room"]) == row["room"]
        return bool(room and row["id"] >= wanted.get("id", {"gte": 0})["gte"])

    def shown(self, row: dict[str, Any]) -> dict[str, Any]:
        columns = self.rule.columns
        return row if columns is None else {key: value for key, value in row.items() if key in columns}


class Part:
    """What waits for the next part of a client's resume."""

    def __init__(self, machine: "World", client: Client) -> None:
        self._machine = machine
        self._client = client

    @property
    def awaited(self) -> bool:
        return not self._client.is_gone

    def done(self, outcome: str | AerostackError | None) -> None:
        assert not isinstance(outcome, AerostackError)
        if outcome is not None:
            self._machine.continued.append((self._client, outcome))


class World:
    """A feed whose cursors are numbers of changes: its answers and deliveries come in one order. At most
    `most` bytes are shared."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.rows: list[dict[str, Any]] = []
        self.start = 0
        """What is before this was trimmed, or lost by an interruption."""
        self.delivered = 0
        self.posted: deque[Callable[[], None]] = deque()
        self.continued: list[tuple[Client, str]] = []
        self.clients: list[Client] = []
        self.read_ahead = 0
        tick = Tick()
        self.registry = Registry(tick.defer, lambda *_: None, 1 << 20, Logs([], 1), ConnectionRecords(lambda: 0.0))
        self.shared = SharedLog(cast(ChangeFeed, self), most=most)
        self.joined = JoinedTopics()
        self.subscriptions = TableSubscriptions(
            registry=self.registry,
            changes=cast(ChangeFeed, self),
            shared=self.shared,
            joined=self.joined,
            records=ConnectionRecords(lambda: 0.0),
            flushed=self._flushed,
            write=lambda peer, data: peer.write(data),
        )

    # --- the feed ---

    def watches(self, table: str) -> bool:
        return table == "orders"

    def columns(self, table: str) -> tuple[str, ...]:
        return COLUMNS

    def column_types(self, table: str) -> dict[str, Any]:
        return {}

    def replay(self, table: str, since: str, then: Callable[[Replay], None], _: Any) -> None:
        """As the thread of SQLite does: what is read now is posted after what was posted before."""
        asked = int(since)
        after = max(asked, self.start)
        until = min(after + PART, self.read_ahead)
        after = min(after, until)
        found = Replay(
            [self._change(each) for each in range(after, until)],
            str(until),
            asked >= self.start,
            until < self.read_ahead,
        )
        self.posted.append(lambda: then(found))

    def _change(self, number: int) -> Change:
        row = self.rows[number]
        return Change("orders", "INSERT", row, None, 0, str(number + 1))

    def _flushed(self, peer: Any, _: str) -> bool:
        channel = self.registry.of_table("orders")
        for audience in () if channel is None else channel.audiences():
            audience.flush()
        return peer in self.joined

    # --- what happens ---

    def write(self, count: int, room: int) -> None:
        """Changes are committed, and read by the feed, but not delivered yet."""
        for _ in range(count):
            self.rows.append({"id": len(self.rows), "room": room, "secret": "s"})
        first, self.read_ahead = self.read_ahead, len(self.rows)
        changes = [self._change(each) for each in range(first, self.read_ahead)]
        self.posted.append(lambda: self._deliver(changes))

    def _deliver(self, changes: list[Change]) -> None:
        self.delivered += len(changes)
        self.shared.changed("orders")
        channel = self.registry.of_table("orders")
        if channel is not None:
            channel.deliver(changes)

    def hear(self, count: int) -> None:
        for _ in range(min(count, len(self.posted))):
            self.posted.popleft()()

    def hear_all(self) -> None:
        while self.posted:
            self.posted.popleft()()

    def trim(self, kept: int) -> None:
        """The database forgets its oldest changes. Clients that have read them do not notice."""
        self.start = max(self.start, self.delivered - kept)

    def interrupt(self) -> None:
        """The table was rebuilt, and a change is in no log: the log begins after it."""
        self.rows.append({"id": len(self.rows), "room": 1, "secret": "s"})
        self.start = self.read_ahead = at = len(self.rows)
        self.posted.append(lambda: self._interrupted(at))

    def _interrupted(self, at: int) -> None:
        self.delivered = at
        self.shared.interrupted("orders")
        channel = self.registry.of_table("orders")
        if channel is not None:
            channel.interrupted(str(at), {})

    def resume(self, scope: Scope, filter: dict[str, Any] | None, behind: int) -> None:
        client = Client(f"{len(self.clients)}", scope, filter, str(max(self.delivered - behind, 0)))
        self.clients.append(client)
        self.joined.join(client)
        if not self.subscriptions.resume_at_once(client, client.command):
            assert client.command.since is not None
            self._next(client, client.command.since, confirmed=False)

    def _next(self, client: Client, since: str, *, confirmed: bool) -> None:
        self.subscriptions.resume(
            client, client.command, since, cast(Any, Part(self, client)), confirmed=confirmed
        )

    def take(self, number: int) -> None:
        """A client has taken its part, and asks for the next one; others are slower."""
        if self.continued:
            client, cursor = self.continued.pop(number % len(self.continued))
            if not client.is_gone:
                self._next(client, cursor, confirmed=True)

    def leave(self, number: int) -> None:
        if self.clients:
            self._leave(self.clients[number % len(self.clients)])

    def _leave(self, client: Client) -> None:
        client.is_gone = True
        for _ in self.joined.leave(client):
            channel = self.registry.of_table("orders")
            if channel is not None:
                channel.remove(client)
                self.registry.tidy(channel)

    def sweep(self) -> None:
        for _ in range(20):
            self.shared.sweep()

    # --- what has to hold ---

    def each_client_has_exactly_what_it_lacked(self) -> None:
        self.registry.flush()
        for client in self.clients:
            for message in client.take():
                self._check(client, message)

    def _check(self, client: Client, message: dict[str, Any]) -> None:
        assert not client.is_gone
        if message["type"] == "subscribed":
            if message["recovered"] is False:
                client.lost += 1  # whatever comes next, it knows of the gap
            return
        number = int(message["cursor"]) - 1
        between = range(client.position, number)
        assert number >= client.position, "each once, in order"
        if not client.lost:
            assert not any(client.concerns(self.rows[each]) for each in between), "nothing is left out"
        assert client.concerns(self.rows[number])
        assert message["data"] == client.shown(self.rows[number])
        client.position, client.lost = number + 1, 0

    def memory_is_bounded(self) -> None:
        shared = self.shared
        assert sum(each.size for each in shared._parts) == shared._size <= self._most
        assert {id(section.part) for section in shared._places.values()} <= {id(each) for each in shared._parts}

    def check(self) -> None:
        self.each_client_has_exactly_what_it_lacked()
        self.memory_is_bounded()

    def end(self) -> None:
        """At rest, every client that stayed has everything."""
        self.hear_all()
        for _ in range(1_000):
            self.take(0)
            self.hear_all()
        assert not self.continued, "every resume ends"
        self.each_client_has_exactly_what_it_lacked()
        for client in self.clients:
            if not client.is_gone and not client.lost:
                lacking = self.rows[client.position :]
                assert not any(map(client.concerns, lacking)), "it is live, or knows of the gap"


def run(seed: int) -> None:
    """Sixty steps of one world, in an order that the seed decides."""
    choose = random.Random(seed)
    world = World(choose.choice((3_000, 9_000, 1 << 20)))
    some = choose.randrange
    steps: list[tuple[int, Callable[[], None]]] = [
        (8, lambda: world.write(some(1, 7), some(2))),
        (8, lambda: world.hear(some(1, 8))),
        (4, world.hear_all),
        (16, lambda: world.resume(choose.choice(SCOPES), choose.choice(FILTERS), choose.choice((0, some(10))))),
        (8, lambda: world.take(some(20))),
        (2, lambda: world.leave(some(20))),
        (1, lambda: world.trim(some(7))),
        (choose.choice((0, 1)), world.interrupt),
        (choose.choice((0, 1)), world.sweep),
    ]
    for step in choose.choices([each for _, each in steps], [weight for weight, _ in steps], k=60):
        step()
        world.check()
    world.end()


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_clients_that_resume_together_get_what_each_alone_would(first: int) -> None:
    for seed in range(first, first + 50):
        run(seed)
