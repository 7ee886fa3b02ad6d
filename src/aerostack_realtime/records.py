"""What cannot be recomputed about connections: when each was there, its subscriptions, and what it was refused.

`aerostack explain` reads these records (docs/guides/explain.md). They are bounded per connection, per user and in
total. Nothing is recorded for an event that is delivered. Times are in ms since the Unix epoch.
"""

from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Final, Literal, Protocol

from msgspec import UNSET, Struct

from aerostack_realtime.protocol.messages import Error, Subscribe, encode

PER_CONNECTION: Final = 32
"""Subscriptions and notes that are kept of one connection, each."""
PER_USER: Final = 16
"""Ended connections that are kept of one user, so that a client that reconnects in a loop displaces nobody."""
ENDED: Final = 2_000
"""Ended connections that are kept in total."""
REFUSALS: Final = 1_000
INTERRUPTIONS: Final = 100
LONGEST: Final = 256
"""Characters that are kept of what a client wrote: a topic, an id, a user it claims to be."""
FILTER_BYTES: Final = 4_096
"""JSON of all filters of an ended connection; above this, its subscriptions are forgotten."""

Ending = Literal["unsubscribed", "evicted", "closed"]
NoteKind = Literal["refused", "slow", "caught_up", "gap"]


class Person(Protocol):
    """Who a connection is for: access.identity.Identity."""

    @property
    def kind(self) -> str: ...

    @property
    def user_id(self) -> str | None: ...

    @property
    def claims(self) -> dict[str, Any]: ...


class Period(Struct, gc=False):
    """One subscription of a connection. `cursor` is the end of the channel when live events began; `since` and
    `recovered` are those of a resume; `advice` says that the client shows advice. `end_cursor` is the end of the
    channel when the subscription ended."""

    topic: str
    at: int
    cursor: str
    since: str | None
    recovered: bool | None
    filter: dict[str, Any] | None
    presence: bool
    slow: str
    advice: bool = False
    ended_at: int = 0
    end_cursor: str = ""
    ending: Ending | None = None


class Note(Struct, frozen=True, gc=False):
    """Something that happened to a connection. `cursor` is where in the channel, `id` that of the refused command,
    `count` how many events were dropped, `slow` the policy of the subscription."""

    at: int
    kind: NoteKind
    topic: str = ""
    cursor: str = ""
    id: str = ""
    code: str = ""
    message: str = ""
    slow: str = ""
    count: int = 0


class ConnectionRecord(Struct, gc=False):
    """A connection, open or ended. `complete_from` is the time from which its periods and notes are complete, and
    `waiting` how many bytes its client had not taken when it ended."""

    id: str
    kind: str
    user: str | None
    claims: dict[str, Any]
    at: int
    complete_from: int
    periods: tuple[Period, ...] = ()
    notes: tuple[Note, ...] = ()
    closed_at: int = 0
    close_code: int = 0
    close_reason: str = ""
    waiting: int = 0


class Refusal(Struct, frozen=True):
    """A command or a connection that was refused."""

    at: int
    code: str
    message: str
    user: str | None = None
    connection: str = ""
    topic: str = ""
    id: str = ""


class Interruption(Struct, frozen=True):
    """A table's change log was interrupted; `present` is whether the table exists after it. Without a `table`
    it is the journal that began again, so that the logs of all custom channels are empty."""

    at: int
    table: str
    cursor: str
    present: bool


class ConnectionRecords:
    """The records of this process. `now` is in seconds since the Unix epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last_ms = 0
        self._last_cursor = ""
        self.complete_from = self._ms()
        """The time from which the ended connections of all users are complete."""
        self.refusals: deque[Refusal] = deque(maxlen=REFUSALS)
        self.interruptions: deque[Interruption] = deque(maxlen=INTERRUPTIONS)
        self._live: dict[str, ConnectionRecord] = {}
        self._ended: dict[str, ConnectionRecord] = {}
        self._by_user: dict[str, ConnectionRecord | dict[str, ConnectionRecord]] = {}
        """A dict only where a user has several connections: it takes as much memory as a record."""
        self._ended_of_user: dict[str, list[ConnectionRecord]] = {}
        """Those of `_ended` by their users, the oldest one first."""
        self._user_complete_from: dict[str, int] = {}

    # --- recording ---------------------------------------------------------------------------------------

    def connected(self, id: str, person: Person | None = None) -> None:
        """A connection is there, of this person if it has authenticated."""
        now = self._ms()
        if person is None:
            self._live[id] = ConnectionRecord(id, "anonymous", None, {}, now, now)
            return
        record = ConnectionRecord(id, person.kind, person.user_id, person.claims, now, now)
        self._live[id] = record
        self._add_to_user(record)

    def identified(self, id: str, identity: Person | None) -> None:
        """A connection has this identity from now on."""
        record = self._live.get(id)
        if record is None or identity is None:
            return
        self._remove_from_user(record)
        record.kind, record.user, record.claims = identity.kind, identity.user_id, identity.claims
        self._add_to_user(record)

    def subscribed(self, id: str, command: Subscribe, cursor: str, recovered: bool | None) -> None:
        record = self._live.get(id)
        if record is None:
            return
        self.ended(id, command.topic, cursor, "unsubscribed")
        if len(record.periods) >= PER_CONNECTION:
            record.complete_from = self._ms()
            gone = next((each for each in record.periods if each.ending is not None), record.periods[0])
            record.periods = tuple(each for each in record.periods if each is not gone)
        if cursor != self._last_cursor:
            self._last_cursor = cursor
        period = Period(
            topic=command.topic,
            at=self._ms(),
            cursor=self._last_cursor,  # one object for all that subscribe at the same place
            since=command.since,
            recovered=recovered,
            filter=command.filter,
            presence=command.presence,
            slow=command.slow,
            advice=command.advice,
        )
        record.periods = (*record.periods, period)

    def ended(self, id: str, topic: str, cursor: str, ending: Ending) -> None:
        """A subscription ended, at a cursor of its channel; one that is not recorded changes nothing."""
        record = self._live.get(id)
        for period in () if record is None else record.periods:
            if period.topic == topic and period.ending is None:
                period.ended_at, period.end_cursor, period.ending = self._ms(), cursor, ending

    def evicted(self, id: str, topic: str) -> None:
        """The subscription that has just ended did so because the right to it was gone."""
        record = self._live.get(id)
        for period in reversed(() if record is None else record.periods):
            if period.topic == topic:
                period.ending = "evicted"
                return

    def refused(self, id: str, error: Error) -> None:
        """A connection was answered with an error."""
        topic = "" if error.topic is UNSET else error.topic
        command = "" if error.id is UNSET else error.id
        record = self._live.get(id)
        user = None if record is None else record.user
        self.refuse(error.code, error.message, user=user, connection=id, topic=topic, id=command)
        message = _short(error.message)
        self.note(id, "refused", _short(topic), id=_short(command), code=error.code, message=message)

    def refuse(
        self,
        code: str,
        message: str,
        *,
        user: str | None = None,
        connection: str = "",
        topic: str = "",
        id: str = "",
    ) -> None:
        """Something was refused to somebody."""
        who = None if user is None else _short(user)
        self.refusals.append(
            Refusal(self._ms(), code, _short(message), who, connection, _short(topic), _short(id))
        )

    def note(self, connection: str, kind: NoteKind, topic: str, **facts: Any) -> None:
        record = self._live.get(connection)
        if record is None:
            return
        record.notes = (*record.notes, Note(self._ms(), kind, topic, **facts))
        if len(record.notes) > PER_CONNECTION:
            record.complete_from = record.notes[0].at + 1
            record.notes = record.notes[1:]

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        self.interruptions.append(Interruption(self._ms(), table, cursor, present))

    def closed(self, id: str, code: int, reason: str, waiting: int) -> None:
        """A connection ended; its subscriptions have ended before. Idempotent."""
        record = self._live.pop(id, None)
        if record is None:
            return
        record.closed_at = self._ms()
        record.close_code, record.close_reason, record.waiting = code, reason, waiting
        if sum(len(encode(each.filter)) for each in record.periods if each.filter) > FILTER_BYTES:
            record.periods, record.complete_from = (), record.closed_at
        self._ended[id] = record
        self._make_room(record)

    # --- reading -----------------------------------------------------------------------------------------

    def find(self, id: str) -> ConnectionRecord | None:
        return self._live.get(id) or self._ended.get(id)

    def of_user(self, user: str) -> list[ConnectionRecord]:
        """The connections of a user, oldest first."""
        return sorted(self._all_of(user), key=lambda each: each.at)

    def user_complete_from(self, user: str) -> int:
        """The time from which the ended connections of a user are complete."""
        return max(self.complete_from, self._user_complete_from.get(user, 0))

    # --- inside ------------------------------------------------------------------------------------------

    def _make_room(self, newest: ConnectionRecord) -> None:
        """A connection has ended: forget the oldest ones beyond what is kept of its user, and in total."""
        user = newest.user
        if user is not None:
            ended = self._ended_of_user.setdefault(user, [])
            ended.append(newest)
            if len(ended) > PER_USER:
                self._user_complete_from[user] = ended[0].closed_at + 1
                self._forget(ended[0])
        if len(self._ended) > ENDED:
            oldest = next(iter(self._ended.values()))
            self.complete_from = max(self.complete_from, oldest.closed_at + 1)
            self._forget(oldest)

    def _forget(self, oldest: ConnectionRecord) -> None:
        """Forget the oldest one of its user."""
        del self._ended[oldest.id]
        if oldest.user is not None:
            ended = self._ended_of_user[oldest.user]
            del ended[0]
            if not ended:
                del self._ended_of_user[oldest.user]
        self._remove_from_user(oldest)

    def _add_to_user(self, record: ConnectionRecord) -> None:
        if record.user is None:
            return
        known = self._by_user.get(record.user)
        if known is None:
            self._by_user[record.user] = record
        elif isinstance(known, ConnectionRecord):
            self._by_user[record.user] = {known.id: known, record.id: record}
        else:
            known[record.id] = record

    def _remove_from_user(self, record: ConnectionRecord) -> None:
        if record.user is None:
            return
        known = self._by_user.get(record.user)
        if isinstance(known, dict):
            known.pop(record.id, None)
        if not known or known is record:
            self._by_user.pop(record.user, None)
            self._user_complete_from.pop(record.user, None)

    def _all_of(self, user: str) -> Collection[ConnectionRecord]:
        known = self._by_user.get(user)
        if known is None:
            return ()
        return (known,) if isinstance(known, ConnectionRecord) else known.values()

    def _ms(self) -> int:
        """The time now; one object for all records of the same millisecond."""
        now = int(self._now() * 1000)
        if now != self._last_ms:
            self._last_ms = now
        return self._last_ms


def _short(text: str) -> str:
    """What is kept of a text of a client: cut, and free of what UTF-8 cannot carry."""
    return text[:LONGEST].encode(errors="replace").decode()
