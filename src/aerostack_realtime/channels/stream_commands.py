"""What clients ask of streams: to open, append, end and cancel them."""

from msgspec import Raw

from aerostack_realtime.backplane.items import Append, CancelStream, Publish
from aerostack_realtime.channels.outcome import Done
from aerostack_realtime.channels.publishing import MAX_ID, check_event
from aerostack_realtime.channels.replica import Replica
from aerostack_realtime.channels.stream_writers import FromWriter
from aerostack_realtime.channels.streaming import Streaming
from aerostack_realtime.protocol.errors import BadMessage
from aerostack_realtime.protocol.messages import End

MAX_REASON = 1_024
"""Characters of the reason for which a stream is cancelled: it is a sentence for its writer."""


class StreamCommands:
    """`connection` is that of a writer, None for HTTP calls, and `by_key` whether it has a secret key.

    All topics are canonical.

    Every method raises Overloaded and Unavailable; other errors are passed to `done`, unless stated otherwise."""

    def __init__(self, replica: Replica, streaming: Streaming) -> None:
        self._replica = replica
        self._streaming = streaming

    def open(
        self,
        topic: str,
        event: str,
        data: Raw,
        done: Done,
        *,
        user_id: str | None,
        id: str,
        persist: bool,
        connection: str | None,
        by_key: bool,
    ) -> None:
        """Open a stream, or learn how far one's own is. Raises BadMessage, Forbidden, RateLimited."""
        check_event(topic, event, id)
        if connection is not None:
            self._streaming.writers.check((topic, id), connection)
        continues = self._streaming.streams.known(topic, id) is not None
        item = Publish(
            topic, event, bytes(data), user_id, id, persist, stream=True, by_key=by_key, continues=continues
        )
        self._replica.append(item, FromWriter(connection, done))

    def append(
        self,
        topic: str,
        id: str,
        n: int,
        data: bytes,
        state: End | None,
        done: Done,
        *,
        user_id: str | None,
        connection: str | None,
        by_key: bool,
    ) -> None:
        """Append the piece number `n` (JSON, b"" for none), end the stream, or both. Raises BadMessage."""
        if not data and state is None:
            raise BadMessage("An append has data, or a state that ends its stream.")
        item = Append(topic, id, n, data, state or "", user_id, by_key=by_key)
        self._replica.append(item, FromWriter(connection, done))

    def cancel(self, topic: str, id: str, reason: str, done: Done, *, user_id: str | None) -> None:
        """Stop a stream, and ask its writer to stop. Raises BadMessage."""
        if len(reason) > MAX_REASON or len(id) > MAX_ID:
            raise BadMessage(f"A reason has at most {MAX_REASON} characters, and an id at most {MAX_ID}.")
        self._replica.append(CancelStream(topic, id, user_id, reason), done)

    def refused(self, topic: str, id: str, connection: str) -> None:
        """A writer has lost the right to continue its stream, which ends unless it gets it again in time."""
        self._streaming.writers.away((topic, id), connection)

    def pieces(self, topic: str, id: str) -> int:
        """How many pieces a stream has; 0 for one that is not known."""
        known = self._streaming.streams.known(topic, id)
        return 0 if known is None else known.n
