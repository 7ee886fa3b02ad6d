"""The writers of streams on this node: which connection writes what, and how long a writer may be gone."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from aerostack_realtime.channels.custom.streams import Key
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.outcome import Done, Outcome
from aerostack_realtime.protocol.errors import AerostackError, RateLimited


class _Writer(Struct):
    """The writer of a stream on this node: its connection, None for HTTP calls and for one that is gone.

    Without a connection the stream ends after `seconds`."""

    connection: str | None
    seconds: int


class FromWriter(Struct, frozen=True):
    """The `done` of a writer's command; it came by `connection`, None for HTTP calls."""

    connection: str | None
    done: Done

    def __call__(self, outcome: Outcome | AerostackError) -> None:
        self.done(outcome)


class StreamWriters:
    """`connections` are this node's by their ids, `seconds` is how long a writer may be gone, and `limit` how many
    open streams a connection may have."""

    def __init__(self, connections: Mapping[str, Subscriber], seconds: int, limit: int) -> None:
        self._connections = connections
        self._seconds = seconds
        self._limit = limit
        self._writers: dict[Key, _Writer] = {}
        self._by_connection: dict[str, set[Key]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._writers

    def check(self, key: Key, connection: str) -> None:
        """Whether a connection may open one more stream. Raises RateLimited."""
        of_it = self._by_connection.get(connection, ())
        if len(of_it) >= self._limit and key not in of_it:
            raise RateLimited(f"A connection has at most {self._limit} open streams; finish some first.")

    def connection(self, key: Key) -> Subscriber | None:
        """The connection of a stream's writer, if that has one on this node."""
        writer = self._writers.get(key)
        return None if writer is None else self._connections.get(writer.connection or "")

    def connected(self) -> Iterator[Key]:
        """The streams whose writers have a connection to this node."""
        return (key for key, writer in list(self._writers.items()) if writer.connection is not None)

    def wrote(self, key: Key, done: Done | None) -> None:
        """A writer continues its stream, on this node if `done` says from where."""
        if not isinstance(done, FromWriter):
            return
        connection = done.connection if done.connection in self._connections else None
        known = self._writers.get(key)
        if known is None or known.connection != connection:
            self.forget(key)
            self._writers[key] = _Writer(connection, self._seconds)
            if connection is not None:
                self._by_connection.setdefault(connection, set()).add(key)
        else:
            known.seconds = self._seconds

    def wait_for(self, key: Key, *, is_gone: bool = False) -> None:
        """The writer of a stream is expected on this node; one that has a connection stays. `is_gone`: it was
        waited for long enough."""
        if self.connection(key) is None:
            self.forget(key)
            self._writers[key] = _Writer(None, 1 if is_gone else self._seconds)

    def gone(self, connection: str) -> None:
        """A connection has ended."""
        for key in self._by_connection.pop(connection, ()):
            self._writers[key] = _Writer(None, self._seconds)

    def away(self, key: Key, connection: str) -> None:
        """The writer of a stream may not continue it: as if its connection had ended."""
        writer = self._writers.get(key)
        if writer is not None and writer.connection == connection:
            self.forget(key)
            self._writers[key] = _Writer(None, self._seconds)

    def forget(self, key: Key) -> None:
        """This node has no writer of a stream any more."""
        writer = self._writers.pop(key, None)
        if writer is not None and writer.connection is not None:
            of_it = self._by_connection.get(writer.connection, set())
            of_it.discard(key)
            if not of_it:
                self._by_connection.pop(writer.connection, None)

    def overdue(self) -> list[Key]:
        """The streams whose writers are gone for too long. Call it once a second."""
        found = []
        for key, writer in self._writers.items():
            if writer.connection is None:
                writer.seconds -= 1
                if writer.seconds <= 0:
                    found.append(key)
        return found
