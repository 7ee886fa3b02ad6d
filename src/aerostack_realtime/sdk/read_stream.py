"""A stream as a reader has it: the text or the items so far, and its pieces as they arrive. No I/O."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.messages import Appended, Event, StreamState


class OutOfSync(Exception):
    """Pieces are missing: the stream has to be requested again."""


class EndedStream(Struct, frozen=True, gc=False):
    """What is remembered of a stream after its end. `length` and `hash` are those of its content if it failed: it
    may continue, because a server that did not know it reports it as failed."""

    timestamp: int
    n: int
    state: StreamState
    length: int
    hash: int

    @classmethod
    def of(cls, stream: "ReadStream") -> "EndedStream":
        content = hash(str(stream.data)) if stream.state == "failed" else 0
        return cls(stream.timestamp, stream.n, stream.state, len(stream.data), content)

    def rest(self, data: Any) -> Any:
        """What is new in `data`: all of it if it does not continue this content."""
        return data[self.length :] if hash(str(data[: self.length])) == self.hash else data


class ReadStream:
    """A message that grows. Iterate over it for its pieces: first what there is already, then each piece as it
    arrives, until the stream ends.

    `data` is what there is so far, a string or a list. `state` is `open`, `complete`, `cancelled` or `failed`. `n`
    is how many pieces the server has sent. Once a program iterates over a stream, the channel's handlers receive
    no further events of it.
    """

    def __init__(self, first: Event) -> None:
        self.id = first.id
        self.event = first.event
        self.user_id = first.user_id or None
        self.timestamp = first.timestamp
        self.data: Any = msgspec.json.decode(first.data)[:0]
        self.state: StreamState = "open"
        self.n = 0
        self._received: Any = self.data  # as the server has sent it: after a change of servers shorter than `data`
        self._handled = self.data  # what the handlers have finished with
        self._before: EndedStream | None = None  # how it had failed, until it continues from there
        self.incomplete = False
        """Whether pieces were discarded, which the server sends again."""
        self._replaced = 0
        self.iterated = False
        """Whether a program iterates over it, or has."""
        self._stopped = False
        self._error: AerostackError | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ReadStream {self.id!r} {self.state}>"

    def __aiter__(self) -> AsyncIterator[Any]:
        """Raises the error that ended the subscription while the stream was open."""
        self.iterated = True
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[Any]:
        given, replaced = 0, self._replaced
        while True:
            if replaced != self._replaced:
                given, replaced = 0, self._replaced
            if len(self.data) > given:
                piece, given = self.data[given:], len(self.data)
                yield piece
            elif self.state != "open" or self._stopped:
                if self._error is not None:
                    raise self._error
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    # --- called by the subscription ------------------------------------------------------------------------

    def _replace(self, event: Event) -> Any:
        """What there is so far arrived; returns what is new of it, None when nothing is."""
        assert event.stream is not UNSET, "it is the event of a stream"
        self._received, self.n = msgspec.json.decode(event.data), event.stream.n
        self.incomplete = self._stopped = False
        return self._advance(event.stream.state)

    def _append(self, appended: Appended) -> Any:
        """Pieces arrived; returns what is new of them, None when nothing is. Raises OutOfSync."""
        state: StreamState = appended.state or "open"
        if appended.to < self.n or (appended.to == self.n and state == "open"):
            return None
        if appended.n != self.n:
            raise OutOfSync
        if appended.data is not UNSET:
            self._received = self._received + msgspec.json.decode(appended.data)
        self.n = appended.to
        return self._advance(state)

    @property
    def _is_repeat(self) -> bool:
        """Whether the handlers have had all of it before."""
        before = self._before
        return before is not None and self.n <= before.n and self.state in ("open", "failed")

    def _forget(self) -> None:
        """What was not handled is discarded."""
        self.data, self.state = self._handled, "open"
        self._received, self.n, self.incomplete = self.data[:0], 0, True

    def _stop(self, error: AerostackError | None) -> None:
        """No more pieces will arrive."""
        self._stopped, self._error = True, error
        self._changed.set()

    def _advance(self, state: StreamState) -> Any:
        """Take over what was received, unless it is a part of what there is already."""
        shown, received = self.data, self._received
        changed = state != self.state
        if received[: len(shown)] == shown:
            delta = received[len(shown) :]
        elif shown[: len(received)] == received:
            received, delta = shown, received[:0]
        else:
            delta = received
            self._replaced += 1
        first = self.n == 0 and not shown and state == "open"
        self.data, self.state = received, state
        self._changed.set()
        return delta if delta or changed or first else None
