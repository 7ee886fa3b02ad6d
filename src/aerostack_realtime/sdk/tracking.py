"""The presence of this client in one channel, which is restored after a reconnect."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET

from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import BadMessage, Unavailable
from aerostack_realtime.protocol.messages import MemberKind
from aerostack_realtime.sdk.internals import ClientInternals
from aerostack_realtime.sdk.outbox import new_id
from aerostack_realtime.sdk.requests import ask
from aerostack_realtime.sdk.subscription import Subscription


class Tracking:
    """`changed` is called when `active` may have changed."""

    def __init__(self, client: ClientInternals, subscription: Subscription, changed: Callable[[], None]) -> None:
        self._client = client
        self._subscription = subscription
        self._changed = changed
        self._newest: str | None = None
        """The id of the newest track."""
        self._asked: str | None = None
        """The id of the newest command that has no answer yet."""
        self._confirmed: tuple[dict[str, Any], MemberKind] | None = None

    @property
    def active(self) -> bool:
        """Whether the client is a member, or is about to be one."""
        return self._newest is not None

    async def track(self, state: Mapping[str, Any], per: MemberKind) -> None:
        """Become a member with `state`, or change the state. Raises as `Channel.track`."""
        if not isinstance(state, Mapping):
            raise BadMessage(f"A state is a mapping such as {{'name': 'Ada'}}, not {state!r:.80}.")
        state = dict(state)
        id = self._newest = new_id()
        self._changed()
        try:
            await self._ask(id, self._command(id, state, per))
        except BaseException:
            if self._newest == id and self._confirmed is None:
                self.end()
            raise
        if self._newest == id:
            self._confirmed = state, per

    async def untrack(self) -> None:
        """Be no member any more. Raises as `Channel.track`."""
        newest = self._newest
        if newest is None:
            return
        self.end()
        if self._client.connected:
            id = new_id()
            await self._ask(id, messages.Untrack(self._subscription.wire_topic, id))
        else:  # presence ends with the connection, so only a waiting track has to be withdrawn
            self._client.withdraw(newest, Unavailable("untrack() was called before the server answered."))

    def restore(self) -> None:
        """There is a new connection: announce again what the server had confirmed. A command without an answer is
        sent again anyway."""
        if self._confirmed is not None and self._asked is None:
            id = self._newest = new_id()
            self._client.send(self._command(id, *self._confirmed))

    def announced_as(self, id: str) -> bool:
        """Whether `restore` has announced it under this id, and nothing has changed since."""
        return self._newest == id and self._asked is None and self._confirmed is not None

    def announce_again(self, id: str) -> None:
        """The server refused for now what was announced under this id."""
        if self.announced_as(id):
            self.restore()

    async def _ask(self, id: str, command: messages.Track | messages.Untrack) -> None:
        if self._asked is not None:
            self._client.supersede(self._asked)
        self._asked = id
        try:
            await ask(self._client, id, command, messages.Ack)
        finally:
            if self._asked == id:
                self._asked = None

    def end(self) -> None:
        """The presence has ended."""
        self._newest = self._confirmed = None
        self._changed()

    def _command(self, id: str, state: dict[str, Any], per: MemberKind) -> messages.Track:
        topic = self._subscription.wire_topic
        return messages.Track(topic, state, id, UNSET if per == "user" else per)
