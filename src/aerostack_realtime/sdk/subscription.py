"""One channel's subscription as seen by the client: its state, its cursor, its listeners. No I/O, no clock.

    OFF ──request──▶ REQUESTED ──confirm──▶ LIVE ◀──last rows── LOADING      (LOADING with a snapshot only)
                                             │ ▲                 │ ▲
                              lost or paused ▼ │ confirm         ▼ │ confirm
                                          SUSPENDED            STALE

Replies go in, payloads for the user come out: each event once, however often the server sends it, and each break
in the log as a `gap`.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct

from aerostack_realtime.protocol.messages import (
    Appended,
    ChatMessage,
    DbChange,
    Event,
    Filter,
    Presence,
    Slow,
    Snapshot,
    Subscribe,
    Subscribed,
)
from aerostack_realtime.protocol.presence import EVENTS as PRESENCE_EVENTS
from aerostack_realtime.sdk.growing_streams import GrowingStreams
from aerostack_realtime.sdk.payload import Part, Payload
from aerostack_realtime.sdk.presence import Members, Transition

Handler = Callable[[Payload], object]
"""A plain or async function of one payload."""
Key = str | Sequence[str]
"""The member of `data`, or those, that identify what an event or a row is about."""
History = int | Literal["all"]
"""How many stored messages a subscription begins with."""
GapReason = Literal["not_recovered", "interrupted", "dropped"]
"""Why events may be missing; docs/protocol.md §5."""

GAP: Final = "gap"
SNAPSHOT: Final = "snapshot"
ANY: Final = "*"

SEEN_LIMIT: Final = 8192
"""Cursors remembered to recognise repeats. A resumption repeats at most the events that were received and not yet
handled, which delivery.BUFFER bounds to half of this."""


class Options(Struct, frozen=True, kw_only=True):
    """The options of `channel()`; None where the caller gave none."""

    filter: Filter | None = None
    since: str | None = None
    slow: Slow | None = None
    key: Key | None = None
    streams: bool | None = None
    history: History | None = None


class State(Enum):
    """Where a subscription stands."""

    OFF = auto()
    """Not subscribed."""
    REQUESTED = auto()
    """Requested for the first time; the server has not answered."""
    LOADING = auto()
    """Confirmed; the rows of its snapshot are arriving."""
    LIVE = auto()
    """Confirmed; events are arriving."""
    SUSPENDED = auto()
    """Was live; the next request continues after the cursor."""
    STALE = auto()
    """Rows are missing; the next request asks for a snapshot."""


_RECEIVING: Final = frozenset({State.LOADING, State.LIVE})
_CONFIRMED: Final = frozenset({State.LOADING, State.LIVE, State.SUSPENDED, State.STALE})


class Subscription:
    """The subscription of one channel. `cursor` is that of the last event whose handlers have finished.

    `wire_topic` is the topic as it is sent. `slow` and `key` say what the server does while this client is slow.
    With `snapshot` (the value of that field in the command) it begins with a table's rows, and again after every
    gap.
    """

    def __init__(
        self,
        topic: str,
        wire_topic: str,
        filter: Filter | None = None,
        since: str | None = None,
        snapshot: Raw | None = None,
        slow: Slow = "resume",
        key: Key | None = None,
        streams: bool = False,
        history: History | None = None,
    ) -> None:
        self.topic = topic
        self.wire_topic = wire_topic
        self.filter = filter
        self.slow: Slow = slow
        self.key = key
        self.streams = streams
        self.history = history
        self.growing = GrowingStreams(topic)
        self.cursor = since
        self.members = Members()
        self.state = State.OFF
        self.snapshot = snapshot
        self._start = since  # where the first request begins; None: now
        self._request: str | None = None  # the id of the request that counts
        self._since: str | None = None  # `since` in that request
        self._rows_of: str | None = None  # the request whose rows are arriving
        self._gap_end: str | None = None  # the cursor after the newest gap, until its handlers have finished
        self._seen: dict[str, None] = {}
        self._listeners: list[tuple[str, Handler]] = []

    @property
    def confirmed(self) -> bool:
        """Whether the server has confirmed it; it is restored after a reconnect."""
        return self.state in _CONFIRMED

    @property
    def live(self) -> bool:
        """Whether the server has confirmed the request that counts, so that events belong to it."""
        return self.state in _RECEIVING

    # --- the wire ----------------------------------------------------------------------------------------

    def request(self, id: str) -> Subscribe:
        """The command that starts it, or continues it after the cursor. While handlers still work up to a gap it
        continues after the gap, because the events after it are waiting already."""
        self.lost()
        if self.state is State.OFF:
            self.state = State.REQUESTED
        self._request = id
        rows = Raw(b"null")
        if self._wants_rows:
            assert self.snapshot is not None, "only a snapshot has rows"
            rows, self._since = self.snapshot, None
        elif self.state is State.SUSPENDED:
            self._since = self._gap_end or self.cursor
        else:
            self._since = self._start
        return Subscribe(
            topic=self.wire_topic,
            filter=self.filter,
            since=self._since,
            snapshot=rows,
            slow=self.slow,
            key=self.key if self.key is None or isinstance(self.key, str) else list(self.key),
            streams=self.streams and (self.growing.known or True),
            history=self.history,
            advice=True,
            id=id,
        )

    def requested_as(self, id: str) -> bool:
        """Whether `id` is that of the request that counts."""
        return self._request == id

    def configure(self, options: Options, *, running: bool) -> None:
        """Change the options of a subscription that is not `running`. Raises ValueError when other ones apply."""
        changes: list[tuple[str, bool]] = [
            ("filter", options.filter is not None and options.filter != self.filter),
            ("policy", options.slow is not None and (options.slow, options.key) != (self.slow, self.key)),
            ("streams option", options.streams is not None and options.streams != self.streams),
        ]
        for option, changed in changes:
            if changed and running:
                raise ValueError(f"{self.topic!r} is subscribed with another {option}; unsubscribe it first.")
        if running:
            return
        if options.filter is not None:
            self.filter = options.filter
        if options.slow is not None:
            self.slow, self.key = options.slow, options.key
        if options.streams is not None:
            self.streams = options.streams
        if options.history is not None:
            self.history = options.history
        if options.since is not None:
            assert not self.confirmed, "a running subscription has its own cursor"
            self.cursor = self._start = options.since

    def confirm(self, reply: Subscribed) -> Payload | None:
        """Process `subscribed`; returns the gap that it reports, if any. Answers to older requests are ignored."""
        if reply.id is not UNSET and reply.id != self._request:
            return None
        if self.live:  # unsolicited: the log was interrupted, or events were dropped
            if reply.recovered is not False:
                return None
            return self._gap(reply, "interrupted" if reply.dropped is UNSET else "dropped")
        if self._request is None:
            return None
        self.state = State.LOADING if self._wants_rows else State.LIVE
        if self._since is None:
            self.cursor = reply.cursor
            return None
        return None if reply.recovered else self._gap(reply, "not_recovered")

    def load(self, reply: Snapshot) -> Payload | None:
        """Process rows; after the last of them changes follow."""
        if self.state is not State.LOADING or reply.id != self._request:
            return None
        first, self._rows_of = self._rows_of != self._request, self._request
        if reply.last:
            self.state = State.LIVE
        return Payload(
            type=SNAPSHOT,
            topic=self.topic,
            event=SNAPSHOT,
            data=Part(
                [msgspec.json.decode(row) for row in reply.rows],
                first=first,
                last=reply.last,
                numbers=reply.numbers or [],
            ),
            cursor=reply.cursor if reply.last else None,
        )

    def receive(self, reply: Event | ChatMessage | DbChange) -> Payload | None:
        """Process an event; returns the payload for the user, or None for a repeat."""
        if not self.live:
            return None
        if isinstance(reply, Event) and reply.event in PRESENCE_EVENTS:
            return self._member(reply)
        if isinstance(reply, Event) and reply.stream is not UNSET:
            return self.growing.event(reply)
        if reply.cursor in self._seen:
            return None
        self._seen[reply.cursor] = None
        if len(self._seen) > SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]
        data = msgspec.json.decode(reply.data)
        if isinstance(reply, DbChange):
            return Payload(
                type="db_change",
                topic=self.topic,
                operation=reply.operation,
                data=data,
                old=None if reply.old is UNSET else msgspec.json.decode(reply.old),
                timestamp=reply.timestamp,
                cursor=reply.cursor,
                commit=reply.commit or None,
                commit_end=bool(reply.commit_end),
            )
        return Payload(
            type="chat_message" if isinstance(reply, ChatMessage) else "event",
            topic=self.topic,
            event=reply.event,
            data=data,
            user_id=reply.user_id or None,
            timestamp=reply.timestamp,
            id=reply.id,
            cursor=reply.cursor,
            traceparent=reply.traceparent or None if isinstance(reply, Event) else None,
        )

    def grow(self, reply: Appended) -> Payload | None:
        """Process pieces of a stream; returns the payload for the user. Raises OutOfSync when some are missing."""
        return self.growing.append(reply) if self.live else None

    def reconcile(self, reply: Presence) -> list[Payload]:
        """Process the full list of members; returns the changes that no event reported."""
        present = {
            (member.user_id, member.connection_id or None): msgspec.json.decode(member.state)
            for member in reply.members
        }
        return [self._transition(each) for each in self.members.reconcile(present)]

    def handled(self, payload: Payload) -> None:
        """The handlers have finished with `payload`."""
        self.growing.handled(payload)
        if payload.cursor is not None:
            self.cursor = payload.cursor
            if payload.cursor == self._gap_end:
                self._gap_end = None

    def lost(self) -> None:
        """The connection is gone, or the subscription is paused: events that still arrive are ignored."""
        if self.state is State.LIVE:
            self.state = State.SUSPENDED
        elif self.state is State.LOADING:
            self.state = State.STALE

    def discard_rows(self) -> None:
        """The rows are not complete: the next request asks for all of them again."""
        assert self.snapshot is not None, "only a snapshot has rows"
        self.state = State.STALE

    def forget_unhandled(self) -> None:
        """The events that were received and not handled are discarded: the server may send them again."""
        self._seen.clear()
        self._gap_end = None
        self.growing.forget_unhandled()
        if self.snapshot is not None and self.confirmed:
            self.state = State.STALE

    def end(self) -> None:
        """The user or the server ended it. A later request starts from that time on; one that never began still
        continues after its first cursor."""
        if self.state is not State.REQUESTED:
            self._start = None
        self.state = State.OFF
        self._request = self._gap_end = None
        self._seen.clear()
        self.members.clear()
        self.growing.clear()

    @property
    def _wants_rows(self) -> bool:
        return self.snapshot is not None and self.state in (State.REQUESTED, State.STALE)

    def _gap(self, reply: Subscribed, reason: GapReason) -> Payload | None:
        if self.snapshot is not None:  # the rows, loaded again, replace what is missing
            self.state = State.STALE
            return None
        self._gap_end = reply.cursor
        data: dict[str, Any] = {"reason": reason, "since": self.cursor}
        if reply.dropped is not UNSET:
            data["dropped"] = reply.dropped
        return Payload(type="event", topic=self.topic, event=GAP, data=data, cursor=reply.cursor)

    def _member(self, reply: Event) -> Payload | None:
        state = msgspec.json.decode(reply.data)
        user_id = reply.user_id or (str(state.get("userId", "")) if isinstance(state, dict) else "")
        transition = self.members.apply(reply.event, (user_id, reply.connection_id or None), state)
        if transition is None:
            return None
        if reply.snapshot is True:  # a member that was present before; not an event of the log
            return self._transition(transition)
        return self._transition(transition, reply.timestamp, reply.id, reply.cursor)

    def _transition(
        self,
        transition: Transition,
        timestamp: int | None = None,
        id: str | None = None,
        cursor: str | None = None,
    ) -> Payload:
        return Payload(
            type="event",
            topic=self.topic,
            event=transition.event,
            data=transition.state,
            user_id=transition.member[0],
            connection_id=transition.member[1],
            timestamp=timestamp,
            id=id,
            cursor=cursor,
        )

    # --- the listeners -----------------------------------------------------------------------------------

    def add_listener(self, event: str, handler: Handler) -> None:
        """Add a listener; one that is added twice is called twice."""
        self._listeners.append((event, handler))

    def remove_listener(self, event: str, handler: Handler | None = None) -> None:
        """Remove the listener, or every listener of the event. Does nothing when there is none."""
        self._listeners = [
            (name, each)
            for name, each in self._listeners
            if name != event or (handler is not None and each != handler)
        ]

    def remove_all_listeners(self) -> None:
        """Remove all listeners."""
        self._listeners = []

    @property
    def has_listeners(self) -> bool:
        """Whether there are listeners."""
        return bool(self._listeners)

    def handlers(self, payload: Payload) -> list[Handler]:
        """The listeners of `payload`, in the order they were added."""
        return [handler for name, handler in self._listeners if name in (payload.name, ANY)]
