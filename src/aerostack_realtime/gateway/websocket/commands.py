"""Commands: what an authenticated connection asks for, and the answers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from time import perf_counter
from typing import Any, assert_never

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from aerostack_realtime.access.permissions import Undecided
from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.fanout.backlog import policy
from aerostack_realtime.channels.hub import CHAT_MESSAGE, Outcome
from aerostack_realtime.gateway.websocket import streams
from aerostack_realtime.gateway.websocket.catchup import CatchUp, resumes_at_once, takes_steps, waits
from aerostack_realtime.gateway.websocket.client import CommandClient
from aerostack_realtime.gateway.websocket.rights import Rights
from aerostack_realtime.gateway.websocket.services import Services
from aerostack_realtime.protocol import messages, topics, trace_context
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    InvalidFilter,
    InvalidTopic,
    NotFound,
    TooLarge,
)

Command = (
    messages.Subscribe
    | messages.Unsubscribe
    | messages.Publish
    | messages.Append
    | messages.Cancel
    | messages.Track
    | messages.Untrack
    | messages.AskPresence
    | messages.Chat
    | messages.Ping
)
"""Every command except `auth`, which belongs to the session."""


class _Ending(Enum):
    """Why a catch-up was cancelled."""

    UNWANTED = auto()
    """The client unsubscribed, subscribed again, or is gone."""
    FORBIDDEN = auto()
    """The right to the topic ended."""


class _Catching(Struct):
    """A subscription that takes several steps, one at a time per connection."""

    topic: str
    catch_up: CatchUp
    task: asyncio.Task[None]
    ending: _Ending | None = None

    def cancel(self, ending: _Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self.task.cancel()


class Commands:
    """Carries out one session's commands, as far as its rights allow. An anonymous client is present under the
    user id that it claims, if the server believes claimed ids."""

    __slots__ = (
        "_catching",
        "_claimed_ids",
        "_client",
        "_hub",
        "_project",
        "_rights",
        "_services",
        "pinged",
    )

    def __init__(self, client: CommandClient, services: Services, rights: Rights, project: str) -> None:
        self._client = client
        self._services = services
        self._hub = services.hub
        self._rights = rights
        self._project = project
        self._claimed_ids = services.authenticator.claimed_ids
        self._catching: _Catching | None = None
        self.pinged = False
        """Whether a ping waits behind a catch-up: its sender checks whether the server is alive."""

    def handle(self, command: Command) -> Awaitable[None] | None:
        """Handle a command. A result has to be awaited before the next command. Raises AerostackError."""
        try:
            if type(command) is messages.Publish:  # almost every command is one: without another call and a match
                self._publish(command)
                return None
            return self._carry_out(command)
        except Undecided as undecided:
            return self._decide(command, undecided)

    def leave(self, topic: str) -> bool:
        """End everything on a topic whose right has ended, also a catch-up; whether there was anything."""
        if not self._rights.leave(topic):
            return False
        if self._catching is not None and self._catching.topic == topic:
            self._catching.cancel(_Ending.FORBIDDEN)
        self._hub.presence.untrack(self._client, topic)
        self._hub.subscriptions.unsubscribe(self._client, topic)
        return True

    def ahead(self, frame: bytes) -> None:
        """A command came that is handled after the one that is awaited. It may end a catch-up early."""
        catching = self._catching
        if catching is None or not (b"subscribe" in frame or b"ping" in frame):
            return
        with suppress(messages.InvalidCommand, InvalidTopic):
            command = messages.decode_command(frame, self._services.limits.nesting)
            if isinstance(command, messages.Ping):
                self.pinged = True
            elif (
                catching.catch_up.sends_rows
                and isinstance(command, messages.Subscribe | messages.Unsubscribe)
                and self._topic(command.topic) == catching.topic
            ):
                catching.cancel(_Ending.UNWANTED)

    def stop(self) -> None:
        """End a catch-up: the client takes nothing more."""
        if self._catching is not None:
            self._catching.cancel(_Ending.UNWANTED)

    async def _decide(self, command: Command, undecided: Undecided) -> None:
        """Ask the `authorize` function, then handle the command."""
        try:
            await self._rights.permissions.ask(undecided)
            if self._client.closed is None and (pending := self._carry_out(command)) is not None:
                await pending
        except Undecided as further:
            await self._decide(command, further)
        except Exception as failure:
            self._client.fail(command, failure)

    def _carry_out(self, command: Command) -> Awaitable[None] | None:
        match command:
            case messages.Publish():
                self._publish(command)
            case messages.Append():
                streams.append(self._hub, self._client, self._rights, command, self._topic(command.topic))
            case messages.Cancel():
                topic = self._topic(command.topic)
                self._rights.require(topic, "cancel")
                streams.cancel(self._hub, self._client, command, topic)
            case messages.Subscribe():
                return self._subscribe(replace(command, topic=self._topic(command.topic)))
            case messages.Unsubscribe():
                topic = self._topic(command.topic)
                self._hub.subscriptions.unsubscribe(self._client, topic)
                self._rights.release(topic, "subscribe")
                self._client.send(messages.Unsubscribed(topic, id=command.id))
            case messages.Track():
                self._track(replace(command, topic=self._topic(command.topic)))
            case messages.Untrack():
                topic = self._topic(command.topic)
                self._rights.release(topic, "presence")
                self._hub.presence.untrack(self._client, topic, self._acknowledge(command.id))
            case messages.AskPresence():
                topic = self._topic(command.topic)
                self._rights.require(topic, "presence")
                self._client.send(messages.Presence(topic, self._hub.presence.members(topic), command.id))
            case messages.Chat():
                self._chat(command)
            case messages.Ping():
                self._client.send(messages.Pong())
            case _:
                assert_never(command)
        return None

    def _publish(self, command: messages.Publish) -> None:
        topic = self._rights.publishing(command.topic, self._project)
        if command.compacts is not UNSET:
            self._rights.require(topic, "compact")
        if command.stream:
            streams.open_stream(self._hub, self._client, command, topic)
        else:
            self._publish_event(command, topic)

    def _publish_event(self, command: messages.Publish, topic: str) -> None:
        id, client = command.id, self._client
        self._hub.publish(
            topic,
            command.event,
            command.data,
            None if id is UNSET and not command.persist else self.answer_publish(command, topic),
            client.user_id,
            None if id is UNSET else id,
            command.persist,
            None if command.echo else client.connection_id,
            None if command.traceparent is UNSET else trace_context.valid(command.traceparent),
            None if command.compacts is UNSET else command.compacts,
        )

    def answer_publish(self, command: messages.Publish, topic: str) -> Callable[[Outcome | AerostackError], None]:
        """The answer to a publish that has an id or is persisted."""
        began = perf_counter()

        def done(outcome: Outcome | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                self._client.send(messages.Error.of(outcome, topic, command.id))
            elif command.id is not UNSET:
                counters, seconds = self._hub.counters, perf_counter() - began
                if command.persist:
                    counters.persisted_ack.observe(seconds)
                    counters.acks += 1
                else:
                    counters.acknowledged.append(seconds)
                duplicate = True if outcome.duplicate else UNSET
                self._client.send(messages.Ack(command.id, outcome.cursor, outcome.timestamp, duplicate))

        return done

    def _chat(self, command: messages.Chat) -> None:
        data: dict[str, Any] = {"roomId": command.room_id, "text": command.text, "userId": self._client.user_id}
        if bytes(command.metadata) != b"null":
            data["metadata"] = command.metadata
        topic = self._topic(f"chat/{command.room_id}")
        self._rights.require(topic, "publish")
        self._hub.subscriptions.use_chat(self._client)
        self._publish_event(messages.Publish(topic, CHAT_MESSAGE, Raw(messages.encode(data)), persist=True), topic)

    def _subscribe(self, command: messages.Subscribe) -> Awaitable[None] | None:
        if command.filter and len(messages.encode(command.filter)) > self._services.limits.filter_bytes:
            raise InvalidFilter(f"A filter has at most {self._services.limits.filter_bytes} bytes.")
        policy(command)
        self._rights.require(command.topic, "subscribe")
        self._check_watched(command.topic)
        if command.history is not None:
            self._check_history(command)
        if command.presence and not self._rights.permissions.allows(command.topic, "presence"):
            command = replace(command, presence=False)
        before = self._rights.on(command.topic)
        self._rights.take(command.topic, "subscribe")
        try:
            subscriptions = self._hub.subscriptions
            changes = self._services.database.changes
            stored = takes_steps(command, subscriptions, changes) and self._may_catch_up(command)
            if stored or waits(command, subscriptions):
                if stored and self._resumes_at_once(command):
                    return None
                return self._catch_up(command, stored=stored, before=before)
            subscriptions.subscribe(self._client, command)
        except (AerostackError, Undecided):
            self._keep(command.topic, before=before)
            raise
        return None

    def _resumes_at_once(self, command: messages.Subscribe) -> bool:
        return resumes_at_once(command, self._client, self._hub, self._services.database.epoch)

    def _check_watched(self, topic: str) -> None:
        """An operator looks on, and does not change which tables are watched."""
        table, identity = topics.table_of(topic), self._client.identity
        looks_on = identity is not None and identity.kind == "operator"
        if looks_on and table is not None and not self._services.database.changes.watches(table):
            raise NotFound(f"The table {table!r} is not watched.")

    def _check_history(self, command: messages.Subscribe) -> None:
        if topics.table_of(command.topic) is not None:
            raise BadMessage("A table has no history; ask for a snapshot.")
        limit = self._services.limits.history_page
        if command.history != "all" and (command.history or 0) > limit:
            raise BadMessage(f'history is 1 to {limit}, or "all".')
        self._rights.require(command.topic, "history")

    def _may_catch_up(self, command: messages.Subscribe) -> bool:
        """Events that a channel's log no longer has are history, and need the right to it."""
        topic = command.topic
        return topics.table_of(topic) is not None or self._rights.permissions.allows(topic, "history")

    def _catch_up(self, command: messages.Subscribe, *, stored: bool, before: bool) -> Awaitable[None]:
        client, services = self._client, self._services
        catch_up = CatchUp(client, services.hub, services.database, client.drain, services.limits.snapshot_seconds)
        task = asyncio.ensure_future(catch_up.subscribe(command, stored=stored))
        self._catching = _Catching(command.topic, catch_up, task)
        return self._caught_up(command, self._catching, before=before)

    async def _caught_up(self, command: messages.Subscribe, catching: _Catching, *, before: bool) -> None:
        try:
            await catching.task
        except asyncio.CancelledError:
            if catching.ending is None:
                raise
            if catching.ending is _Ending.FORBIDDEN:
                failure = Forbidden("The right to this topic ended while missed events were being sent.")
                self._client.fail(command, failure)
        except RuleFailed as failure:
            self._client.fail(command, failure)
            self._client.evict(command.topic)
        except Exception as failure:
            self._keep(command.topic, before=before)
            self._client.fail(command, failure)
        finally:
            self._catching = None
            self.pinged = False

    def _keep(self, topic: str, *, before: bool) -> None:
        """After a subscription that failed: stay on the topic only if it was there before."""
        if not before:
            self._rights.release(topic, "subscribe")

    def _track(self, command: messages.Track) -> None:
        if len(messages.encode(command.state)) > self._services.limits.state_bytes:
            raise TooLarge(f"A state has at most {self._services.limits.state_bytes} bytes.")
        if topics.table_of(command.topic) is not None:
            raise Forbidden("A table topic has no presence: track on a topic with a slash.")
        self._rights.take(command.topic, "presence")
        member = self._member(command.state)
        done, own_member = self._acknowledge(command.id), command.per == "connection"
        self._hub.presence.track(self._client, command.topic, member, command.state, done, own_member=own_member)

    def _member(self, state: dict[str, Any]) -> str:
        """The member id of a state: the user's id, else the claimed one, else the connection's."""
        client = self._client
        if client.identity is not None and client.identity.kind == "user" and client.user_id is not None:
            return client.user_id
        claimed = state.get("userId", client.user_id) if self._claimed_ids else client.user_id
        return claimed if isinstance(claimed, str) and claimed else client.connection_id

    def _topic(self, topic: str) -> str:
        return topics.canonical(topic, self._project)

    def _acknowledge(self, id: str | UnsetType) -> Callable[[Outcome | AerostackError], None] | None:
        """The answer to a command when it has taken effect; None for a command without an id."""
        if id is UNSET:
            return None

        def done(outcome: Outcome | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                self._client.send(messages.Error.of(outcome, id=id))
            else:
                self._client.send(messages.Ack(id, outcome.cursor))

        return done
