"""The delivery of a custom channel's event on this node: encoded once, into the log and to the subscribers."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UNSET, Raw, UnsetType

from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.custom.cursors import Cursors
from aerostack_realtime.channels.custom.presence import Change as PresenceChange
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.messages import encode

CHAT_MESSAGE: Final = "chat_message"
"""The event that the legacy `chat` command publishes."""


class Delivery:
    """`connections` are this node's by their ids. The caller guarantees the order of each channel."""

    def __init__(self, registry: Registry, cursors: Cursors, connections: Mapping[str, Subscriber]) -> None:
        self._registry = registry
        self._heard = registry.heard
        self._cursors = cursors
        self._connections = connections

    def publish(self, position: int, timestamp: int, item: Publish, cursor: str) -> None:
        """Deliver an event to the channel's subscribers; without any, keep it for those who resume."""
        channel = self._heard.get(item.topic)
        if channel is None:
            self._registry.log(item.topic).append_item(position, timestamp, item)
            return
        user_id: str | UnsetType = UNSET if item.user_id is None else item.user_id
        id = item.id or f"{position:x}"
        event = messages.Event(item.topic, item.event, Raw(item.data), timestamp, id, cursor, user_id)
        frame = frames.text(encode(event))
        channel.log.append(position, frame)
        without = None if item.without is None else self._connections.get(item.without)
        channel.audience.append(frame, without=without)
        if channel.chat_audience is not None:
            if item.event == CHAT_MESSAGE:
                chat = messages.ChatMessage(item.topic, item.event, Raw(item.data), timestamp, id, cursor, user_id)
                frame = frames.text(encode(chat))
            channel.chat_audience.append(frame, without=without)

    def frame(self, position: int, timestamp: int, item: Publish) -> bytes:
        """The frame of an event that was kept while nobody heard its channel."""
        return frame_of(
            messages.Event(
                topic=item.topic,
                event=item.event,
                data=Raw(item.data),
                timestamp=timestamp,
                id=item.id or f"{position:x}",
                cursor=self._cursors.at(position),
                user_id=UNSET if item.user_id is None else item.user_id,
            )
        )

    def presence(self, topic: str, position: int, events: Sequence[bytes]) -> None:
        """Deliver the presence events of one journal item."""
        self._registry.log(topic).append(position, b"".join(events), presence=True)
        channel = self._heard.get(topic)
        if channel is None:
            return
        for audience in channel.audiences():
            for frame in events:
                audience.append(frame, presence=True)

    def presence_frames(
        self, topic: str, position: int, timestamp: int, changes: Sequence[PresenceChange]
    ) -> list[bytes]:
        """The events of what one journal item changed on a channel."""
        return [
            frame_of(
                messages.Event(
                    topic=topic,
                    event=change.transition,
                    data=change.state,
                    timestamp=timestamp,
                    id=f"{position:x}" if len(changes) == 1 else f"{position:x}-{part}",
                    cursor=self._cursors.of_part(position, part, len(changes)),
                    user_id=change.user_id,
                )
            )
            for part, change in enumerate(changes, 1)
        ]


def frame_of(message: messages.Reply) -> bytes:
    """The text frame of a message."""
    return frames.text(encode(message))
