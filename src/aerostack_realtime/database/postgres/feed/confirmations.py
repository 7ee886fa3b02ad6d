"""Confirms to PostgreSQL what was read of its log, and notices when the server is silent or shuts down."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import psycopg

from aerostack_realtime.database.postgres.feed.retention_window import RetentionWindow, Window
from aerostack_realtime.database.postgres.feed.slot_access import SlotAccess
from aerostack_realtime.database.postgres.wal.stream import ReplicationEnded, ReplicationStream

CONFIRM_SECONDS: Final = 1.0
"""Between two confirmations to the server, and between two checks whether it is silent."""
INSISTENT_REQUESTS: Final = 5
INSISTENT_SECONDS: Final = 1.0
"""A server that shuts down requests a reply again and again until everything is confirmed. It has sent
everything by then, but confirmations are late on purpose: that number of requests in a second means that it is
time to disconnect. Otherwise it requests two replies within its wal_sender_timeout."""


class Confirmations:
    """The confirmations of one consumer, over all its streams.

    `lsn` returns where the consumer stands. `unreachable` is called when the server is silent for more than
    `silence_seconds`.
    """

    def __init__(
        self,
        access: SlotAccess,
        window: Window,
        silence_seconds: float,
        lsn: Callable[[], int],
        unreachable: Callable[[], None],
    ) -> None:
        self.waits_since: float | None = None
        """Since when the consumer waits for the server; None while it reads."""
        self._access = access
        self._window = RetentionWindow(window)
        self._silence_seconds = silence_seconds
        self._lsn = lsn
        self._unreachable = unreachable
        self._requests: deque[float] = deque(maxlen=INSISTENT_REQUESTS)
        self._timer: asyncio.TimerHandle | None = None

    def start(self, stream: ReplicationStream) -> None:
        """Confirm at intervals on `stream`, until `stop`. A silent server aborts the stream."""
        self.waits_since = None
        self._requests.clear()
        self._tick(stream)

    def stop(self) -> None:
        """The stream has ended. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()

    def restart_window(self, lsn: int) -> None:
        """Retain no WAL before `lsn`."""
        self._window.restart(time.monotonic(), lsn)

    def release_window(self) -> None:
        """Retain no WAL that was read: PostgreSQL would run out of disk or drop the slot."""
        self._window.release()

    def requested(self, stream: ReplicationStream) -> None:
        """The server requests a confirmation. Raises ReplicationEnded when it is shutting down."""
        self._confirm(stream, ask=False)
        self._requests.append(time.monotonic())
        many = len(self._requests) == INSISTENT_REQUESTS
        if many and self._requests[-1] - self._requests[0] < INSISTENT_SECONDS:
            raise ReplicationEnded("PostgreSQL is shutting down")

    def _tick(self, stream: ReplicationStream) -> None:
        """Every CONFIRM_SECONDS while the stream is open; more often when silence has to be noticed sooner."""
        limit = self._silence_seconds
        pause = min(CONFIRM_SECONDS, limit / 10)
        self._timer = asyncio.get_running_loop().call_later(pause, self._tick, stream)
        silent = 0.0 if self.waits_since is None else time.monotonic() - self.waits_since
        try:
            if silent > limit:
                self._unreachable()
                raise ReplicationEnded(f"PostgreSQL has been silent for {limit:g} s")
            self._confirm(stream, ask=silent > limit / 3)
        except (psycopg.Error, ReplicationEnded) as error:
            stream.abort(error)

    def _confirm(self, stream: ReplicationStream, *, ask: bool) -> None:
        """The keeper confirms late, so that the slot retains the window; a copy of the slot retains nothing."""
        lsn = self._lsn()
        kept = self._window.kept_from(time.monotonic(), lsn)
        stream.confirm(lsn, kept if self._access.keeper else lsn, time.time_ns() // 1000, ask=ask)
