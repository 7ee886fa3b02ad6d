"""The client of commands: a session as they see it."""

from typing import Protocol

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.protocol import messages


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
