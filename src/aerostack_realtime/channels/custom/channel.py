"""A custom channel as this node hears it: its subscribers and its log."""

import asyncio
from collections.abc import Callable, Iterable

from msgspec import UNSET, Raw

from aerostack_realtime.channels.custom.log import Log
from aerostack_realtime.channels.custom.streams import Stream
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.event_frames import template


class StoredReplay:
    """Stored messages are being sent to a channel's subscribers, because the journal began again.

    They have everything up to `after`, which grows. The journal's items up to `until` are settled by what is
    stored: those that survived are still delivered live, before the first stored message is read. `known` is how
    many pieces of its streams the subscribers have that receive streams while they grow, and `ended` are the
    streams that have ended meanwhile.
    """

    __slots__ = ("after", "done", "ended", "is_reading", "is_reported", "known", "until")

    def __init__(self, after: int, until: int, known: dict[str, int]) -> None:
        self.after = after
        self.until = until
        self.known = known
        self.ended: dict[str, Stream] = {}
        self.is_reported = False
        """Whether subscribers know of the gap."""
        self.is_reading = False
        self.done = asyncio.Event()

    def passes(self, position: int) -> bool:
        """Whether subscribers receive an event at once."""
        if self.is_reading or position > self.until:
            return False
        self.after = max(self.after, position)
        return True


class CustomChannel:
    """A topic with a slash: events that clients and servers publish.

    `chat_audience` are the subscribers that use the legacy `chat` command, if there are any: they receive chat
    messages as frames of another type. Subscribers with a policy for slow consumers stay in `audience`, since
    the clients that send `chat` do not know policies. `stream_audience` are the subscribers that receive streams
    while they grow, if there are any. The others receive one event when a stream ends. During a `replay` events go
    into the log, and subscribers receive them after the stored messages that they lack.
    """

    def __init__(self, topic: str, audience: Callable[[], Audience], log: Log) -> None:
        self.topic = topic
        self.audience = audience()
        self.audience.notes_events = True
        self.chat_audience: Audience | None = None
        self.stream_audience: Audience | None = None
        self._new_audience = audience
        self.log = log
        self._event = ""
        self._beginning = b""
        self.replay: StoredReplay | None = None
        self._subscribers: set[Subscriber] = set()
        self._growing: Stream | None = None
        self._growing_cursor = ""

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    def beginning(self, event: str) -> bytes:
        """The JSON of an event with this name up to its data. Most channels have events of one name."""
        if event != self._event:
            self._event, self._beginning = event, template(self.topic, event, None).begin
        return self._beginning

    def most_buffered(self) -> int:
        """How many bytes wait for the subscriber for which most wait."""
        return max((each.buffered() for each in self._subscribers), default=0)

    def is_live(self, position: int) -> bool:
        """Whether subscribers receive what happens at a position now, and not from a replay."""
        return self.replay is None or self.replay.passes(position)

    def audiences(self) -> Iterable[Audience]:
        if self.chat_audience is None and self.stream_audience is None:
            return (self.audience,)
        found = (self.audience, self.chat_audience, self.stream_audience)
        return [audience for audience in found if audience is not None]

    def add(
        self,
        subscriber: Subscriber,
        policy: Policy | None,
        *,
        presence: bool,
        uses_chat: bool = False,
        streams: bool = False,
    ) -> None:
        """Add a subscriber, or change how it is subscribed."""
        self._subscribers.add(subscriber)
        if streams:
            self.audience.remove(subscriber)
            if self.stream_audience is None:
                self.stream_audience = self._new_audience()
            self.stream_audience.add(subscriber, presence=presence, policy=policy)
            return
        self._remove_from_streams(subscriber)
        self.audience.add(subscriber, presence=presence, policy=policy)
        if uses_chat:
            self.use_chat(subscriber)

    # --- streams -----------------------------------------------------------------------------------------

    def grow(self, stream: Stream, cursor: str) -> bool:
        """A visible stream has grown: send its pieces at the end of the tick, joined, or before the next event.
        Returns whether pieces wait that did not wait before."""
        if self.stream_audience is None:
            stream.sent = stream.n
            return False
        waited = self._growing is not None
        if self._growing is not stream:
            self.send_pieces()
        self._growing, self._growing_cursor = stream, cursor
        return not waited

    def send_pieces(self) -> None:
        """Send the pieces that wait for the end of the tick."""
        stream, self._growing = self._growing, None
        if stream is not None and self.stream_audience is not None:
            self.stream_audience.append(pieces(stream, stream.sent, self._growing_cursor))
            self._sent(stream)

    def end(self, stream: Stream, cursor: str) -> None:
        """Send the end of a stream, with its pieces that were not sent before."""
        if self._growing is stream:
            self._growing = None
        self.send_pieces()
        if self.stream_audience is not None:
            visible = stream.visible
            self.stream_audience.append(
                pieces(stream, stream.sent, cursor, ended=True) if visible else so_far(stream, cursor, ended=True)
            )
        self._sent(stream, ended=True)

    def open(self, stream: Stream, cursor: str) -> None:
        """Send what a stream has so far."""
        self.send_pieces()
        if self.stream_audience is not None:
            self.stream_audience.append(so_far(stream, cursor))
        self._sent(stream)

    def _sent(self, stream: Stream, *, ended: bool = False) -> None:
        """Subscribers have all of a stream, also if the rest of a replay follows."""
        stream.sent = stream.n
        if self.replay is not None and self.stream_audience is not None:
            if ended:
                self.replay.known.pop(stream.id, None)
            else:
                self.replay.known[stream.id] = stream.n

    def _remove_from_streams(self, subscriber: Subscriber) -> None:
        if self.stream_audience is not None:
            self.stream_audience.remove(subscriber)
            if not len(self.stream_audience):
                self.stream_audience = None

    # -----------------------------------------------------------------------------------------------------

    def use_chat(self, subscriber: Subscriber) -> None:
        """Move a subscriber to the audience of `chat`, on the same terms."""
        presence = self.audience.hears_presence(subscriber)
        if presence is not None:
            self.audience.flush()
            self.audience.remove(subscriber)
            if self.chat_audience is None:
                self.chat_audience = self._new_audience()
            self.chat_audience.add(subscriber, presence=presence)

    def remove(self, subscriber: Subscriber) -> bool:
        if subscriber not in self._subscribers:
            return False
        self._subscribers.discard(subscriber)
        self.audience.remove(subscriber)
        self._remove_from_streams(subscriber)
        if self.chat_audience is not None:
            self.chat_audience.remove(subscriber)
            if not len(self.chat_audience):
                self.chat_audience = None
        return True


def pieces(stream: Stream, n: int, cursor: str, *, ended: bool = False) -> bytes:
    """The frame with the pieces of a stream from number `n` on, and with its state if it has `ended`."""
    if not stream.knows(n):
        return so_far(stream, cursor, ended=ended)
    appended = messages.Appended(
        topic=stream.topic,
        id=stream.id,
        n=n,
        to=stream.n,
        cursor=cursor,
        data=Raw(stream.since(n)) if n < stream.n else UNSET,
        state=stream.state if ended and stream.state != "open" else UNSET,
    )
    return frames.encode(appended)


def so_far(stream: Stream, cursor: str, *, ended: bool = False) -> bytes:
    """The frame with everything that a stream has so far."""
    event = messages.Event(
        topic=stream.topic,
        event=stream.event,
        data=Raw(stream.data),
        timestamp=stream.timestamp,
        id=stream.id,
        cursor=cursor,
        user_id=UNSET if stream.user_id is None else stream.user_id,
        stream=messages.Progress(stream.n, stream.state if ended else "open"),
    )
    return frames.encode(event)
