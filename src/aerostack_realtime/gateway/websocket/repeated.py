"""Publishes of a connection that differ from the one before in their data and id only, found by the bytes that all
of them have."""

from collections.abc import Callable
from typing import Final, Protocol

from msgspec import UNSET, Raw

from aerostack_realtime.channels.outcome import Done
from aerostack_realtime.channels.repeated_events import RepeatedEvents
from aerostack_realtime.gateway.limits.token_bucket import ConnectionRateLimiter
from aerostack_realtime.gateway.websocket.publish_shapes import PublishShape, repeated_publishes
from aerostack_realtime.gateway.websocket.services import Services
from aerostack_realtime.protocol import messages

MISSES: Final = 8
"""After eight other reads the connection publishes something else now."""


class Publisher(Protocol):
    """The session that publishes."""

    @property
    def closed(self) -> int | None: ...

    def heard(self, now: float) -> None: ...
    def fail(self, command: messages.Command, failure: Exception) -> None: ...
    def write_reply(self, data: bytes) -> None: ...


class RepeatedPublish:
    """Handles the reads of a connection that bring nothing but repetitions of `command`, whose text has `shape`.
    `answer` makes the answer to a publish with an id that is not accepted at once."""

    __slots__ = (
        "_answer",
        "_before",
        "_behind",
        "_between",
        "_command",
        "_counters",
        "_events",
        "_levels",
        "_limits",
        "_misses",
        "_now",
        "_publisher",
        "_throttle",
    )

    def __init__(
        self,
        command: messages.Publish,
        shape: PublishShape,
        publisher: Publisher,
        events: RepeatedEvents,
        throttle: ConnectionRateLimiter,
        answer: Callable[[messages.Publish], Done],
        services: Services,
    ) -> None:
        self._command = command
        self._before, self._between, self._behind = shape.before, shape.between, shape.behind
        self._misses = 0
        self._publisher = publisher
        self._events = events
        self._throttle = throttle
        self._answer = answer
        self._counters = services.hub.counters
        self._levels = services.limits.nesting - 1
        self._limits = services.limits
        self._now = services.now

    @property
    def is_outdated(self) -> bool:
        """Whether the connection has not repeated it for a while."""
        return self._misses >= MISSES

    def take(self, read: bytes) -> bool:
        """Handle the bytes of a read, if they bring nothing else and are within all limits; whether it did."""
        found = repeated_publishes(read, self._before, self._between, self._behind, self._levels)
        if found is None:
            self._misses += 1
            return False
        now, publisher = self._now(), self._publisher
        total = found[0][2] if len(found) == 1 else sum([size for _, _, size in found])
        if (
            publisher.closed is not None
            or total > self._limits.frame_bytes
            or not self._throttle.publishes(len(found), total, now)
        ):
            return False
        self._misses = 0
        publisher.heard(now)
        events, noted, alone = self._events, self._counters.noted, len(found) == 1
        acks: list[bytes] = []
        for data, id, size in found:
            noted.append(size)
            try:
                ack = events.publish(data, id)
                if ack:
                    acks.append(ack)
                elif ack is None:
                    acks = self._acknowledge(acks, now)
                    answer = None if id is None else self._answer(self._with(data, id))
                    events.publish_otherwise(data, id, answer, alone=alone)
            except Exception as failure:
                acks = self._acknowledge(acks, now)
                publisher.fail(self._with(data, id), failure)
        if acks:
            self._acknowledge(acks, now)
        return True

    def _with(self, data: bytes, id: str | None) -> messages.Publish:
        known = self._command
        return messages.Publish(known.topic, known.event, Raw(data), id=UNSET if id is None else id)

    def _acknowledge(self, acks: list[bytes], came: float) -> list[bytes]:
        """Write the acknowledgements of publishes that came at a time. Returns a list for the next ones."""
        if acks:
            self._counters.acknowledged += [self._now() - came] * len(acks)
            self._publisher.write_reply(b"".join(acks))
        return []
