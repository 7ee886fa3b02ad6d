"""A row of a table and one user: which change is explained, and what each subscription did with it."""

from msgspec import Struct

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.base import Change, ChangeFeed
from aerostack_realtime.gateway.explain.collection import Collected, identity_of
from aerostack_realtime.gateway.explain.events import (
    after_subscription,
    period_facts,
    received,
    slow_at,
    without_subscription,
)
from aerostack_realtime.gateway.explain.findings import Outcome, clock, setting_of
from aerostack_realtime.gateway.explain.rows import Found, Key, changes_after, decide
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.explanations import Finding
from aerostack_realtime.records import ConnectionRecord, Interruption, Period


class TableQuestion(Struct, frozen=True):
    """A row (`key`) of a table and a user, and what the answer is computed from."""

    user: str
    topic: str
    table: str
    key: Key
    guard: Guard
    hub: Hub
    feed: ChangeFeed


async def table_outcomes(
    question: TableQuestion, collected: Collected
) -> tuple[list[Finding], list[Outcome], int]:
    """The findings, one outcome per connection and subscription, and the time of the change in ms (0: unknown)."""
    found: dict[str, Found] = {}
    for connection in collected.connections:
        for period in _on(question.topic, connection):
            start = period.since if period.since is not None else period.cursor
            for cursor in (start, period.cursor, period.end_cursor):
                if cursor and cursor not in found:
                    found[cursor] = await changes_after(question.feed, question.table, cursor, question.key)
    changes = [change for each in found.values() for change in each.changes]
    change = max(changes, key=lambda each: (each.timestamp, len(each.cursor), each.cursor), default=None)
    interruptions = [each for each in collected.interruptions if each.table == question.table]
    findings = [_interrupted(question.table, each) for each in interruptions]
    if change is not None:
        sentence = f"The row's newest change is a {change.operation} at {clock(change.timestamp)}."
        facts = {"operation": change.operation, "cursor": change.cursor, "timestamp": change.timestamp}
        findings.append(Finding("change", sentence, facts))
    outcomes: list[Outcome] = []
    at = 0 if change is None else change.timestamp
    for connection in collected.connections:
        periods = _on(question.topic, connection)
        outcomes += [_of_period(question, connection, each, change, found, interruptions) for each in periods]
        if not periods:
            outcomes.append(without_subscription(question.user, question.topic, at or connection.at, connection))
    return findings, outcomes, at


def _on(topic: str, connection: ConnectionRecord) -> list[Period]:
    return [each for each in connection.periods if each.topic == topic]


def _of_period(
    question: TableQuestion,
    connection: ConnectionRecord,
    period: Period,
    change: Change | None,
    found: dict[str, Found],
    interruptions: list[Interruption],
) -> Outcome:
    facts = period_facts(connection, period)
    user, name = question.user, question.table
    after = period.at if change is None else change.timestamp
    gap = next((each for each in reversed(interruptions) if each.at >= max(after, period.at)), None)
    if gap is not None and period.ending is None:
        sentence = (
            f"The log of {name} was interrupted at {clock(gap.at)}, as by TRUNCATE, a rebuilt table, or a table "
            "that was missing in the publication: changes before it are not reported one by one. "
            f"{user} received a gap, after which clients read it again."
        )
        return Outcome(66, Finding("interrupted", sentence, {**facts, "cursor": gap.cursor}))
    if change is None:
        if not found[period.cursor].complete:
            sentence = f"The changes of {name} since {user} subscribed are no longer recorded completely."
            return Outcome(33, Finding("not_recorded", sentence, facts))
        sentence = (
            f"The row {question.key.column} = {question.key.value} has not changed since {user} subscribed at "
            f"{clock(period.at)}; a subscription starts with new changes."
        )
        return Outcome(32, Finding("subscribed_later", sentence, facts))
    if not _contains(found[period.cursor], change):
        if period.since is None or not _contains(found[period.since], change):
            sentence = f"{user} subscribed at {clock(period.at)}, after the change."
            return Outcome(40, Finding("subscribed_later", sentence, facts))
        if not period.recovered:
            sentence = f"{user} resumed after an interruption of the log of {name}; the gap was reported."
            return Outcome(65, Finding("gap", sentence, facts))
        return _decided(question, connection, period, change, resumed=True)
    if period.end_cursor and _contains(found[period.end_cursor], change):
        return after_subscription(user, connection, period, facts)
    return _decided(question, connection, period, change, resumed=False)


def _contains(found: Found, change: Change) -> bool:
    return any(each.cursor == change.cursor for each in found.changes)


def _decided(
    question: TableQuestion, connection: ConnectionRecord, period: Period, change: Change, *, resumed: bool
) -> Outcome:
    """What the view of a subscription did with the change, recomputed."""
    user, feed = question.user, question.feed
    facts = period_facts(connection, period)
    permissions = question.guard.permissions(identity_of(connection))
    rule = permissions.explain(question.topic, "subscribe").verdict.rule
    try:
        scope = permissions.scope(question.table)
        view = question.hub.inspection.view(question.table, period.filter, scope)
    except AerostackError as error:
        finding = Finding("row_rule", f"The row rule has no answer for {user}: {error.message}", facts)
        return Outcome(62, finding, setting_of(rule, "rows"))
    decision = decide(user, change, view, scope, feed.columns(question.table))
    finding = Finding(decision.finding.code, decision.finding.sentence, {**facts, **decision.finding.facts})
    if not decision.sent:
        name = "columns" if finding.code == "hidden_columns" else "rows"
        setting = setting_of(rule, name) if decision.by_rule else None
        return Outcome(62, finding, setting)
    if resumed:
        sentence = f"{finding.sentence} It was replayed when its client resumed at {clock(period.at)}."
        return Outcome(95, Finding("resumed_later", sentence, finding.facts))
    slow = slow_at(
        connection.notes,
        period,
        lambda began, end: began.at - 1_000 <= change.timestamp and (end is None or change.timestamp <= end.at),
    )
    if slow is not None:
        effect = (
            "dropped, and the gap reported" if slow.slow == "drop" else "joined with later ones of the same row"
        )
        code = "dropped" if slow.slow == "drop" else "conflated"
        sentence = f"{user} read too slowly at that time, with the policy {slow.slow}: changes were {effect}."
        return Outcome(80, Finding(code, sentence, {**finding.facts, "dropped": slow.count}))
    transport = received(user, connection, period, finding.facts)
    if transport.finding.code != "sent":
        return transport
    return Outcome(100, finding)


def _interrupted(table: str, gap: Interruption) -> Finding:
    sentence = (
        f"The log of {table} was interrupted at {clock(gap.at)} (TRUNCATE, or a rebuilt, restored, renamed "
        "or unpublished table): subscribers read the table again."
    )
    return Finding("interrupted", sentence, {"at": gap.at, "cursor": gap.cursor, "present": gap.present})
