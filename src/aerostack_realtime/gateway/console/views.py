"""The views: the parts of all nodes made into what one page of the console shows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, TypeVar, assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from aerostack_realtime.access.rules import Hits
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.inspection import TableWatch
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.console.figures import NodeFigures
from aerostack_realtime.gateway.console.parts import (
    ChannelPart,
    ConnectionPart,
    ConnectionsPart,
    Parts,
    RuleHits,
)
from aerostack_realtime.gateway.console.queries import Query
from aerostack_realtime.gateway.console.recent_log import Line
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.answers import Answer

KIND: Final = "console"
HISTORY: Final = 20
"""Stored messages of a channel that its page shows."""

T = TypeVar("T")


class Views:
    """Asks all nodes for their parts of a view, and joins them."""

    def __init__(self, *, hub: Hub, database: Database, guard: Guard, parts: Parts) -> None:
        self._hub = hub
        self._database = database
        self._guard = guard
        hub.handle(KIND, lambda payload: parts.of(msgspec.json.decode(payload, type=Query)))

    async def view(self, query: Query) -> dict[str, Any]:
        """The data of a view. Raises AerostackError."""
        answers = Answer[list[bytes]]()
        self._hub.ask(KIND, query, answers.done)
        found = await answers
        match query.view:
            case "overview":
                return self._overview(_read(found, NodeFigures))
            case "channels":
                return self._channels(query, _read(found, dict[str, int]))
            case "channel":
                return await self._channel(query, _read(found, ChannelPart))
            case "connections":
                return self._connections(query, _read(found, ConnectionsPart))
            case "connection":
                return self._connection(_read(found, ConnectionPart))
            case "tables":
                return await self._tables(_read(found, list[TableWatch]))
            case "streams":
                streams = [each for each in self._hub.inspection.streams() if query.search in each.topic]
                page = streams[query.offset : query.offset + query.limit]
                return {"total": len(streams), "rows": page}
            case "rules":
                return self._rules(_read(found, list[RuleHits]))
            case "log":
                return self._log(query, _read(found, list[Line]))
            case _:
                assert_never(query.view)

    def _overview(self, parts: list[NodeFigures]) -> dict[str, Any]:
        figures = {each.node: each for each in parts}
        nodes = [
            {
                "node": each.node,
                "name": each.name or each.node[:8],
                "version": each.version,
                "lagMs": round(each.lag_us / 1000, 1),
                "keeper": index == 0,
                "figures": figures.get(each.node),
            }
            for index, each in enumerate(self._hub.nodes())
        ]
        return {"nodes": nodes, "node": self._hub.node}

    def _channels(self, query: Query, parts: list[dict[str, int]]) -> dict[str, Any]:
        inspection = self._hub.inspection
        counts = dict.fromkeys(inspection.member_topics(), 0)
        for part in parts:
            for topic, subscribers in part.items():
                counts[topic] = counts.get(topic, 0) + subscribers
        found = [each for each in counts if query.search in each] if query.search else list(counts)
        found.sort()
        found.sort(key=counts.__getitem__, reverse=True)
        rows = [
            {
                "topic": topic,
                "name": topics.table_of(topic) or topics.without_project(topic),
                "table": topics.table_of(topic) is not None,
                "subscribers": counts[topic],
                "members": inspection.member_count(topic),
            }
            for topic in found[query.offset : query.offset + query.limit]
        ]
        return {"total": len(found), "rows": rows}

    async def _channel(self, query: Query, parts: list[ChannelPart]) -> dict[str, Any]:
        topic = query.name
        table = topics.table_of(topic)
        stored = [] if table is not None else await self._database.messages.history(topic, HISTORY)
        logs = [each.log for each in parts if each.log is not None]
        return {
            "topic": topic,
            "name": table or topics.without_project(topic),
            "table": table,
            "watched": table is not None and self._database.changes.watches(table),
            "subscribers": sum(each.subscribers for each in parts),
            "connections": [row for each in parts for row in each.connections],
            "members": self._hub.presence.members(topic),
            "log": max(logs, key=lambda each: each.events, default=None),
            "rule": self._guard.rules.rule_of(topic),
            "streams": [each for each in self._hub.inspection.streams() if each.topic == topic],
            "history": [
                {
                    "id": each.id,
                    "event": each.event,
                    "data": each.data,
                    "userId": each.user_id or None,
                    "timestamp": each.created_at,
                }
                for each in stored
            ],
        }

    def _connections(self, query: Query, parts: list[ConnectionsPart]) -> dict[str, Any]:
        rows = [row for each in parts for row in each.rows]
        rows.sort(key=lambda each: each.waiting if query.order == "waiting" else each.at, reverse=True)
        page = rows[query.offset : query.offset + query.limit]
        return {"total": sum(each.total for each in parts), "rows": page, "nodes": self._names()}

    def _connection(self, parts: list[ConnectionPart]) -> dict[str, Any]:
        part = next((each for each in parts if each.record is not None), ConnectionPart())
        return {
            "row": part.row,
            "topics": part.topics,
            "record": part.record,
            "lacks": part.lacks,
            "nodes": self._names(),
        }

    async def _tables(self, parts: list[list[TableWatch]]) -> dict[str, Any]:
        views, subscribers = Counter[str](), Counter[str]()
        for each in (watch for part in parts for watch in part):
            views[each.table] += each.views
            subscribers[each.table] += each.subscribers
        status = await self._database.status()
        rows = [
            {
                "name": each.name,
                "watched": each.watched,
                "changes": each.changes,
                "views": views[each.name],
                "subscribers": subscribers[each.name],
            }
            for each in await self._database.tables()
        ]
        return {"rows": rows, "problem": status.problem, "figures": status.figures}

    def _rules(self, parts: list[list[RuleHits]]) -> dict[str, Any]:
        allowed, denied = Counter[tuple[str, int, str]](), Counter[tuple[str, int, str]]()
        for each in (hits for part in parts for hits in part):
            key = each.section, each.number, each.pattern
            allowed[key] += each.allowed
            denied[key] += each.denied
        rows = []
        for hits in self._guard.rules.hits():
            key = hits.rule.section, hits.rule.number, hits.rule.pattern
            section, number, pattern = key
            about = {"section": section, "number": number, "pattern": pattern, "lines": written(hits)}
            rows.append({**about, "allowed": allowed[key], "denied": denied[key]})
        return {"rows": rows}

    def _log(self, query: Query, parts: list[list[Line]]) -> dict[str, Any]:
        lines = [line for each in parts for line in each]
        lines.sort(key=lambda each: each.at, reverse=True)
        return {"rows": lines[query.offset : query.offset + query.limit], "nodes": self._names()}

    def _names(self) -> dict[str, str]:
        return {each.node: each.name or each.node[:8] for each in self._hub.nodes()}


def written(hits: Hits) -> list[str]:
    """A rule as `aerostack.toml` has it; settings that are not set are left out."""
    lines = [f"[[{hits.rule.section}]]"]
    rule: Struct = hits.written
    for field in fields(rule):
        value = getattr(rule, field.name)
        if value is not None:
            lines.append(f"{field.name} = {_toml(value)}")
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
    return msgspec.json.encode(value).decode()


def _read(answers: Sequence[bytes], kind: type[T]) -> list[T]:
    """The parts of the nodes that know this version's views."""
    found = []
    for each in answers:
        try:
            found.append(msgspec.json.decode(each, type=kind))
        except msgspec.ValidationError:
            continue
    return found
