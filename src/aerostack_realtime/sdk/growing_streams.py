"""The open streams of one channel, as a reader has them. No I/O, no clock."""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import UNSET

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.messages import Appended, Event
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.read_stream import EndedStream, OutOfSync, ReadStream

ENDED_LIMIT: Final = 8192
"""Ended streams that are remembered, because a resumption may repeat them."""


class GrowingStreams:
    """Frames go in, payloads come out: each piece once, however often the server sends it."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._open: dict[str, ReadStream] = {}
        self._ended: dict[str, EndedStream] = {}
        self._unhandled: dict[str, ReadStream] = {}
        """Streams that have ended and whose last event waits for the handlers."""

    def __iter__(self) -> Iterator[ReadStream]:
        return iter(self._open.values())

    @property
    def known(self) -> dict[str, int]:
        """How many pieces there are of each open stream, as `subscribe` names them."""
        return {id: stream.n for id, stream in self._open.items() if not stream.incomplete}

    def event(self, reply: Event) -> Payload | None:
        """Process what there is so far of a stream. One that has ended here may be open elsewhere in a cluster."""
        assert reply.stream is not UNSET, "it is the event of a stream"
        stream = self._open.get(reply.id)
        if stream is None:
            ended = self._ended.get(reply.id)
            if ended is not None and ended.timestamp != reply.timestamp:
                if reply.stream.state != "open":
                    return None
                ended = None
            if ended is not None and ended.state != "failed":
                return None
            stream = self._open[reply.id] = ReadStream(reply)
            stream._before = ended
        return self._progress(stream, stream._replace(reply), reply.cursor)

    def append(self, reply: Appended) -> Payload | None:
        """Process pieces. Raises OutOfSync when some before them are missing."""
        stream = self._open.get(reply.id)
        if stream is None or stream.incomplete:
            return None
        try:
            delta = stream._append(reply)
        except OutOfSync:
            del self._open[reply.id]
            raise
        return self._progress(stream, delta, reply.cursor)

    def handled(self, payload: Payload) -> None:
        """The handlers have finished with an event of a stream."""
        if payload.stream is not None:
            payload.stream._handled = payload.data
            if payload.state != "open":
                self._unhandled.pop(payload.stream.id, None)

    def forget_unhandled(self) -> None:
        """The events that wait for the handlers are discarded: the server sends their pieces again."""
        for id, stream in self._unhandled.items():
            self._open[id] = stream
            self._ended.pop(id, None)
        self._unhandled.clear()
        for stream in self._open.values():
            stream._forget()

    def stop(self, error: AerostackError | None) -> None:
        """No more pieces will arrive: end the iterations."""
        for stream in self._open.values():
            stream._stop(error)

    def clear(self) -> None:
        """The subscription has ended."""
        self._open.clear()
        self._unhandled.clear()

    def _progress(self, stream: ReadStream, delta: Any, cursor: str) -> Payload | None:
        before, is_repeat = stream._before, stream._is_repeat
        if stream.state != "open":
            del self._open[stream.id]
            if not is_repeat:
                self._ended[stream.id] = EndedStream.of(stream)
                self._unhandled[stream.id] = stream
            if len(self._ended) > ENDED_LIMIT:
                del self._ended[next(iter(self._ended))]
        if is_repeat:
            return None
        if before is not None:
            stream._before, delta = None, before.rest(stream.data)
        if delta is None:
            return None
        return Payload(
            type="event",
            topic=self._topic,
            event=stream.event,
            data=stream.data,
            user_id=stream.user_id,
            timestamp=stream.timestamp,
            id=stream.id,
            cursor=cursor,
            delta=delta,
            state=stream.state,
            stream=stream,
        )
