"""Streams in the message store: inserted when they open, updated at most once a second, and at their end."""

from collections.abc import Callable
from functools import partial

from msgspec import Raw

from aerostack_realtime.channels.custom.streams import Key, Stream
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.database.message_store import NewMessage, Stored, StoredMessage, StreamProgress
from aerostack_realtime.protocol.errors import AerostackError


class StreamStorage:
    """The stored streams whose writers are on this node."""

    def __init__(self, store: LicensedStore) -> None:
        self._store = store
        self._grown: dict[Key, Stream] = {}

    async def unfinished(self) -> list[StoredMessage]:
        """The stored streams that have not ended. Raises Unavailable."""
        return await self._store.open_streams()

    def open(self, stream: Stream, done: Callable[[Stored | AerostackError], None]) -> None:
        """Store a new stream."""
        message = NewMessage(
            stream.topic,
            stream.id,
            stream.user_id or "",
            stream.event,
            Raw(stream.data),
            stream.opened,
            stream=StreamProgress(stream.n, "open"),
        )
        try:
            self._store.append(message, done)
        except AerostackError as error:
            done(error)

    def grown(self, stream: Stream) -> None:
        """A stream has grown; `flush` stores it."""
        self._grown[stream.topic, stream.id] = stream

    def flush(self) -> None:
        """Store how far the streams are that have grown; what fails is stored again with a later flush."""
        grown, self._grown = self._grown, {}
        for stream in grown.values():
            if stream.state == "open":
                self._update(stream, 0, partial(self._flushed, stream))

    def end(self, stream: Stream, position: int, done: Callable[[AerostackError | None], None]) -> None:
        """Store the end of a stream."""
        self._grown.pop((stream.topic, stream.id), None)
        self._update(stream, position, done)

    def _flushed(self, stream: Stream, failure: AerostackError | None) -> None:
        if failure is not None and stream.state == "open":
            self._grown[stream.topic, stream.id] = stream

    def _update(self, stream: Stream, ended: int, done: Callable[[AerostackError | None], None]) -> None:
        message = StoredMessage(
            stream.topic,
            stream.id,
            stream.user_id or "",
            stream.event,
            Raw(stream.data),
            stream.opened,
            stream.timestamp,
            StreamProgress(stream.n, stream.state, ended),
        )
        try:
            self._store.update(message, done)
        except AerostackError as error:
            done(error)
