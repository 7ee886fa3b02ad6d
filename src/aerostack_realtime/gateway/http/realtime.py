"""The HTTP calls about channels: history, publishing, presence."""

import asyncio
from time import perf_counter
from typing import Any, Final

from aiohttp import web
from msgspec import Raw, Struct

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.channels.counts import ChannelStatus
from aerostack_realtime.channels.hub import Hub, Outcome
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.gateway.http.answers import as_json, read_body, read_integer, read_topic
from aerostack_realtime.gateway.http.callers import Callers, traceparent_of
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol import topics, trace_context
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError, TooLarge

MAX_PUBLISHES: Final = 100
HISTORY_DEFAULT: Final = 50


class Publish(Struct):
    """An event to publish."""

    topic: str
    event: str
    data: Raw = Raw(b"null")
    persist: bool = False
    id: str | None = None
    traceparent: str | None = None
    compacts: str | None = None


class RealtimeCalls:
    """The calls about channels of one project."""

    def __init__(
        self, *, project: str, hub: Hub, store: MessageStore, guard: Guard, callers: Callers, limits: Limits
    ) -> None:
        self._project = project
        self._hub = hub
        self._store = store
        self._guard = guard
        self._callers = callers
        self._limits = limits

    async def history(self, request: web.Request) -> web.Response:
        identity = self._callers.identify(request)
        topic = read_topic(request, "room", self._project)
        await self._guard.permissions(identity).settle(topic, "history")
        limit = read_integer(request, "limit", 1, 2**63 - 1)
        before = read_integer(request, "before", 0, 2**63 - 1)
        began = perf_counter()
        found = await self._store.history(
            topic, min(HISTORY_DEFAULT if limit is None else limit, self._limits.history_page), before
        )
        self._hub.counters.history_pages.observe(perf_counter() - began)
        return as_json(
            {
                "messages": [
                    {
                        "id": each.id,
                        "room_id": each.topic,
                        "user_id": each.user_id,
                        "event": each.event,
                        "data": each.data,
                        "created_at": each.created_at,
                        **({} if each.stream is None else {"n": each.stream.n, "state": each.stream.state}),
                    }
                    for each in found
                ]
            }
        )

    async def publish(self, request: web.Request) -> web.Response:
        identity = self._callers.identify(request)
        self._callers.charge(request, identity, size=len(await request.read()))
        body = await read_body(request, Publish | list[Publish], self._limits.nesting)
        trace = traceparent_of(request)
        if isinstance(body, Publish):
            return as_json(await self.accept(identity, body, trace))
        self._callers.charge(request, identity, calls=len(body[1:MAX_PUBLISHES]))
        if len(body) > MAX_PUBLISHES:
            raise TooLarge(f"A list holds at most {MAX_PUBLISHES} events; this one has {len(body)}.")
        outcomes = await asyncio.gather(
            *(self.accept(identity, each, trace) for each in body), return_exceptions=True
        )
        return as_json({"results": [_result(outcome) for outcome in outcomes]})

    async def presence(self, request: web.Request) -> web.Response:
        identity = self._callers.identify(request)
        topic = read_topic(request, "topic", self._project)
        await self._guard.permissions(identity).settle(topic, "presence")
        return as_json({"members": self._hub.presence.members(topic)})

    async def channels(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        found = Answer[list[ChannelStatus]]()
        self._hub.all_channels(found.done)
        return as_json({"channels": await found})

    async def accept(self, identity: Identity, event: Publish, traceparent: str | None) -> dict[str, Any]:
        """Publish an event if `identity` may, and return its acknowledgement. Raises AerostackError.

        `traceparent` is that of the call, for an event without one."""
        topic = topics.canonical(event.topic, self._project)
        try:
            return await self._accept(identity, event, topic, traceparent)
        except AerostackError as refused:
            id = event.id or ""
            self._hub.records.refuse(refused.code, refused.message, user=identity.user_id, topic=topic, id=id)
            raise

    async def _accept(
        self, identity: Identity, event: Publish, topic: str, traceparent: str | None
    ) -> dict[str, Any]:
        await self._guard.permissions(identity).settle(topic, "publish")
        if event.compacts is not None:
            await self._guard.permissions(identity).settle(topic, "compact")
        accepted = Answer[Outcome]()
        self._hub.publish(
            topic,
            event.event,
            event.data,
            accepted.done,
            user_id=identity.user_id,
            id=event.id,
            persist=event.persist,
            traceparent=trace_context.valid(event.traceparent) or traceparent,
            compacts=event.compacts,
        )
        outcome = await accepted
        answer: dict[str, Any] = {"cursor": outcome.cursor, "timestamp": outcome.timestamp}
        return {**answer, "duplicate": True} if outcome.duplicate else answer


def _result(outcome: dict[str, Any] | BaseException) -> dict[str, Any]:
    if isinstance(outcome, AerostackError):
        return outcome.body()
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
