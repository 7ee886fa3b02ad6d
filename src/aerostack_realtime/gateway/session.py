"""A session: what one connection says, and what is answered. It knows no socket and no aiohttp."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol, assert_never

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.channels.hub import Hub, Outcome
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.catchup import CatchUp
from aerostack_realtime.gateway.limits import Limits
from aerostack_realtime.protocol import close_codes, frames, messages, topics
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    Internal,
    InvalidTopic,
    TokenExpired,
    TooLarge,
    Unauthorized,
)

log = logging.getLogger(__name__)

DRAIN_LOOK_SECONDS: Final = 0.01
"""How often a long replay looks whether its peer has caught up: only slow peers ever wait for it."""


class Transport(Protocol):
    """The socket as a session needs it: asyncio's transport has it."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Session:
    """One connection. It is a channels.audience.Subscriber.

    `hang_up` ends the socket within the limits' `close_seconds` once a close frame is written. `now` is in
    seconds. A session without an identity may only authenticate.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        hang_up: Callable[[], None],
        identity: Identity | None,
        project: str,
        version: str,
        hub: Hub,
        database: Database,
        authenticator: Authenticator,
        limits: Limits,
        now: Callable[[], float],
    ) -> None:
        self.connection_id = secrets.token_urlsafe(12)
        self.write = transport.write
        self.buffered = transport.get_write_buffer_size
        self.closed: int | None = None
        self._hang_up = hang_up
        self._identity = identity
        self._project = project
        self._hub = hub
        self._changes = database.changes
        self._catch_up = CatchUp(self, hub, database, self._drain, lambda: self.closed is not None)
        self._authenticator = authenticator
        self._limits = limits
        self._now = now
        self._opened = self._heard = now()
        self._pinged_at: float | None = None
        self._warned_at: float | None = None
        self._bad_messages = 0
        hub.join(self)
        self.send(messages.Connected(self.connection_id, self.user_id, limits.heartbeat_seconds, version))

    @property
    def user_id(self) -> str | None:
        return self._identity.user_id if self._identity is not None else None

    def send(self, reply: messages.Reply) -> None:
        """Write a reply; a peer that does not take its replies is too slow as well."""
        if self.closed is None:
            self._write(frames.text(messages.encode(reply)))

    def overflow(self) -> None:
        self.close(close_codes.SLOW_CONSUMER, "too slow: resume from your cursor")

    def pong(self, payload: bytes) -> None:
        """Answer a ping frame."""
        self.heard()
        if self.closed is None:
            self._write(frames.pong(payload))

    def close(self, code: int, reason: str) -> None:
        """End the session: nothing is delivered to it any more. Idempotent."""
        if self.closed is not None:
            return
        self.closed = code
        self._hub.leave(self)
        self.write(frames.close(code, reason))
        self._hang_up()

    def lost(self) -> None:
        """The socket is gone."""
        if self.closed is None:
            self.closed = close_codes.ABNORMAL
            self._hub.leave(self)

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Heartbeat and deadlines; call it about once a second. Nobody is given up who was not pinged."""
        limits = self._limits
        if self.closed is not None:
            return
        if self._identity is None:
            if now - self._opened > limits.auth_seconds:
                self.close(close_codes.AUTH_TIMEOUT, "did not authenticate in time")
            return
        if self._pinged_at is not None:
            if now - self._pinged_at > limits.heartbeat_seconds:
                self.close(close_codes.HEARTBEAT_TIMEOUT, "heartbeat timed out")
        elif now - self._heard > limits.heartbeat_seconds:
            self._pinged_at = now
            self._write(frames.PING)
        self._watch_expiry()

    def heard(self) -> None:
        """The peer gave a sign of life."""
        self._heard = self._now()
        self._pinged_at = None

    # --- commands ----------------------------------------------------------------------------------------

    def binary(self) -> None:
        """A binary frame came."""
        self._bad(messages.Error.of(BadMessage("Frames are text: send one JSON object in each.")))

    def receive(self, frame: bytes) -> Awaitable[None] | None:
        """Handle a text frame. What is returned has to be awaited before the next frame is handled."""
        self.heard()
        if self.closed is not None:
            return None
        if len(frame) > self._limits.frame_bytes:
            error = TooLarge(f"A frame is at most {self._limits.frame_bytes} bytes; this one has {len(frame)}.")
            self._bad(messages.refusal(frame, error))
            return None
        try:
            command = messages.decode_command(frame)
        except messages.Refused as refused:
            self._bad(refused.reply)
            return None
        try:
            return self._handle(command)
        except Exception as failure:
            self._fail(command, failure)
            return None

    def _handle(self, command: messages.Command) -> Awaitable[None] | None:
        if self._identity is None and not isinstance(command, messages.Auth | messages.Ping):
            raise Unauthorized("Authenticate first: send an auth command, or connect with a token.")
        match command:
            case messages.Publish():
                self._publish(replace(command, topic=self._topic(command.topic)))
            case messages.Subscribe():
                return self._subscribe(replace(command, topic=self._topic(command.topic)))
            case messages.Unsubscribe():
                topic = self._topic(command.topic)
                self._hub.unsubscribe(self, topic)
                self.send(messages.Unsubscribed(topic, id=command.id))
            case messages.Track():
                return self._track(replace(command, topic=self._topic(command.topic)))
            case messages.Untrack():
                self._ack(command.id, self._hub.untrack(self, self._topic(command.topic)))
            case messages.AskPresence():
                topic = self._topic(command.topic)
                self.send(messages.Presence(topic, self._hub.members(topic), command.id))
            case messages.Auth():
                self._authenticate(command.token)
            case messages.Chat():
                self._chat(command)
            case messages.Ping():
                self.send(messages.Pong())
            case _:
                assert_never(command)
        return None

    def _publish(self, command: messages.Publish) -> None:
        def done(outcome: Outcome | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                self.send(messages.Error.of(outcome, command.topic, command.id))
            elif command.id is not UNSET:
                duplicate = True if outcome.duplicate else UNSET
                self.send(messages.Ack(command.id, outcome.cursor, outcome.timestamp, duplicate))

        self._hub.publish(
            command.topic,
            command.event,
            command.data,
            done,
            user_id=self.user_id,
            id=None if command.id is UNSET else command.id,
            persist=command.persist,
            without=None if command.echo else self.connection_id,
        )

    def _chat(self, command: messages.Chat) -> None:
        data: dict[str, Any] = {"roomId": command.room_id, "text": command.text, "userId": self.user_id}
        if bytes(command.metadata) != b"null":
            data["metadata"] = command.metadata
        topic = self._topic(f"chat/{command.room_id}")
        self._publish(messages.Publish(topic, "chat_message", Raw(messages.encode(data)), persist=True))

    def _subscribe(self, command: messages.Subscribe) -> Awaitable[None] | None:
        if self._catch_up.needed(command):
            return self._subscribe_in_steps(command)
        self._hub.subscribe(self, command)
        return None

    async def _subscribe_in_steps(self, command: messages.Subscribe) -> None:
        try:
            await self._catch_up.subscribe(command)
        except Exception as failure:
            self._fail(command, failure)

    def _track(self, command: messages.Track) -> Awaitable[None] | None:
        table = topics.table_of(command.topic)
        if table is not None and not self._changes.watches(table):
            return self._track_table(command, table)
        self._ack(command.id, self._hub.track(self, command.topic, self._member(command.state), command.state))
        return None

    async def _track_table(self, command: messages.Track, table: str) -> None:
        try:
            await self._changes.watch(table)
            if self.closed is None:
                self._track(command)
        except Exception as failure:
            self._fail(command, failure)

    def _member(self, state: dict[str, Any]) -> str:
        """Whose presence a state is: the user's, else whom it names, else the connection's."""
        if self._identity is not None and self._identity.kind == "user" and self.user_id is not None:
            return self.user_id
        claimed = state.get("userId", self.user_id)
        return claimed if isinstance(claimed, str) and claimed else self.connection_id

    def _authenticate(self, token: str) -> None:
        try:
            identity = self._authenticator.identify(None, token)
        except AerostackError as error:
            self.send(messages.Error.of(error))
            if self._identity is None:
                self.close(close_codes.UNAUTHORIZED, error.code)
            return
        assert identity is not None, "a token proves an identity or raises"
        known = self._identity
        if known is not None and known.kind == "user" and known.user_id != identity.user_id:
            raise Forbidden("This connection is another user's; open a new one to change users.")
        self._identity = identity
        self._warned_at = None
        self.send(messages.Authenticated(identity.user_id or ""))

    # --- inside ------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self.buffered() > self._limits.buffer_bytes:
            self.overflow()
        else:
            self.write(data)

    def _topic(self, topic: str) -> str:
        return topics.canonical(topic, self._project)

    def _ack(self, id: str | UnsetType, cursor: str) -> None:
        if id is not UNSET:
            self.send(messages.Ack(id, cursor))

    def _bad(self, reply: messages.Error) -> None:
        self.send(reply)
        self._bad_messages += 1
        if self._bad_messages >= self._limits.bad_messages:
            self.close(close_codes.BAD_MESSAGES, "too many bad messages")

    def _fail(self, command: messages.Command, failure: Exception) -> None:
        if not isinstance(failure, AerostackError):
            reference = secrets.token_hex(4)
            log.error("internal error %s while handling a %s", reference, type(command).__name__, exc_info=failure)
            failure = Internal(f"The server failed; its log has the details under {reference}.")
        topic = getattr(command, "topic", UNSET)
        if topic is not UNSET:
            with suppress(InvalidTopic):
                topic = self._topic(topic)
        self.send(messages.Error.of(failure, topic, getattr(command, "id", UNSET)))

    def _watch_expiry(self) -> None:
        """Warn of an expired token, then end the connection unless a new one came within the grace."""
        if self._identity is None or not self._authenticator.expired(self._identity):
            return
        if self._warned_at is None:
            self._warned_at = self._now()
            grace = self._limits.token_grace_seconds
            error = TokenExpired(f"The token has expired; send an auth command with a new one within {grace:g} s.")
            self.send(messages.Error.of(error))
        elif self._now() - self._warned_at > self._limits.token_grace_seconds:
            self.close(close_codes.UNAUTHORIZED, "token expired")

    async def _drain(self) -> None:
        """Wait until the peer has taken most of what was written to it."""
        mark = self._limits.buffer_bytes // 4
        while self.closed is None and self.buffered() > mark:  # noqa: ASYNC110 - a transport has no event for it
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        self.heard()  # what it takes is a sign of life, and its frames wait meanwhile
