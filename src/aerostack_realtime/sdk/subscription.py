"""One channel's subscription as seen from the client: its state, its cursor, its listeners. No I/O, no clock.

    off ──request──▶ asked ──confirm──▶ live ──lost / paused──▶ asked again, from the cursor

Replies go in, payloads for the user come out: each event once, however often the server sends it, and each
break in the log as a `gap`.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from aerostack_realtime.protocol.messages import (
    DbChange,
    Event,
    Filter,
    Presence,
    Slow,
    Snapshot,
    Subscribe,
    Subscribed,
)
from aerostack_realtime.sdk.payload import Part, Payload
from aerostack_realtime.sdk.presence import EVENTS as PRESENCE_EVENTS
from aerostack_realtime.sdk.presence import Members, Transition

Handler = Callable[[Payload], object]
"""A plain or async function of one payload."""
Key = str | Sequence[str]
"""The member of `data`, or those, that name what an event or a row is about."""

GAP: Final = "gap"
SNAPSHOT: Final = "snapshot"
ANY: Final = "*"

SEEN_LIMIT: Final = 8192
"""Cursors remembered against repeats. A resumption repeats at most what was received and not yet handled,
which delivery.BUFFER bounds to half of this."""


class Subscription:
    """The subscription of one channel. `cursor` is that of the last event whose handlers have finished.

    `slow` and `key` say what the server does while this client is slow. With `snapshot` (what the command of
    that name asks for) it begins with a table's rows, and again after every gap: then `stale`, until it is
    requested again.
    """

    def __init__(
        self,
        topic: str,
        canonical: str,
        filter: Filter | None = None,
        since: str | None = None,
        snapshot: Raw | None = None,
        slow: Slow = "resume",
        key: Key | None = None,
    ) -> None:
        self.topic = topic
        self.canonical = canonical
        self.filter = filter
        self.slow: Slow = slow
        self.key = key
        self.cursor = since
        self.confirmed = False  # the server has said `subscribed`: it is restored after a reconnect
        self.live = False  # … and said it to the request that counts now
        self.members = Members()
        self.snapshot = snapshot
        self.stale = snapshot is not None
        self._begun = False  # the first rows of a snapshot are here
        self._resumable = since is not None
        self._asked: str | None = None
        self._since: str | None = None
        self._told: str | None = None  # where the newest gap leads to, until its handlers have finished
        self._seen: dict[str, None] = {}
        self._listeners: list[tuple[str, Handler]] = []

    # --- the wire ----------------------------------------------------------------------------------------

    def request(self, id: str) -> Subscribe:
        """The command that starts it, or continues it after the cursor; after a gap that is being told, where
        that leads to, since what came after it waits already."""
        self.live = False
        self._asked = id
        self._since = (self._told or self.cursor) if self._resumable and not self.stale else None
        rows = self.snapshot if self.snapshot is not None and self.stale else Raw(b"null")
        self._begun = False
        return Subscribe(
            topic=self.canonical,
            filter=self.filter,
            since=self._since,
            snapshot=rows,
            slow=self.slow,
            key=None if self.key is None else self.key if isinstance(self.key, str) else list(self.key),
            id=id,
        )

    def asks(self, id: str) -> bool:
        """Whether `id` is that of the request that counts."""
        return self._asked == id

    def continue_from(self, cursor: str) -> None:
        """Start after `cursor` instead of now."""
        assert not self.confirmed, "a running subscription has its own place"
        self.cursor, self._resumable = cursor, True

    def confirm(self, reply: Subscribed) -> Payload | None:
        """Take in `subscribed`; the gap it tells of, if any. An answer to an older request is nothing."""
        if reply.id is not UNSET and reply.id != self._asked:
            return None
        if self.live:  # unsolicited: the log was interrupted, or events were dropped
            return self._gap(reply) if reply.recovered is False else None
        if self._asked is None:
            return None
        self.live = self.confirmed = True
        if self._since is None:
            self.cursor, self._resumable = reply.cursor, True
            return None
        return None if reply.recovered else self._gap(reply)

    def load(self, reply: Snapshot) -> Payload | None:
        """Take in rows; with the last of them what follows are changes."""
        if not self.live or not self.stale or reply.id != self._asked:
            return None
        first, self._begun = not self._begun, True
        self.stale = not reply.last
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

    def receive(self, reply: Event | DbChange) -> Payload | None:
        """Take in an event; what to tell the user, or None when there is nothing new in it."""
        if not self.live:
            return None
        if isinstance(reply, Event) and reply.event in PRESENCE_EVENTS:
            return self._member(reply)
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
            type="event",
            topic=self.topic,
            event=reply.event,
            data=data,
            user_id=reply.user_id or None,
            timestamp=reply.timestamp,
            id=reply.id,
            cursor=reply.cursor,
        )

    def reconcile(self, reply: Presence) -> list[Payload]:
        """Take in the full list of members; what changed without an event."""
        present = {member.user_id: msgspec.json.decode(member.state) for member in reply.members}
        return [self._transition(each) for each in self.members.reconcile(present)]

    def handled(self, payload: Payload) -> None:
        """The handlers have finished with `payload`."""
        if payload.cursor is not None:
            self.cursor = payload.cursor
        if payload.type == GAP and payload.cursor == self._told:
            self._told = None

    def lost(self) -> None:
        """The connection is gone, or the subscription paused: what still arrives is not for it."""
        self.live = False

    def forget_unhandled(self) -> None:
        """What was received and not handled is thrown away: it may come again."""
        self._seen.clear()
        self._told = None
        self.stale = self.snapshot is not None

    def end(self) -> None:
        """The user ended it, or the server did. A later request starts from then on."""
        self.live = self.confirmed = self._resumable = False
        self._asked = self._told = None
        self.stale = self.snapshot is not None
        self._seen.clear()
        self.members.clear()

    def _gap(self, reply: Subscribed) -> Payload | None:
        if self.snapshot is not None:  # the rows tell more than the gap would
            self.stale = True
            return None
        self._told = reply.cursor
        data: dict[str, str | int | None] = {"since": self.cursor}
        if reply.dropped is not UNSET:
            data["dropped"] = reply.dropped
        return Payload(type=GAP, topic=self.topic, event=GAP, data=data, cursor=reply.cursor)

    def _member(self, reply: Event) -> Payload | None:
        state = msgspec.json.decode(reply.data)
        user_id = reply.user_id or (str(state.get("userId", "")) if isinstance(state, dict) else "")
        transition = self.members.apply(reply.event, user_id, state)
        if transition is None:
            return None
        if reply.snapshot is True:  # about a state, not an event of the log
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
            user_id=transition.user_id,
            timestamp=timestamp,
            id=id,
            cursor=cursor,
        )

    # --- the listeners -----------------------------------------------------------------------------------

    def on(self, event: str, handler: Handler) -> None:
        """Add a listener; the same one twice is called twice."""
        self._listeners.append((event, handler))

    def off(self, event: str, handler: Handler | None = None) -> None:
        """Remove the listener, or every listener of the event; one that is not there is nothing."""
        self._listeners = [
            (name, each)
            for name, each in self._listeners
            if name != event or (handler is not None and each != handler)
        ]

    def silence(self) -> None:
        """Remove all listeners."""
        self._listeners = []

    @property
    def heard(self) -> bool:
        """Whether anyone listens."""
        return bool(self._listeners)

    def handlers(self, payload: Payload) -> list[Handler]:
        """Who is told of `payload`, in the order they came."""
        return [handler for name, handler in self._listeners if name in (payload.name, ANY)]
