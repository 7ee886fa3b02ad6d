"""Publishes of a connection that differ from the one before in their data only: found by their first bytes."""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from msgspec import UNSET, Raw

from aerostack_realtime.channels.repeated_events import RepeatedEvents
from aerostack_realtime.counters import Counters
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.limits.token_bucket import ConnectionRateLimiter
from aerostack_realtime.gateway.websocket.framing import whole_texts_in_python
from aerostack_realtime.native import compiled_or
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.nesting import exceeds

MISSES: Final = 8
"""After eight other reads the connection publishes something else now."""

_value = msgspec.json.Decoder(Raw).decode


def repeated_data_in_python(read: bytes, prefix: bytes, levels: int) -> list[bytes] | None:
    """The data (JSON) of the texts in bytes that are nothing but whole texts of a client, each with `prefix`, one
    value of at most `levels` levels in ASCII, and a closing brace. None for any others."""
    found = []
    begin = len(prefix)
    for text in whole_texts_in_python(read) or ():
        data = text[begin:-1]
        if not (text.startswith(prefix) and text.endswith(b"}") and data.isascii()) or exceeds(data, levels):
            return None
        try:
            if len(_value(data)) != len(data):
                return None  # a space around it
        except msgspec.DecodeError:
            return None
        found.append(data)
    return found or None


repeated_data: Final = compiled_or(repeated_data_in_python, "repeated_data")


def prefix_of(text: bytes, command: messages.Publish) -> bytes | None:
    """What stands before the data of a publish that has no options, if nothing follows it but the closing brace.

    Any other value after it makes the same command with other data: in front of the last member of an object there
    is no way to change what it means.
    """
    if (
        command.persist
        or command.stream
        or not command.echo
        or command.id is not UNSET
        or command.ref is not UNSET
        or command.traceparent is not UNSET
        or command.compacts is not UNSET
    ):
        return None
    end = bytes(command.data) + b"}"
    prefix = text.removesuffix(end)
    key = prefix.rstrip()
    if not text.endswith(end) or not key.endswith(b'"data":'):
        return None
    before = key.removesuffix(b'"data":').rstrip()
    return prefix if before.endswith((b",", b"{")) else None  # and not within another name


class Publisher(Protocol):
    """The session that publishes."""

    @property
    def closed(self) -> int | None: ...

    def heard(self, now: float) -> None: ...
    def fail(self, command: messages.Command, failure: Exception) -> None: ...


class RepeatedPublish:
    """Handles the reads of a connection that bring nothing but repetitions of `command`, whose text had `prefix`.
    `now` is in seconds."""

    __slots__ = (
        "_command",
        "_counters",
        "_events",
        "_limits",
        "_misses",
        "_now",
        "_prefix",
        "_publisher",
        "_size",
        "_throttle",
    )

    def __init__(
        self,
        command: messages.Publish,
        prefix: bytes,
        publisher: Publisher,
        events: RepeatedEvents,
        throttle: ConnectionRateLimiter,
        *,
        counters: Counters,
        limits: Limits,
        now: Callable[[], float],
    ) -> None:
        self._command = command
        self._prefix = prefix
        self._size = len(prefix) + 1
        self._misses = 0
        self._publisher = publisher
        self._events = events
        self._throttle = throttle
        self._counters = counters
        self._limits = limits
        self._now = now

    @property
    def is_outdated(self) -> bool:
        """Whether the connection has not repeated it for a while."""
        return self._misses >= MISSES

    def take(self, read: bytes) -> bool:
        """Handle the bytes of a read, if they bring nothing else and are within all limits; whether it did."""
        limits, publisher = self._limits, self._publisher
        found = repeated_data(read, self._prefix, limits.nesting - 1)
        if found is None:
            self._misses += 1
            return False
        now = self._now()
        total = self._size + len(found[0]) if len(found) == 1 else len(found) * self._size + sum(map(len, found))
        if (
            publisher.closed is not None
            or total > limits.frame_bytes
            or not self._throttle.publishes(len(found), total, now)
        ):
            return False
        self._misses = 0
        publisher.heard(now)
        noted = self._counters.noted
        for data in found:
            noted.append(self._size + len(data))
            try:
                self._events.publish(data)
            except Exception as failure:
                publisher.fail(self._command, failure)
        return True
