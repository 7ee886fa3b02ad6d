"""Answers a question about a user and a topic: collects the records, recomputes the decisions, and concludes."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from aerostack_realtime.access.verdicts import ACTIONS, Action
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.inspection import FoundEvent
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.explain import closes, events, rows
from aerostack_realtime.gateway.explain.access import Right, right
from aerostack_realtime.gateway.explain.collection import Collected, Collection, Wanted, identity_of
from aerostack_realtime.gateway.explain.findings import Outcome, clock
from aerostack_realtime.gateway.explain.table_outcomes import TableQuestion, table_outcomes
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.protocol.explanations import Explanation, Finding, Setting

SEARCHED: Final = 1_000
"""Stored messages of a topic that are searched for an event which the log no longer has."""


_OPTIONAL: Final = ("event", "row", "access", "connection")


class Question(Struct, frozen=True):
    """What is asked: about an `event` or a `row`, about a right (`access`), or about a `connection`."""

    topic: str = ""
    user: str = ""
    event: str | None = None
    row: str | None = None
    access: str | None = None
    connection: str | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Question":
        """The question of a call's query string."""
        return cls(query.get("topic", ""), query.get("user", ""), *(query.get(each) for each in _OPTIONAL))


class Explainer:
    """The explanations of one server."""

    def __init__(self, *, project: str, hub: Hub, database: Database, guard: Guard) -> None:
        self._project = project
        self._hub = hub
        self._database = database
        self._guard = guard
        self._collection = Collection(hub)

    async def explain(self, question: Question) -> Explanation:
        """Raises BadMessage for a question that cannot be understood, InvalidTopic."""
        if question.connection is not None:
            return await self._connection(question.connection)
        if not question.topic or not question.user:
            raise BadMessage("Name a topic and a user; or a connection, to learn why it ended.")
        asked = [name for name in ("event", "row", "access") if getattr(question, name) is not None]
        if len(asked) > 1:
            raise BadMessage(f"Ask about one of {', '.join(asked)} at a time.")
        topic = topics.canonical(question.topic, self._project)
        wanted = Wanted(user=question.user, id=question.event, topic=topic)
        collected = await self._collection.ask(wanted)
        table = topics.table_of(topic)
        if table is not None and question.event is None and not await self._exists(table):
            sentence = f"There is no table {table!r}: check the spelling, or create it."
            return _concluded(Outcome(0, Finding("no_table", sentence)), [], collected)
        if question.row is not None:
            if table is None:
                raise BadMessage("row is for a table; of a custom channel, name the event.")
            return await self._row(question.user, topic, table, question.row, collected)
        if question.event is not None:
            if table is not None:
                raise BadMessage("On a table name the row: row=KEY, or row=column=value.")
            return await self._event(question.user, topic, question.event, collected)
        action = question.access or "subscribe"
        if action not in ACTIONS:
            raise BadMessage(f"access is one of {', '.join(ACTIONS)}; {action[:40]!r} is not.")
        return await self._access(question.user, topic, action, collected)

    # --- a right -----------------------------------------------------------------------------------------

    async def _access(self, user: str, topic: str, action: Action, collected: Collected) -> Explanation:
        identity, known = collected.identity(user)
        findings = [] if known else [_claims_unknown(user)]
        found = await right(self._guard, identity, topic, action)
        findings += found.findings
        may = "may" if found.allowed else "may not"
        name = topics.without_project(topic)
        because = found.findings[-1].sentence if not found.allowed else ""
        verdict = f"{user} {may} {_DOING[action]} {name}. {because}".strip()
        return _concluded(
            Outcome(0, Finding("allowed" if found.allowed else "denied", verdict), found.setting),
            findings,
            collected,
        )

    # --- an event ----------------------------------------------------------------------------------------

    async def _event(self, user: str, topic: str, id: str, collected: Collected) -> Explanation:
        event = self._hub.inspection.event(topic, id) or await self._stored(topic, id)
        if event is None:
            return await self._without_event(user, topic, id, collected)
        findings = [
            Finding(
                "event",
                f"The event {event.event!r} was delivered to {topics.without_project(topic)} at "
                f"{clock(event.timestamp)}.",
                {"id": id, "event": event.event, "timestamp": event.timestamp, "publisher": event.user_id},
            )
        ]
        position = self._hub.inspection.position
        found = events.outcomes(user, event, collected.connections, position)
        return await self._conclude(user, topic, event.timestamp, found, findings, collected)

    async def _stored(self, topic: str, id: str) -> FoundEvent | None:
        for each in await self._database.messages.history(topic, SEARCHED):
            if each.id == id:
                at = each.position if each.stream is None else each.stream.ended
                return FoundEvent(topic, id, each.event, at, each.created_at, each.user_id or None, stored=True)
        return None

    async def _without_event(self, user: str, topic: str, id: str, collected: Collected) -> Explanation:
        for refusal in reversed(collected.refusals):
            if refusal.id == id and refusal.topic in ("", topic, topics.without_project(topic)):
                return await self._refused_publish(
                    topic, refusal.message, refusal.code, refusal.connection, collected
                )
        name = topics.without_project(topic)
        for other in collected.topics:
            if topics.table_of(other) is None and (self._hub.inspection.event(other, id) is not None):
                written = topics.without_project(other)
                sentence = f"The event was published on {written}, not on {name}: check the spelling."
                return _concluded(Outcome(0, Finding("wrong_topic", sentence, {"topic": other})), [], collected)
        position = self._hub.inspection.position
        gap = events.reported_gap(user, topic, collected.connections, collected.interruptions, position)
        if gap is not None:
            return _concluded(gap, [], collected)
        sentence = (
            f"No event with the id {id[:64]!r} is in the log of {name}, in its newest {SEARCHED} stored messages "
            "or among the recorded refusals: it was never published here, or it is no longer recorded."
        )
        return _concluded(Outcome(0, Finding("not_recorded", sentence)), [], collected)

    async def _refused_publish(
        self, topic: str, message: str, code: str, connection: str, collected: Collected
    ) -> Explanation:
        findings = [Finding("publish_refused", f"The publish was refused: {message}", {"code": code})]
        setting: Setting | None = None
        if code == "forbidden":
            for publisher in (await self._collection.ask(Wanted(connection=connection))).connections:
                found = await right(self._guard, identity_of(publisher), topic, "publish")
                findings += found.findings
                message = message if found.allowed else found.findings[-1].sentence
                setting = found.setting
        name = {"forbidden": "by a rule", "rate_limited": "by a rate limit", "too_large": "for its size"}.get(code)
        sentence = f"Nobody received it: the publish was refused {name or f'({code})'}. {message}"
        return _concluded(
            Outcome(0, Finding("publish_refused", sentence, {"code": code}), setting), findings, collected
        )

    # --- a row -------------------------------------------------------------------------------------------

    async def _row(self, user: str, topic: str, table: str, written: str, collected: Collected) -> Explanation:
        feed = self._database.changes
        if not feed.watches(table):
            sentence = (
                f"The table {table} is not watched: its changes are recorded from the first subscription on, or "
                f"after `aerostack tables watch {table}`."
            )
            for refusal in reversed(collected.refusals):
                if (refusal.user, refusal.topic) == (user, topic):
                    sentence = f"The table {table} is not watched: {user} was refused on it. {refusal.message}"
                    break
            return await self._conclude(
                user, topic, 0, [Outcome(200, Finding("table_not_watched", sentence))], [], collected
            )
        key = rows.key_of(written, feed.columns(table))
        question = TableQuestion(user, topic, table, key, self._guard, self._hub, feed)
        findings, outcomes, at = await table_outcomes(question, collected)
        return await self._conclude(user, topic, at, outcomes, findings, collected)

    async def _exists(self, table: str) -> bool:
        if self._database.changes.watches(table):
            return True
        return table in {each.name for each in await self._database.tables()}

    # --- conclusions -------------------------------------------------------------------------------------

    async def _conclude(
        self,
        user: str,
        topic: str,
        at: int,
        outcomes: list[Outcome],
        findings: list[Finding],
        collected: Collected,
    ) -> Explanation:
        """The best outcome is the verdict: one connection that received it is enough."""
        if not outcomes:
            outcomes = [self._without_connection(user, at, collected)]
        best = max(outcomes, key=lambda each: each.rank)
        findings += [each.finding for each in outcomes]
        if best.finding.code in _ABOUT_RIGHTS:
            identity, known = collected.identity(user)
            found = await right(self._guard, identity, topic, "subscribe")
            findings += [] if known else [_claims_unknown(user)]
            findings += found.findings
            best = _with_right(user, best, found)
        return _concluded(best, findings, collected)

    def _without_connection(self, user: str, at: int, collected: Collected) -> Outcome:
        for refusal in reversed(collected.refusals):
            if refusal.user == user and not refusal.connection:
                facts = {"code": refusal.code, "at": refusal.at}
                sentence = (
                    f"{user} was not connected: a connection was refused at {clock(refusal.at)}. {refusal.message}"
                )
                return Outcome(0, Finding("connection_refused", sentence, facts))
        if collected.complete_from > at > 0:
            sentence = (
                f"Whether {user} was connected then is no longer recorded: the records begin at "
                f"{clock(collected.complete_from)}."
            )
            return Outcome(0, Finding("not_recorded", sentence, {"completeFrom": collected.complete_from}))
        sentence = (
            f"{user} was not connected: no connection of this user is recorded. A client that is connected now is "
            "connected to another cluster or project, or as another user."
        )
        return Outcome(0, Finding("not_connected", sentence))

    # --- a connection ------------------------------------------------------------------------------------

    async def _connection(self, id: str) -> Explanation:
        collected = await self._collection.ask(Wanted(connection=id))
        if not collected.connections:
            sentence = f"The connection {id[:64]!r} is not known, or no longer recorded."
            return _concluded(Outcome(0, Finding("not_recorded", sentence)), [], collected)
        outcome, findings = closes.explained(collected.connections[-1])
        return _concluded(outcome, findings, collected)


_ABOUT_RIGHTS: Final = ("not_subscribed", "refused", "evicted", "not_connected")
_DOING: Final[dict[Action, str]] = {
    "subscribe": "subscribe to",
    "publish": "publish on",
    "presence": "see and share presence on",
    "history": "read the history of",
    "cancel": "cancel streams on",
    "compact": "compact the history of",
}


def _with_right(user: str, best: Outcome, found: Right) -> Outcome:
    """An outcome with the right that is missing now."""
    if found.allowed:
        return best
    finding = best.finding
    sentence = f"{finding.sentence} {user} has no right to it now: {found.findings[-1].sentence}"
    return Outcome(best.rank, Finding(finding.code, sentence, finding.facts), found.setting or best.setting)


def _claims_unknown(user: str) -> Finding:
    sentence = f"No connection of {user} is recorded, so the rules are evaluated with no claims but sub."
    return Finding("claims_unknown", sentence)


def _concluded(outcome: Outcome, findings: list[Finding], collected: Collected) -> Explanation:
    best = outcome.finding
    return Explanation(best.sentence, best.code, findings or [best], outcome.setting, collected.nodes)
