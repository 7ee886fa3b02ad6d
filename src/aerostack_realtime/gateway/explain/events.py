"""An event of a custom channel and one user: what each of the user's connections did with it."""

from collections.abc import Callable, Iterable

from aerostack_realtime.channels.inspection import FoundEvent
from aerostack_realtime.gateway.explain.findings import Outcome, clock
from aerostack_realtime.gateway.explain.spelling import is_near, names_project
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.explanations import Finding
from aerostack_realtime.records import ConnectionRecord, Interruption, Note, Period

Position = Callable[[str], int]
"""The position of a cursor; -1 for one of another journal."""


def outcomes(
    user: str, event: FoundEvent, connections: Iterable[ConnectionRecord], position: Position
) -> list[Outcome]:
    """One outcome per connection, and per subscription of it."""
    found = []
    for connection in connections:
        periods = [each for each in connection.periods if each.topic == event.topic]
        of_periods = [_of_period(user, event, connection, each, position) for each in periods]
        found += of_periods or [without_subscription(user, event.topic, event.timestamp, connection)]
    return found


def _of_period(
    user: str, event: FoundEvent, connection: ConnectionRecord, period: Period, position: Position
) -> Outcome:
    at, facts = event.position, period_facts(connection, period)
    if at <= position(period.cursor):
        return _before_subscription(user, event, connection, period, position, facts)
    if period.ending is not None and at > position(period.end_cursor):
        return after_subscription(user, connection, period, facts)
    if event.without == connection.id:
        sentence = f"{user} sent this event on this connection with echo off, so it is not sent back to it."
        return Outcome(60, Finding("echo_off", sentence, facts))
    if event.presence and not period.presence:
        sentence = f"{user} subscribed without presence, so joins, updates and leaves are not sent to it."
        return Outcome(60, Finding("presence_off", sentence, facts))
    slow = slow_at(
        connection.notes,
        period,
        lambda began, end: position(began.cursor) <= at and (end is None or at <= position(end.cursor)),
    )
    if slow is not None:
        return _while_slow(user, event, slow, facts, position)
    return received(user, connection, period, facts)


def reported_gap(
    user: str,
    topic: str,
    connections: Iterable[ConnectionRecord],
    interruptions: Iterable[Interruption],
    position: Position,
) -> Outcome | None:
    """The newest gap that was reported to a user, for an event that is no longer recorded."""
    for connection in reversed(list(connections)):
        periods = [each for each in connection.periods if each.topic == topic]
        gaps = [(each.at, each.cursor) for each in connection.notes if each.kind == "gap" and each.topic == topic]
        gaps += [(each.at, each.since or "") for each in periods if each.recovered is False]
        if gaps:
            at, since = max(gaps)
            cause, why = _cause(since, position)
            sentence = (
                f"The event is no longer recorded. {user} resumed at {clock(at)}, when the log did not reach back "
                f"to its cursor: {why}. The gap was reported to the client."
            )
            return Outcome(0, Finding("gap", sentence, {"connection": connection.id, "at": at, "cause": cause}))
        for each in interruptions:
            if not each.table and any(_contains(period, each.at) for period in periods):
                sentence = (
                    f"The event is no longer recorded. {user} was subscribed when the journal began again at "
                    f"{clock(each.at)}, because Redis had lost it or another Redis took over. The gap was "
                    "reported to the client."
                )
                facts = {"connection": connection.id, "at": each.at, "cause": "journal"}
                return Outcome(0, Finding("gap", sentence, facts))
    return None


def _contains(period: Period, at: int) -> bool:
    return period.at <= at and (period.ending is None or at <= period.ended_at)


def _cause(since: str, position: Position) -> tuple[str, str]:
    """Why a log does not reach back to the cursor `since`."""
    if position(since) < 0:
        return (
            "other_journal",
            "the cursor is of another journal, as after a restored backup or an empty Redis",
        )
    return "log", "what [[logs]] keeps begins later, as it does after a restart or a restored backup"


def _gap_before(connection: ConnectionRecord, period: Period) -> Note | None:
    """The gap that was reported to a client before it got the stored messages and this subscription began."""
    found = None
    for note in connection.notes:
        if note.kind == "gap" and note.topic == period.topic and note.at <= period.at:
            found = note
    return found


def _before_subscription(
    user: str,
    event: FoundEvent,
    connection: ConnectionRecord,
    period: Period,
    position: Position,
    facts: dict[str, object],
) -> Outcome:
    if period.since is None:
        sentence = (
            f"{user} subscribed at {clock(period.at)}, after the event; a subscription starts with new events."
        )
        return Outcome(40, Finding("subscribed_later", sentence, facts))
    gap = _gap_before(connection, period)
    since = position(period.since if gap is None else gap.cursor)
    if since >= event.position:
        sentence = f"The cursor with which {user} resumed is at or after the event: the client already had it."
        return Outcome(94, Finding("had_before", sentence, facts))
    if event.stored and gap is not None:
        sentence = f"{user} received the event later: its client resumed at {clock(period.at)} from the history."
        return Outcome(95, Finding("resumed_later", sentence, facts))
    if period.recovered and gap is None:
        sentence = (
            f"{user} received the event later: its client resumed at {clock(period.at)} and it was replayed."
        )
        return Outcome(95, Finding("resumed_later", sentence, facts))
    cause, why = _cause(period.since, position)
    sentence = (
        f"{user} resumed at {clock(period.at)}, when the log did not reach back to its cursor: {why}. The gap was "
        "reported to the client. Persisted events are replayed to those who may read the history."
    )
    return Outcome(65, Finding("gap", sentence, {**facts, "cause": cause}))


def _while_slow(user: str, event: FoundEvent, slow: Note, facts: dict[str, object], position: Position) -> Outcome:
    facts = {**facts, "slow": slow.slow, "slowSince": slow.at, "dropped": slow.count}
    if slow.slow == "drop":
        sentence = f"{user} read too slowly, and its policy is drop: the event was dropped, and the gap reported."
        return Outcome(70, Finding("dropped", sentence, facts))
    if position(slow.cursor) == event.position:
        sentence = (
            f"{user} read too slowly; the event was kept as the newest of its key and sent when it caught up."
        )
        return Outcome(96, Finding("sent_late", sentence, facts))
    sentence = (
        f"{user} read too slowly, and its policy is latest: only the newest event of each name and key was sent, "
        "so a newer one may have replaced this one."
    )
    return Outcome(80, Finding("conflated", sentence, facts))


# --- what row changes share --------------------------------------------------------------------------------


def without_subscription(user: str, topic: str, at: int, connection: ConnectionRecord) -> Outcome:
    """Why a connection that has no recorded subscription to a topic did not receive what was sent at `at`."""
    facts: dict[str, object] = {"connection": connection.id, "connectedAt": connection.at}
    if connection.at > at:
        sentence = f"{user} was not connected then: this connection began later, at {clock(connection.at)}."
        return Outcome(12, Finding("not_connected", sentence, facts))
    if connection.closed_at and connection.closed_at < at:
        return Outcome(
            14, Finding("not_connected", f"{user} was not connected then. {closing(connection)}", facts)
        )
    for note in reversed(connection.notes):
        if note.kind == "refused" and note.topic == topic:
            facts |= {"code": note.code, "at": note.at}
            return Outcome(36, Finding("refused", f"{user} was refused on this topic: {note.message}", facts))
    name = topics.without_project(topic)
    for other in dict.fromkeys(each.topic for each in connection.periods):
        if is_near(topic, other):
            facts |= {"subscribed": other}
            written = topics.without_project(other)
            if names_project(written, name):
                project = topics.project_of(topic)
                sentence = f"{user} subscribed to {written}: its client names another project than {project}."
                return Outcome(35, Finding("other_project", sentence, facts))
            sentence = (
                f"{user} is subscribed to {written}, which is another topic than {name}: check the spelling."
            )
            return Outcome(35, Finding("wrong_topic", sentence, facts))
    if connection.complete_from > connection.at:
        sentence = f"What {user} subscribed to at that time is no longer recorded."
        return Outcome(31, Finding("not_recorded", sentence, facts))
    return Outcome(30, Finding("not_subscribed", f"{user} was connected, but not subscribed to {name}.", facts))


def after_subscription(
    user: str, connection: ConnectionRecord, period: Period, facts: dict[str, object]
) -> Outcome:
    """The subscription had ended before."""
    when = clock(period.ended_at)
    if period.ending == "evicted":
        sentence = f"{user} was removed from the topic at {when}, before this: the right to it had ended."
        return Outcome(55, Finding("evicted", sentence, facts))
    if period.ending == "closed":
        return Outcome(45, Finding("closed", f"{user} was no longer connected. {closing(connection)}", facts))
    return Outcome(46, Finding("unsubscribed", f"{user} had unsubscribed at {when}.", facts))


def received(user: str, connection: ConnectionRecord, period: Period, facts: dict[str, object]) -> Outcome:
    """It was written to the connection; whether the client has read it."""
    if period.ending == "closed" and connection.waiting:
        facts = {**facts, "waiting": connection.waiting, "closeCode": connection.close_code}
        sentence = (
            f"It was sent to {user}, but the connection ended while {connection.waiting} bytes had not been read, "
            f"so it may not have arrived. {closing(connection)} The client resumes from its cursor."
        )
        return Outcome(75, Finding("closed_slow" if connection.close_code == 4000 else "unread", sentence, facts))
    if connection.waiting:
        facts = {**facts, "waiting": connection.waiting}
        sentence = (
            f"It is on its way to {user}: {connection.waiting} bytes wait for a client that reads slowly, so it "
            "may not have arrived yet."
        )
        return Outcome(90, Finding("waiting", sentence, facts))
    sentence = f"It was sent to {user} on a connection that has read everything; look in the client's handler."
    if period.ending == "closed":
        sentence = f"It was sent to {user}, whose connection had read everything when it ended."
    return Outcome(100, Finding("sent", sentence, facts))


def slow_at(notes: Iterable[Note], period: Period, includes: Callable[[Note, Note | None], bool]) -> Note | None:
    """The end of the time in which a subscription was slow, or its beginning while it still is, if what is asked
    about fell into it. `includes` gets the beginning and the end."""
    began: Note | None = None
    for note in notes:
        if note.topic != period.topic or note.at < period.at:
            continue
        if note.kind == "slow":
            began = note
        elif note.kind == "caught_up" and began is not None:
            if includes(began, note):
                return note
            began = None
    return began if began is not None and includes(began, None) else None


def closing(connection: ConnectionRecord) -> str:
    """A sentence about the end of a connection."""
    reason = f": {connection.close_reason}" if connection.close_reason else ""
    return f"The connection ended at {clock(connection.closed_at)} with code {connection.close_code}{reason}."


def period_facts(connection: ConnectionRecord, period: Period) -> dict[str, object]:
    """What was recorded of a subscription."""
    facts: dict[str, object] = {
        "connection": connection.id,
        "subscribedAt": period.at,
        "filter": period.filter,
        "since": period.since,
        "recovered": period.recovered,
        "slow": period.slow,
        "presence": period.presence,
        "cursor": period.cursor,
    }
    if period.ending is not None:
        facts |= {"endedAt": period.ended_at, "ending": period.ending, "endCursor": period.end_cursor}
    return facts
