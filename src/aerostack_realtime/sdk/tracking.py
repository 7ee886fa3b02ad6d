"""The presence of this client in one channel, which is restored after a reconnect."""

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import Unavailable
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
        self._confirmed: tuple[dict[str, Any], MemberKind] | None = None

    @property
    def active(self) -> bool:
        """Whether the client is a member, or is about to be one."""
        return self._newest is not None

    async def track(self, state: dict[str, Any], per: MemberKind) -> None:
        """Become a member with `state`, or change the state. Raises as `Channel.track`."""
        id = self._newest = new_id()
        self._changed()
        try:
            await ask(self._client, id, self._command(id, state, per), messages.Ack)
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
            command = messages.Untrack(self._subscription.wire_topic, id)
            await ask(self._client, id, command, messages.Ack)
        else:  # presence ends with the connection, so only a waiting track has to be withdrawn
            self._client.withdraw(newest, Unavailable("untrack() was called before the server answered."))

    def restore(self) -> None:
        """There is a new connection: announce again what the server had confirmed."""
        if self._confirmed is not None:
            id = self._newest = new_id()
            self._client.send(self._command(id, *self._confirmed))

    def end(self) -> None:
        """The presence has ended."""
        self._newest = self._confirmed = None
        self._changed()

    def _command(self, id: str, state: dict[str, Any], per: MemberKind) -> messages.Track:
        topic = self._subscription.wire_topic
        return messages.Track(topic, state, id, UNSET if per == "user" else per)
