"""The delivery of a custom channel's event on this node: encoded once, into the log and to the subscribers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import UNSET, Raw

from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.custom.channel import CustomChannel, StoredReplay, pieces, so_far
from aerostack_realtime.channels.custom.log import Cursors, Entry, SentEvent
from aerostack_realtime.channels.custom.presence import Change as PresenceChange
from aerostack_realtime.channels.custom.streams import Stream
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.database.message_store import StoredMessage
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.event_frames import ending, is_plain, published_frame

CHAT_MESSAGE: Final = "chat_message"
"""The event that the legacy `chat` command publishes."""


class Delivery:
    """`connections` are this node's by their ids. The caller guarantees the order of each channel."""

    def __init__(self, registry: Registry, cursors: Cursors, connections: Mapping[str, Subscriber]) -> None:
        self._registry = registry
        self._heard = registry.heard
        self._cursors = cursors
        self._connections = connections
        self.stored_end: Callable[[StoredMessage], None] = lambda _: None
        """Called with each stream that subscribers are sent from the store, after the journal began again."""

    def publish(self, position: int, timestamp: int, item: Publish, epoch: str) -> None:
        """Deliver an event to the channel's subscribers; without any, keep it for those who resume. Its cursor is
        of `epoch`."""
        channel = self._heard.get(item.topic)
        if item.compacts:
            self._registry.log(item.topic).compacted(item.compacts)
        if channel is None:
            self._registry.log(item.topic).append_item(position, timestamp * 1000, item)
            return
        log, replay = channel.log, channel.replay
        if position <= log.last and replay is None:
            return  # it waited while the journal began again: later subscribers have it from the store
        id = item.id
        if item.traceparent is None and (id is None or is_plain(id)):
            begin, end = channel.beginning(item.event), ending(item.user_id)
            frame = published_frame(begin, item.data, timestamp, position, epoch, end, id)
        else:
            frame = self._encoded(position, timestamp, item, f"{epoch}.{position}")
        size = len(frame)
        if item.without is None:
            without = None
            log.add(SentEvent(position, frame, False, size, None, None, item.persist))
        else:
            without = self._connections.get(item.without)
            log.add(SentEvent(position, frame, False, size, None, item.without, item.persist))
        if replay is not None and not replay.passes(position):
            log.counters.events += 1
            return
        channel.audience.append(frame, False, without, size)
        if channel.stream_audience is not None:
            channel.send_pieces()
            channel.stream_audience.append(frame, without=without)
        if channel.chat_audience is not None:
            if item.event == CHAT_MESSAGE:
                frame = as_chat(frame)
            channel.chat_audience.append(frame, without=without)

    def frame(self, position: int, timestamp: int, item: Publish) -> bytes:
        """The frame of an event that was kept while nobody heard its channel."""
        return self._encoded(position, timestamp, item, self._cursors.of(position))

    def _encoded(self, position: int, timestamp: int, item: Publish, cursor: str) -> bytes:
        return frames.encode(
            messages.Event(
                topic=item.topic,
                event=item.event,
                data=Raw(item.data),
                timestamp=timestamp,
                id=item.id or f"{position:x}",
                cursor=cursor,
                user_id=UNSET if item.user_id is None else item.user_id,
                traceparent=UNSET if item.traceparent is None else item.traceparent,
            )
        )

    def stored_frame(self, message: StoredMessage, *, streams: bool) -> bytes:
        """The frame of a persisted message, for a subscriber that receives `streams` while they grow or not."""
        stream = message.stream
        return frames.encode(
            messages.Event(
                topic=message.topic,
                event=message.event,
                data=message.data,
                timestamp=message.created_at,
                id=message.id,
                cursor=self._cursors.of(message.position if stream is None else stream.ended),
                user_id=message.user_id or UNSET,
                stream=messages.Progress(stream.n, stream.state) if stream and streams else UNSET,
            )
        )

    def open_stream(self, stream: Stream, position: int) -> None:
        """Deliver the opening of a stream, to the subscribers that receive streams while they grow."""
        stream.visible = True
        self._registry.streams.setdefault(stream.topic, {})[stream.id] = stream
        channel = self._heard.get(stream.topic)
        if channel is not None and channel.is_live(position):
            channel.open(stream, self._cursors.at(position))

    def grow_stream(self, stream: Stream, position: int) -> None:
        """Deliver what a stream has grown by; every event up to `position` was delivered."""
        channel = self._heard.get(stream.topic)
        if channel is None or channel.replay is not None:
            return
        if channel.grow(stream, self._cursors.at(position)):
            self._registry.grown(channel)

    def forget_stream(self, stream: Stream) -> None:
        """A stream is not open any more."""
        open_here = self._registry.streams.get(stream.topic, {})
        open_here.pop(stream.id, None)
        if not open_here:
            self._registry.streams.pop(stream.topic, None)

    def is_replaying(self, topic: str) -> bool:
        """Whether the subscribers of a channel are being sent what the journal lost."""
        channel = self._heard.get(topic)
        return channel is not None and channel.replay is not None

    def lose_stream(self, stream: Stream, position: int) -> None:
        """A stream ended in items that this node lacks: for its readers it has failed."""
        self.forget_stream(stream)
        channel = self._heard.get(stream.topic)
        if channel is not None and channel.stream_audience is not None:
            channel.send_pieces()
            [end] = _failed_streams(stream.topic, {stream.id: stream.n}, self._cursors.at(position))
            channel.stream_audience.append(end)
        self.lack_events(stream.topic, position)

    def lack_events(self, topic: str, position: int) -> None:
        """This node lacks an event of a channel at a position: subscribers that resume from before receive a gap.

        During a replay they know of one, and have yet to receive what is in the log."""
        if not self.is_replaying(topic):
            self._registry.log(topic).lack(position)

    def lack_stream(self, topic: str, position: int) -> None:
        """A stream continues that this node does not know: report a gap."""
        self.lack_events(topic, position)
        channel = self._heard.get(topic)
        if channel is not None and channel.is_live(position):
            channel.send_pieces()
            frame = frames.encode(messages.Subscribed(topic, self._cursors.at(position), recovered=False))
            for audience in channel.audiences():
                audience.append(frame)

    def end_stream(self, stream: Stream, position: int) -> None:
        """Deliver the end of a stream; to the other subscribers it is an event with the whole content.

        One that was stored, and then lost by the journal, is new only to those that have the stream open: the
        others have it from the store, or from the node that they come from."""
        self.forget_stream(stream)
        channel = self._heard.get(stream.topic)
        self._registry.log(stream.topic).append_stream(position, stream)
        if channel is not None and channel.is_live(position):
            if not (stream.persist and stream.ended_before):
                frame = self.whole_stream(stream, position)
                channel.audience.append(frame)
                if channel.chat_audience is not None:
                    channel.chat_audience.append(frame)
            channel.end(stream, self._cursors.at(position))
        elif channel is not None and channel.replay is not None:
            channel.replay.ended[stream.id] = stream

    def whole_stream(self, stream: Stream, position: int) -> bytes:
        """The frame of a stream that ended at a position, for those that receive no streams while they grow."""
        whole = Publish(stream.topic, stream.event, stream.data, stream.user_id, stream.id)
        return self.frame(position, stream.timestamp, whole)

    def replay(
        self, channel: CustomChannel, missed: Sequence[Entry], streams: messages.Streams, cursor: str
    ) -> bytes:
        """What a new subscriber lacks, in order: of the open streams, if it receives them, and the events that it
        `missed`. `cursor` is its own; `streams` is what it says in its command."""
        if streams is False:
            return b"".join(
                each.frame if each.stream is None else self.whole_stream(each.stream, each.position)
                for each in missed
            )
        known = dict(streams) if isinstance(streams, dict) else {}
        parts = self._open_streams(channel.topic, known, cursor)
        for each in missed:
            if each.stream is None:
                parts.append(each.frame)
            else:
                parts.append(self._ended_stream(each, each.stream, known))
        parts += _failed_streams(channel.topic, known, cursor)
        return b"".join(parts)

    def replay_stored(
        self, channel: CustomChannel, stored: Sequence[StoredMessage], known: dict[str, int]
    ) -> None:
        """Deliver persisted messages to all subscribers of a channel, as the events they were. `known` is how many
        pieces of streams they have; streams that they have whole now are taken out of it."""
        for message in stored:
            if message.stream is not None:
                self.stored_end(message)
            frame = self.stored_frame(message, streams=False)
            self._append(channel, frame, None)
            if channel.stream_audience is not None:
                if message.stream is not None:
                    known.pop(message.id, None)
                    frame = self.stored_frame(message, streams=True)
                channel.stream_audience.append(frame)

    def replay_log(
        self, channel: CustomChannel, missed: Sequence[Entry], replay: StoredReplay, cursor: str
    ) -> None:
        """Deliver events that are in the log to all subscribers of a channel, at the end of a replay."""
        growing, known = channel.stream_audience, replay.known
        if growing is not None:
            for frame in self._open_streams(channel.topic, known, cursor):
                growing.append(frame)
        for each in missed:
            without = None if each.without is None else self._connections.get(each.without)
            if each.presence:
                for frame in _split(each.frame):
                    for audience in channel.audiences():
                        audience.append(frame, presence=True)
            elif each.stream is not None:
                self._append(channel, self.whole_stream(each.stream, each.position), None)
                if growing is not None:
                    growing.append(self._ended_stream(each, each.stream, known))
            else:
                self._append(channel, each.frame, without)
                if growing is not None:
                    growing.append(each.frame, without=without)
        if growing is not None:
            for id in [each for each in known if each in replay.ended]:  # the log begins after their ends
                growing.append(_lacking(replay.ended[id], known.pop(id), cursor, ended=True))
            for frame in _failed_streams(channel.topic, known, cursor):
                growing.append(frame)

    def _append(self, channel: CustomChannel, frame: bytes, without: Subscriber | None) -> None:
        """Send an event to the subscribers that do not receive streams while they grow."""
        channel.audience.append(frame, without=without)
        if channel.chat_audience is not None:
            channel.chat_audience.append(as_chat(frame), without=without)

    def _open_streams(self, topic: str, known: dict[str, int], cursor: str) -> list[bytes]:
        """What subscribers lack of the open streams. They are taken out of `known`."""
        lacking = []
        for stream in self._registry.streams.get(topic, {}).values():
            stream.sent = stream.n
            n = known.pop(stream.id, None)
            if n != stream.n:
                lacking.append(_lacking(stream, n, cursor, ended=False))
        return lacking

    def _ended_stream(self, entry: Entry, stream: Stream, known: dict[str, int]) -> bytes:
        return _lacking(stream, known.pop(stream.id, None), self._cursors.of(entry.position), ended=True)

    def presence(self, topic: str, position: int, events: Sequence[bytes]) -> None:
        """Deliver the presence events of one journal item."""
        log = self._registry.log(topic)
        log.counters.presence_events += len(events)
        log.append(position, b"".join(events), presence=True)
        channel = self._heard.get(topic)
        if channel is None or not channel.is_live(position):
            return
        channel.send_pieces()
        for audience in channel.audiences():
            for frame in events:
                audience.append(frame, presence=True)

    def presence_frames(
        self, topic: str, position: int, timestamp: int, changes: Sequence[PresenceChange]
    ) -> list[bytes]:
        """The events of what one journal item changed on a channel."""
        return [
            frames.encode(
                messages.Event(
                    topic=topic,
                    event=change.transition,
                    data=change.state,
                    timestamp=timestamp,
                    id=f"{position:x}" if len(changes) == 1 else f"{position:x}-{part}",
                    cursor=self._cursors.of_part(position, part, len(changes)),
                    user_id=change.user_id,
                    connection_id=change.connection_id,
                )
            )
            for part, change in enumerate(changes, 1)
        ]


def as_chat(data: bytes) -> bytes:
    """Frames of events as the users of the legacy `chat` command receive them."""
    found = []
    for frame in _split(data):
        message = messages.decode_reply(frames.payload(frame))
        if isinstance(message, messages.Event) and message.event == CHAT_MESSAGE:
            frame = frames.encode(
                messages.ChatMessage(
                    message.topic,
                    message.event,
                    message.data,
                    message.timestamp,
                    message.id,
                    message.cursor,
                    message.user_id,
                )
            )
        found.append(frame)
    return b"".join(found)


def _split(data: bytes) -> Iterator[bytes]:
    while data:
        frame, data = data[: frames.size(data)], data[frames.size(data) :]
        yield frame


def _failed_streams(topic: str, known: Mapping[str, int], cursor: str) -> list[bytes]:
    """The ends of streams that ended where the log no longer reaches, or that this server does not know."""
    return [frames.encode(messages.Appended(topic, id, n, n, cursor, state="failed")) for id, n in known.items()]


def _lacking(stream: Stream, n: int | None, cursor: str, *, ended: bool) -> bytes:
    """What a subscriber lacks of a stream that has its first `n` pieces, or nothing of it."""
    if n is None or n > stream.n:
        return so_far(stream, cursor, ended=ended)
    return pieces(stream, n, cursor, ended=ended)
