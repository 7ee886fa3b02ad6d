"""What each node contributes to a view: the part of the data that only this node has."""

from collections.abc import Callable, Collection, Iterator
from heapq import nlargest
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.inspection import LogExtent, TableWatch
from aerostack_realtime.gateway.console.figures import Figures, NodeFigures
from aerostack_realtime.gateway.console.queries import Query
from aerostack_realtime.gateway.console.recent_log import Line, RecentLog
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.protocol import topics
from aerostack_realtime.records import ConnectionRecord

SHOWN_SUBSCRIBERS: Final = 50
"""Connections of a channel that are listed."""


class ConnectionRow(Struct, frozen=True, rename="camel"):
    """A connection in a list. `at` is in ms, `waiting` the bytes that its client has not taken yet. `behind` is
    since when (ms) it is too slow for a policy of its own, 0 if it is not; `catching_up` whether it is served from
    a log.
    """

    id: str
    user: str | None
    kind: str
    address: str
    node: str
    at: int
    topics: int
    waiting: int
    behind: int
    catching_up: bool


class ConnectionsPart(Struct):
    """The connections of one node that a page may show, in its order, and how many match."""

    total: int
    rows: list[ConnectionRow]


class ConnectionPart(Struct):
    """One connection, open or ended, on the node that has it. `lacks` are the events it is behind, by topic."""

    row: ConnectionRow | None = None
    topics: list[str] = []
    record: ConnectionRecord | None = None
    lacks: dict[str, int | None] = {}


class ChannelPart(Struct):
    """What one node has of a channel."""

    subscribers: int
    connections: list[ConnectionRow]
    log: LogExtent | None


class RuleHits(Struct, frozen=True):
    """How often a rule has decided on one node."""

    section: str
    number: int
    pattern: str
    allowed: int
    denied: int


Part = (
    NodeFigures
    | dict[str, int]
    | ChannelPart
    | ConnectionsPart
    | ConnectionPart
    | list[TableWatch]
    | list[RuleHits]
    | list[Line]
    | None
)


class Parts:
    """Makes this node's parts. `sessions` are its connections, oldest first."""

    def __init__(
        self,
        *,
        hub: Hub,
        guard: Guard,
        log: RecentLog,
        figures: Figures,
        sessions: Callable[[], Collection[Session]],
    ) -> None:
        self._hub = hub
        self._guard = guard
        self._log = log
        self._figures = figures
        self._sessions = sessions

    def of(self, query: Query) -> Part:
        """This node's part of a view."""
        match query.view:
            case "overview":
                return self._figures.read()
            case "channels":
                return self._hub.inspection.subscribers(query.search)
            case "channel":
                return self._channel(query.name)
            case "connections":
                return self._connections(query)
            case "connection":
                return self._connection(query.name)
            case "tables":
                return self._hub.inspection.tables()
            case "streams":
                return None
            case "rules":
                return self._rules()
            case "log":
                lines = self._log.newest(query.kind, query.search, query.offset + query.limit)
                return [replace(each, node=self._hub.node) for each in lines]
            case _:
                assert_never(query.view)

    def _channel(self, topic: str) -> ChannelPart:
        inspection = self._hub.inspection
        by_id = {each.connection_id: each for each in self._sessions()}
        found = [by_id[id] for id in inspection.subscribed(topic, SHOWN_SUBSCRIBERS) if id in by_id]
        return ChannelPart(
            inspection.subscriber_count(topic), [self._row(each) for each in found], inspection.log(topic)
        )

    def _connections(self, query: Query) -> ConnectionsPart:
        """A page of those on all nodes needs at most offset + limit of each."""
        sessions, needed = self._sessions(), query.offset + query.limit
        wanted = query.search.lower()
        if wanted:
            sessions = [each for each in sessions if _matches(each, wanted)]
        if query.order == "waiting":
            chosen = nlargest(needed, sessions, key=lambda each: each.buffered())
        else:
            chosen = list(_newest(sessions, needed))
        return ConnectionsPart(len(sessions), [self._row(each) for each in chosen])

    def _connection(self, id: str) -> ConnectionPart:
        record = self._hub.records.find(id)
        session = next((each for each in self._sessions() if each.connection_id == id), None)
        row = None if session is None else self._row(session)
        joined = sorted(each for each in self._hub.inspection.joined(id) if not topics.is_console(each))
        return ConnectionPart(row, joined, record, self._hub.inspection.behind(id))

    def _row(self, session: Session) -> ConnectionRow:
        id = session.connection_id
        record = self._hub.records.find(id)
        return ConnectionRow(
            id=id,
            user=session.user_id,
            kind="unknown" if session.identity is None else session.identity.kind,
            address=session.address,
            node=self._hub.node,
            at=0 if record is None else record.at,
            topics=len(self._hub.inspection.joined(id)),
            waiting=session.buffered(),
            behind=0 if record is None else behind_since(record),
            catching_up=bool(self._hub.inspection.behind(id)),
        )

    def _rules(self) -> list[RuleHits]:
        return [
            RuleHits(each.rule.section, each.rule.number, each.rule.pattern, each.allowed, each.denied)
            for each in self._guard.rules.hits()
        ]


def behind_since(record: ConnectionRecord) -> int:
    """Since when (ms) a connection has been too slow for a subscription with a policy; 0 if it is not."""
    slow: dict[str, int] = {}
    for note in record.notes:
        if note.kind == "slow":
            slow.setdefault(note.topic, note.at)
        elif note.kind == "caught_up":
            slow.pop(note.topic, None)
    return min(slow.values(), default=0)


def _matches(session: Session, wanted: str) -> bool:
    return (
        wanted in (session.user_id or "").lower()
        or session.address.startswith(wanted)
        or session.connection_id.lower().startswith(wanted)
    )


def _newest(sessions: Collection[Session], count: int) -> Iterator[Session]:
    found = list(sessions)
    yield from reversed(found[-count:])
