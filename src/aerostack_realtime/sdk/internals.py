"""What a channel needs of its client."""

import asyncio
from typing import Any, Protocol

from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.messages import Reply
from aerostack_realtime.sdk.payload import HistoryMessage
from aerostack_realtime.sdk.write_stream import WriterInternals

Command = (
    messages.Subscribe
    | messages.Unsubscribe
    | messages.Publish
    | messages.Append
    | messages.Cancel
    | messages.Track
    | messages.Untrack
    | messages.AskPresence
)


class ClientInternals(WriterInternals, Protocol):
    """The parts of the client that channels use."""

    def request(self, id: str, command: Command) -> asyncio.Future[Reply]:
        """Send a command, now and on every new connection until it is answered; returns its answer.

        A Subscribe, Track or Untrack that the server refuses for now is reported and sent again a moment later.

        Opens the connection if necessary. Raises BadMessage for a command that is not JSON or is nested too
        deeply, TooLarge, Overloaded, or the error that ended the connection.
        """

    def withdraw(self, id: str, error: AerostackError | None = None) -> None:
        """Forget an unanswered command: it is not sent again, and its caller gets `error`."""

    def supersede(self, id: str) -> None:
        """A later command takes the place of this one: if the server has refused it for now, it is not sent again,
        and its caller returns as if it was accepted."""

    def send(self, command: Command) -> None:
        """Send a command if there is a connection; it has no meaning for the next one."""

    def retain(self, channel: Any) -> None:
        """Keep the channel alive while it is in use, and release it otherwise."""

    async def history(self, topic: str, limit: int, before: int | None) -> list[HistoryMessage]:
        """Stored messages of a topic, newest first."""
