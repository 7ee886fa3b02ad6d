"""Streams: messages that grow. A function of the journal, pure: no clock, no I/O.

A stream's content stays in JSON, without its brackets or quotes: pieces are joined by joining bytes.
"""

from array import array
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec import Struct

from aerostack_realtime.backplane.items import Append, CancelStream, Publish, StreamState
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Cancelled,
    Conflict,
    Forbidden,
    NotFound,
    OutOfStep,
    TooLarge,
)

Key = tuple[str, str]
"""Topic and id of a stream."""
Owner = tuple[str, bool | None]
"""A user id ("" for none), and whether it is a secret key's: None for a user's stream from the store, which does
not hold that."""
ENDED_COUNT: Final = 100_000
"""Ended streams that are remembered, so that a late append is answered by what happened to its stream."""
ANNOUNCED_COUNT: Final = 10_000
"""Ended streams that are announced to a node that joins."""
RECENT_US: Final = 10_000_000
RECENT_COUNT: Final = 1_000
"""Ended streams that are kept with their content: a journal that fails over loses less than ten seconds."""
UNKNOWN: Final = -1
"""Instead of an offset: where a piece begins that is known only joined with others."""


class Stream:
    """One message that grows. `owner` is who may append.

    `opened` and `last` are positions, `timestamp` is in ms since the Unix epoch. `n` counts the pieces; the first
    `known_from` of them are known only joined. `node` is the one on which its writer was last.

    `sent` and `visible` are what this node has delivered: how many pieces, and whether the opening. `ended_before`
    is where it ended in a part of the journal that is lost, if this node learned of the end from others.
    """

    __slots__ = (
        "_content",
        "_lengths",
        "ended_before",
        "event",
        "id",
        "is_text",
        "known_from",
        "last",
        "node",
        "opened",
        "owner",
        "persist",
        "sent",
        "state",
        "timestamp",
        "topic",
        "user_id",
        "visible",
    )

    def __init__(self, opened: int, timestamp: int, node: str, item: Publish, n: int = 0) -> None:
        assert item.id is not None, "a stream has an id"
        self.topic = item.topic
        self.id = item.id
        self.event = item.event
        self.user_id = item.user_id
        self.owner = _owner(item)
        self.persist = item.persist
        self.opened = self.last = opened
        self.timestamp = timestamp
        self.node = node
        self.state: messages.StreamState = "open"
        self.is_text = item.data[:1] == b'"'
        self.known_from = self.sent = n
        self.visible = False
        self.ended_before = 0
        self._content = bytearray(_inside(item.data))
        self._lengths = array("q", [len(self._content)])

    @property
    def n(self) -> int:
        return self.known_from + len(self._lengths) - 1

    @property
    def size(self) -> int:
        """The bytes of the content in JSON."""
        return len(self._content)

    @property
    def data(self) -> bytes:
        """The content so far, as JSON."""
        return self._wrapped(0)

    def knows(self, n: int) -> bool:
        """Whether this node knows where piece number `n` begins, which may be the next one."""
        return n >= self.known_from and self._lengths[n - self.known_from] != UNKNOWN

    def since(self, n: int) -> bytes:
        """The pieces from number `n` on, joined, as JSON; `n` is one that it `knows`."""
        return self._wrapped(self._lengths[n - self.known_from])

    def add(self, position: int, piece: bytes, state: messages.StreamState) -> None:
        """Append a piece (JSON, b"" for none) and take the state."""
        self.last = position
        self.state = state
        if not piece:
            return
        inside = _inside(piece)
        if not self.is_text and self._content and inside:
            self._content += b","
        self._content += inside
        self._lengths.append(len(self._content))

    def learn(self, known: StreamState) -> bool:
        """Take over the pieces that another node knows beyond this one's; whether there are any."""
        more = known.n - self.n
        if more <= 0:
            return False
        content = bytearray(_inside(known.data))
        if content.startswith(self._content):
            self._lengths.extend([UNKNOWN] * (more - 1))
        else:
            self.known_from, self._lengths = known.n, array("q")
        self._content = content
        self._lengths.append(len(content))
        return True

    def snapshot(self, as_of: int) -> StreamState:
        """All of it, for other nodes."""
        user_id, by_key = self.owner
        return StreamState(
            self.topic,
            self.id,
            self.event,
            self.data,
            self.n,
            self.state,
            as_of,
            self.opened,
            self.timestamp,
            self.node,
            self.persist,
            user_id or None,
            by_key,
            0 if self.state == "open" else self.last,
        )

    def _wrapped(self, offset: int) -> bytes:
        with memoryview(self._content) as content:
            inside = bytes(content[offset:])
        if self.is_text:
            return b'"%b"' % inside
        return b"[%b]" % inside.removeprefix(b",")


def stream_of(known: StreamState) -> Stream:
    """An open stream that another node or the store knows."""
    item = Publish(known.topic, known.event, known.data, known.user_id, known.id, known.persist, stream=True)
    stream = Stream(known.opened, known.timestamp, known.owner, item, known.n)
    stream.owner = known.user_id or "", known.by_key
    return stream


class Appended(Struct, frozen=True):
    """An item changed a stream. `ended`: it has its final state from this item on."""

    stream: Stream
    ended: bool


class Repeated(Struct, frozen=True):
    """An item changed nothing: its effect was there before. `n` and `state` are the stream's."""

    n: int
    state: messages.StreamState


class _End(Struct, frozen=True):
    owner: Owner
    n: int
    state: messages.StreamState
    position: int


Result = Appended | Repeated | AerostackError


class Streams:
    """All open streams, and how the ended ones ended.

    `limit` bounds the bytes of one stream's content in JSON. Every node must have the same limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.current: dict[Key, Stream] = {}
        """The open streams by topic and id."""
        self._ended: dict[Key, _End] = {}
        self._recent: deque[Stream] = deque()

    def __len__(self) -> int:
        return len(self.current)

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self.current.values()))

    def find(self, topic: str, id: str) -> Stream | None:
        """An open stream."""
        return self.current.get((topic, id))

    def known(self, topic: str, id: str) -> Repeated | None:
        """How far a stream is that was opened before, also an ended one."""
        stream = self.current.get((topic, id))
        if stream is not None:
            return Repeated(stream.n, stream.state)
        end = self._ended.get((topic, id))
        return None if end is None else Repeated(end.n, end.state)

    def open(self, position: int, timestamp: int, node: str, item: Publish) -> Result:
        """A writer opens a stream, or continues one of its own."""
        assert item.id is not None, "a stream has an id"
        key = item.topic, item.id
        stream = self.current.get(key)
        known: Stream | _End | None = stream or self._ended.get(key)
        if known is None:
            if item.continues:
                return _missing(item.id)
            if item.data[:1] not in (b'"', b"["):
                return BadMessage("The data of a stream is a string or a list.")
            if len(item.data) > self._limit:
                return self._too_large(item.id)
            stream = self.current[key] = Stream(position, timestamp, node, item)
            return Appended(stream, ended=False)
        if not _owns(known.owner, item):
            return Forbidden(f"The stream {item.id!r} belongs to another user; choose another id.")
        if stream is not None:
            if stream.is_text is not (item.data[:1] == b'"') or stream.event != item.event:
                return Conflict(
                    f"The stream {item.id!r} is open with other data or another event; choose another id."
                )
            stream.node = node
        return Repeated(known.n, known.state)

    def append(self, position: int, node: str, item: Append) -> Result:
        """A writer appends the piece number `n`, ends the stream, or both."""
        key = item.topic, item.id
        stream = self.current.get(key)
        if stream is None:
            return self._after_end(item)
        data = item.data
        if not item.by_server:
            if not _owns(stream.owner, item):
                return Forbidden(f"The stream {item.id!r} belongs to another user.")
            if item.n > stream.n:
                return OutOfStep(
                    f"Piece {item.n} of {item.id!r} is too early: continue with piece {stream.n}.", stream.n
                )
            if item.n < stream.n:
                if not (item.state and item.n + bool(data) == stream.n):
                    stream.node = node
                    return Repeated(stream.n, stream.state)
                data = b""  # the end of this stream was not stored, and is sent again with its last piece
            if data and (data[:1] == b'"') is not stream.is_text:
                kind = "a string" if stream.is_text else "a list"
                return BadMessage(f"The pieces of {item.id!r} are each {kind}, as its opening was.")
            if data and stream.size + len(data) > self._limit:
                return self._too_large(item.id)
            stream.node = node
        stream.add(position, data, item.state or "open")
        return self._changed(key, stream)

    def cancel(self, position: int, item: CancelStream) -> Result:
        """A reader or the writer stops a stream. A repeat, and a stream that ended before, change nothing."""
        key = item.topic, item.id
        stream = self.current.get(key)
        if stream is None:
            end = self._ended.get(key)
            return _missing(item.id) if end is None else Repeated(end.n, end.state)
        stream.add(position, b"", "cancelled")
        return self._changed(key, stream)

    def restore(self, stream: Stream) -> None:
        """Take over an open stream from the store or from another node."""
        self._ended.pop((stream.topic, stream.id), None)
        self.current[stream.topic, stream.id] = stream

    def end_of(self, topic: str, id: str) -> int | None:
        """The position of the end of an ended stream."""
        end = self._ended.get((topic, id))
        return None if end is None else end.position

    def take_end(self, known: StreamState, position: int) -> None:
        """Take over from another node or the store how a stream ended."""
        key = known.topic, known.id
        self.current.pop(key, None)
        self._remember(key, _End((known.user_id or "", known.by_key), known.n, known.state, position))

    def ends(self, as_of: int) -> list[StreamState]:
        """How the newest of the ended streams ended, without their content, for other nodes."""
        newest = islice(self._ended.items(), max(0, len(self._ended) - ANNOUNCED_COUNT), None)
        return [
            StreamState(
                *key, "", b"", end.n, end.state, as_of, 0, 0, "", False, end.owner[0] or None, end.owner[1]
            )
            for key, end in newest
        ]

    def ended_after(self, position: int) -> list[Stream]:
        """The streams that ended after a position, of those that ended in the last seconds."""
        return [stream for stream in self._recent if stream.last > position and stream.state != "open"]

    def reopen(self, stream: Stream) -> None:
        """The end of a stream could not be stored: it is open again, with all its pieces, unless its opening was
        not stored either."""
        key = stream.topic, stream.id
        if key not in self._ended or self._ended[key].position != stream.last:
            return
        del self._ended[key]
        stream.state = "open"
        self.current[stream.topic, stream.id] = stream

    def remove(self, stream: Stream) -> None:
        """The opening of a stream could not be stored: it was never there."""
        self.current.pop((stream.topic, stream.id), None)
        self._ended.pop((stream.topic, stream.id), None)
        if stream in self._recent:
            self._recent.remove(stream)

    def forget_below(self, floor: int) -> None:
        """Forget the ended streams whose end is below the position `floor`."""
        gone = []
        for key, end in self._ended.items():
            if end.position >= floor:
                break
            gone.append(key)
        for key in gone:
            del self._ended[key]

    def _changed(self, key: Key, stream: Stream) -> Appended:
        if stream.state == "open":
            return Appended(stream, ended=False)
        del self.current[key]
        self._remember(key, _End(stream.owner, stream.n, stream.state, stream.last))
        self._recent.append(stream)
        while len(self._recent) > RECENT_COUNT or self._recent[0].last < stream.last - RECENT_US:
            self._recent.popleft()
        return Appended(stream, ended=True)

    def _remember(self, key: Key, end: _End) -> None:
        self._ended.pop(key, None)
        self._ended[key] = end
        if len(self._ended) > ENDED_COUNT:
            del self._ended[next(islice(self._ended, 1))]

    def _after_end(self, item: Append) -> Repeated | AerostackError:
        end = self._ended.get((item.topic, item.id))
        if end is None:
            return _missing(item.id)
        if not _owns(end.owner, item) and not item.by_server:
            return Forbidden(f"The stream {item.id!r} belongs to another user.")
        if item.n < end.n or (item.state and item.state == end.state and not item.data) or item.by_server:
            return Repeated(end.n, end.state)
        if end.state == "cancelled":
            return Cancelled(f"The stream {item.id!r} was cancelled; stop writing to it.")
        return Conflict(f"The stream {item.id!r} has ended as {end.state}; open another.")

    def _too_large(self, id: str) -> TooLarge:
        return TooLarge(f"A stream has at most {self._limit} bytes; finish {id!r} and open another.")


def _inside(data: bytes) -> bytes:
    """JSON without its outer quotes or brackets; white space around it does not count."""
    return data.strip()[1:-1].strip() if data[:1] == b"[" else data.strip()[1:-1]


def _owner(item: Publish) -> Owner:
    return item.user_id or "", item.by_key


def _owns(owner: Owner, item: Publish | Append) -> bool:
    user_id, by_key = owner
    return user_id == (item.user_id or "") and by_key in (item.by_key, None)


def _missing(id: str) -> NotFound:
    return NotFound(f"There is no open stream {id!r} on this channel; open it first.")
