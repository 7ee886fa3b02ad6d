"""What the message store knows of streams, for all nodes: streams that no node knows, more pieces, or the end."""

from functools import partial

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import StreamState
from aerostack_realtime.channels.custom.streams import Key, Stream, Streams
from aerostack_realtime.channels.stream_storage import StreamStorage
from aerostack_realtime.database.message_store import Stored, StoredMessage
from aerostack_realtime.protocol.errors import AerostackError


class StreamRows:
    """Announces stored streams in the journal; their writers are expected on this node."""

    def __init__(self, journal: Journal, streams: Streams, storage: StreamStorage) -> None:
        self._journal = journal
        self._streams = streams
        self._storage = storage
        self._unchecked: dict[Key, None] = {}

    async def announce_unknown(self, until: int) -> None:
        """Announce the stored streams that were opened up to a position and that this node does not know. Raises
        AerostackError."""
        for message in await self._storage.unfinished():
            if message.position <= until and self._streams.known(message.topic, message.id) is None:
                self.announce(message)

    def announce(self, message: StoredMessage) -> None:
        """Let all nodes know a stored stream. Raises Overloaded, Unavailable."""
        self._journal.append(stored_state(message, self._journal.node))

    def check(self, stream: Stream) -> None:
        """The store may know more pieces of this stream, or its end: `compare` finds out."""
        self._unchecked[stream.topic, stream.id] = None

    def compare(self) -> None:
        """Read the rows of the streams that were to be checked; what fails is read again with the next call."""
        unchecked, self._unchecked = self._unchecked, {}
        for key in unchecked:
            stream = self._streams.find(*key)
            if stream is not None and stream.persist and stream.visible:
                self._storage.open(stream, partial(self._read, stream))  # which finds the row that is there

    def _read(self, stream: Stream, result: Stored | AerostackError) -> None:
        if self._streams.find(stream.topic, stream.id) is not stream:
            return
        if isinstance(result, AerostackError):
            self.check(stream)
            return
        stored = result.message.stream
        if stored is not None and (stored.state != "open" or stored.n > stream.n):
            try:
                self.announce(result.message)
            except AerostackError:
                self.check(stream)


def stored_state(message: StoredMessage, owner: str) -> StreamState:
    """A stream as it is stored; the node `owner` waits for its writer."""
    assert message.stream is not None, "a stream is stored with its progress"
    return StreamState(
        message.topic,
        message.id,
        message.event,
        bytes(message.data),
        message.stream.n,
        message.stream.state,
        0,
        message.position,
        message.created_at,
        owner,
        True,
        message.user_id or None,
        None if message.user_id else True,
        message.stream.ended,
    )
