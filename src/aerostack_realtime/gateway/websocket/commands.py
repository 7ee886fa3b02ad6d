"""Commands: what one connection says, once it is known who it is, and what is answered."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, assert_never

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.permissions import Undecided
from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.fanout.backlog import policy
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.hub import CHAT_MESSAGE, Hub, Outcome
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.catchup import CatchUp
from aerostack_realtime.gateway.websocket.rights import Rights
from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import AerostackError, Forbidden, InvalidFilter, InvalidTopic, TooLarge

Command = (
    messages.Subscribe
    | messages.Unsubscribe
    | messages.Publish
    | messages.Track
    | messages.Untrack
    | messages.AskPresence
    | messages.Chat
    | messages.Ping
)
"""Every command but `auth`, which is about who is speaking."""


class CommandClient(Subscriber, Protocol):
    """The session whose commands these are. `drain` waits until its peer has taken most of what was written."""

    @property
    def closed(self) -> int | None: ...

    @property
    def identity(self) -> Identity | None: ...

    @property
    def user_id(self) -> str | None: ...

    def send(self, reply: messages.Reply) -> None: ...

    def fail(self, command: messages.Command, failure: Exception) -> None: ...

    def evict(self, topic: str) -> None: ...

    async def drain(self) -> None: ...


class Commands:
    """Carries out one session's commands, as far as its rights go. `claimed_ids`: whoever is not proven to be
    someone is present as whom they claim to be."""

    __slots__ = (
        "_catch_up",
        "_catching",
        "_changes",
        "_claimed_ids",
        "_hub",
        "_limits",
        "_project",
        "_rights",
        "_speaker",
        "_unwanted",
        "pinged",
    )

    def __init__(
        self,
        *,
        speaker: CommandClient,
        hub: Hub,
        database: Database,
        rights: Rights,
        limits: Limits,
        project: str,
        claimed_ids: bool,
    ) -> None:
        self._speaker = speaker
        self._hub = hub
        self._changes = database.changes
        self._rights = rights
        self._limits = limits
        self._project = project
        self._claimed_ids = claimed_ids
        self._catch_up = CatchUp(speaker, hub, database, speaker.drain, self.given_up, limits.snapshot_seconds)
        self._catching: str | None = None
        self._unwanted = False
        self.pinged = False
        """Whether a ping waits for a subscription that takes its time: its sender asks whether we are here."""

    def handle(self, command: Command) -> Awaitable[None] | None:
        """What is returned has to be awaited before the next command is handled. Raises AerostackError."""
        try:
            return self._carry_out(command)
        except Undecided as undecided:
            return self._decide(command, undecided)

    def leave(self, topic: str) -> bool:
        """End everything on a topic, also a subscription that is still being caught up; whether there was any."""
        if not self._rights.leave(topic):
            return False
        if self._catching == topic:
            self._catching = None
            self._catch_up.stop()
        self._hub.untrack(self._speaker, topic)
        self._hub.subscriptions.unsubscribe(self._speaker, topic)
        return True

    def ahead(self, frame: bytes) -> None:
        """A command came that is handled after the one that is awaited: what it takes back need not be done."""
        if self._catching is None or not (b"subscribe" in frame or b"ping" in frame):
            return
        with suppress(messages.InvalidCommand, InvalidTopic):
            command = messages.decode_command(frame)
            if isinstance(command, messages.Ping):
                self.pinged = True
            elif (
                self._catch_up.sends_rows
                and isinstance(command, messages.Subscribe | messages.Unsubscribe)
                and self._topic(command.topic) == self._catching
            ):
                self.give_up()

    def give_up(self) -> None:
        """End a subscription that is being caught up: its client does not want it any more."""
        self._unwanted = self._catching is not None
        self._catch_up.stop()

    def given_up(self) -> bool:
        """Whether a subscription in steps is not wanted, or not allowed, any more."""
        return self._unwanted or self._speaker.closed is not None or self._catching is None

    async def _decide(self, command: Command, undecided: Undecided) -> None:
        """Ask the user's own function, then handle the command."""
        try:
            await self._rights.permissions.ask(undecided)
            if self._speaker.closed is None and (pending := self._carry_out(command)) is not None:
                await pending
        except Undecided as further:
            await self._decide(command, further)
        except Exception as failure:
            self._speaker.fail(command, failure)

    def _carry_out(self, command: Command) -> Awaitable[None] | None:
        match command:
            case messages.Publish():
                topic = self._topic(command.topic)
                self._rights.require(topic, "publish")
                self._publish(command, topic)
            case messages.Subscribe():
                return self._subscribe(replace(command, topic=self._topic(command.topic)))
            case messages.Unsubscribe():
                topic = self._topic(command.topic)
                self._hub.subscriptions.unsubscribe(self._speaker, topic)
                self._rights.give_up(topic, "subscribe")
                self._speaker.send(messages.Unsubscribed(topic, id=command.id))
            case messages.Track():
                self._track(replace(command, topic=self._topic(command.topic)))
            case messages.Untrack():
                topic = self._topic(command.topic)
                self._rights.give_up(topic, "presence")
                self._hub.untrack(self._speaker, topic, self._acknowledge(command.id))
            case messages.AskPresence():
                topic = self._topic(command.topic)
                self._rights.require(topic, "presence")
                self._speaker.send(messages.Presence(topic, self._hub.members(topic), command.id))
            case messages.Chat():
                self._chat(command)
            case messages.Ping():
                self._speaker.send(messages.Pong())
            case _:
                assert_never(command)
        return None

    def _publish(self, command: messages.Publish, topic: str) -> None:
        def done(outcome: Outcome | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                self._speaker.send(messages.Error.of(outcome, topic, command.id))
            elif command.id is not UNSET:
                duplicate = True if outcome.duplicate else UNSET
                self._speaker.send(messages.Ack(command.id, outcome.cursor, outcome.timestamp, duplicate))

        self._hub.publish(
            topic,
            command.event,
            command.data,
            done,
            user_id=self._speaker.user_id,
            id=None if command.id is UNSET else command.id,
            persist=command.persist,
            without=None if command.echo else self._speaker.connection_id,
        )

    def _chat(self, command: messages.Chat) -> None:
        data: dict[str, Any] = {"roomId": command.room_id, "text": command.text, "userId": self._speaker.user_id}
        if bytes(command.metadata) != b"null":
            data["metadata"] = command.metadata
        topic = self._topic(f"chat/{command.room_id}")
        self._rights.require(topic, "publish")
        self._hub.subscriptions.use_chat(self._speaker)
        self._publish(messages.Publish(topic, CHAT_MESSAGE, Raw(messages.encode(data)), persist=True), topic)

    def _subscribe(self, command: messages.Subscribe) -> Awaitable[None] | None:
        if command.filter and len(messages.encode(command.filter)) > self._limits.filter_bytes:
            raise InvalidFilter(f"A filter has at most {self._limits.filter_bytes} bytes.")
        policy(command)
        self._rights.require(command.topic, "subscribe")
        if command.presence and not self._rights.permissions.allows(command.topic, "presence"):
            command = replace(command, presence=False)
        before = self._rights.on(command.topic)
        self._rights.take(command.topic, "subscribe")
        try:
            if self._catch_up.needed(command) and self._may_catch_up(command):
                self._catching = command.topic
                return self._subscribe_in_steps(command, before=before)
            self._hub.subscriptions.subscribe(self._speaker, command)
        except (AerostackError, Undecided):
            self._keep(command.topic, before=before)
            raise
        return None

    def _may_catch_up(self, command: messages.Subscribe) -> bool:
        """What a channel's log no longer has is history, and needs the right to that."""
        topic = command.topic
        return topics.table_of(topic) is not None or self._rights.permissions.allows(topic, "history")

    async def _subscribe_in_steps(self, command: messages.Subscribe, *, before: bool) -> None:
        try:
            await self._catch_up.subscribe(command)
            if self._speaker.closed is None and self._catching is None:
                raise Forbidden("The right to be here ended while what was missed was sent.")
        except RuleFailed as failure:
            self._speaker.fail(command, failure)
            self._speaker.evict(command.topic)
        except Exception as failure:
            self._keep(command.topic, before=before)
            self._speaker.fail(command, failure)
        finally:
            self._catching = None
            self._unwanted = self.pinged = False

    def _keep(self, topic: str, *, before: bool) -> None:
        """After a subscription that failed: be on the topic only if it was before."""
        if not before:
            self._rights.give_up(topic, "subscribe")

    def _track(self, command: messages.Track) -> None:
        if len(messages.encode(command.state)) > self._limits.state_bytes:
            raise TooLarge(f"A state has at most {self._limits.state_bytes} bytes.")
        if topics.table_of(command.topic) is not None:
            raise Forbidden("A table's topic carries its rows alone: be present on a topic with a slash.")
        self._rights.take(command.topic, "presence")
        member = self._member(command.state)
        self._hub.track(self._speaker, command.topic, member, command.state, self._acknowledge(command.id))

    def _member(self, state: dict[str, Any]) -> str:
        """Whose presence a state is: the user's, else whom it names, else the connection's."""
        speaker = self._speaker
        if speaker.identity is not None and speaker.identity.kind == "user" and speaker.user_id is not None:
            return speaker.user_id
        claimed = state.get("userId", speaker.user_id) if self._claimed_ids else speaker.user_id
        return claimed if isinstance(claimed, str) and claimed else speaker.connection_id

    def _topic(self, topic: str) -> str:
        return topics.canonical(topic, self._project)

    def _acknowledge(self, id: str | UnsetType) -> Callable[[Outcome | AerostackError], None] | None:
        """The answer to a command when it has taken effect; None for a command without an id."""
        if id is UNSET:
            return None

        def done(outcome: Outcome | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                self._speaker.send(messages.Error.of(outcome, id=id))
            else:
                self._speaker.send(messages.Ack(id, outcome.cursor))

        return done
