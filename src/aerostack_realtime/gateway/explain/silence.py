"""In development, a subscription that stays silent is reported to its client, with the address that explains it.

Nothing is counted when events are delivered: the log is read once per subscription, when its time is over.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.base import Change, ChangeFeed, Replay
from aerostack_realtime.gateway.explain.collection import identity_of
from aerostack_realtime.gateway.explain.spelling import near
from aerostack_realtime.gateway.websocket.explanation_link import ExplanationLinks
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.records import ConnectionRecord, Period

log = logging.getLogger(__name__)

SILENT_SECONDS: Final = 10
"""Longer than anybody waits for the effect of a click, shorter than a search for its reason."""
CHECK_SECONDS: Final = 1.0
CONNECTIONS: Final = 100
"""With more connections this is a load test, not somebody who develops."""
PARTS: Final = 20
"""Parts of a table's log that are read for one subscription."""


class SilentSubscriptions:
    """Looks at subscriptions whose clients show advice. `now` is in seconds since the Unix epoch."""

    def __init__(
        self,
        *,
        hub: Hub,
        feed: ChangeFeed,
        guard: Guard,
        sessions: Callable[[], Collection[Session]],
        now: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._feed = feed
        self._guard = guard
        self._sessions = sessions
        self._now = now

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Send advice about the subscriptions whose time is over, to each of them once."""
        sessions = self._sessions()
        if len(sessions) > CONNECTIONS:
            return
        due = self._now() * 1000 - SILENT_SECONDS * 1000
        for session in sessions:
            record = self._hub.records.find(session.connection_id)
            if record is None or session.links is None:
                continue
            for period in record.periods:
                if period.advice and period.at <= due:
                    period.advice = False
                    if period.since is None and period.ending is None:
                        await self._look(session, session.links, record, period)

    async def _look(
        self, session: Session, links: ExplanationLinks, record: ConnectionRecord, period: Period
    ) -> None:
        table = topics.table_of(period.topic)
        try:
            found = self._events(record, period) if table is None else await self._changes(record, period, table)
        except (AerostackError, RuleFailed) as error:
            log.debug("a silent subscription to %s is not explained: %s", period.topic, error)
            return
        if found is not None and period.ending is None:
            sentence, subject = found
            name = topics.without_project(period.topic) if table is None else table
            page = links.page(connection=record.id)
            if record.user is not None:
                page = links.page(topic=name, user=record.user, **subject)
            message = f"{name}: nothing has arrived in {SILENT_SECONDS} s. {sentence} Why: {page}"
            session.send(messages.Advice(period.topic, message))

    def _events(self, record: ConnectionRecord, period: Period) -> tuple[str, dict[str, str]] | None:
        """What is known about a silent subscription to a custom channel, and the subject of the question; None for
        one that received something."""
        inspection = self._hub.inspection
        if inspection.has_heard(period.topic, period.cursor, record.id, presence=period.presence):
            return None
        name = topics.without_project(period.topic)
        for refusal in reversed(self._hub.records.refusals):
            if refusal.id and refusal.topic in (period.topic, name) and refusal.at >= period.at:
                return f"A publish was refused: {refusal.message}", {"event": refusal.id}
        similar = [topics.without_project(each) for each in near(period.topic, inspection.topics())]
        if similar:
            return f"{', '.join(similar)} is in use: check the spelling.", {}
        return "Nothing was published on it.", {}

    async def _changes(
        self, record: ConnectionRecord, period: Period, table: str
    ) -> tuple[str, dict[str, str]] | None:
        """As `_events`, of a table."""
        scope = self._guard.permissions(identity_of(record)).scope(table)
        view = self._hub.inspection.view(table, period.filter, scope)
        withheld, newest = 0, None
        cursor: str | None = period.cursor
        for _ in range(PARTS):
            if cursor is None:
                break
            part = Answer[Replay]()
            self._feed.replay(table, cursor, part.done, part.done)
            replay = await part
            for change in replay.changes:
                if view.operation(change) is not None:
                    return None
                withheld, newest = withheld + 1, change
            cursor = replay.cursor if replay.more else None
        if newest is None:
            return "No row of it has changed.", {}
        changes = "1 change is" if withheld == 1 else f"{withheld} changes are"
        sentence = f"{changes} not in its view: the filter or the rules of the table exclude them."
        return sentence, {"row": _key(newest, self._feed.columns(table)[0])}


def _key(change: Change, first: str) -> str:
    """The row of a change, as a question names it."""
    column = "id" if "id" in change.data else first
    return f"{column}={change.data.get(column)}"
