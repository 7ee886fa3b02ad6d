"""Writes of many connections in one system call, if the optional package `aerostack-batched-writes` is installed.

Without it, and for connections that are not plain TCP, frames go to the event loop's transports one by one.
docs/decisions/018-batched-writes.md has the reasons and the figures.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Literal, Protocol, cast

from aerostack_realtime.coalescing import Deferred
from aerostack_realtime.native import compiled

Mode = Literal["auto", "send", "off"]
"""`auto`: io_uring where the kernel allows it, else a loop over send(2). `send`: that loop. `off`: transports."""


class Writer(Protocol):
    """The writing side of one connection. Its bytes stay in order, whether they wait here, in the kernel or in the
    transport."""

    def write(self, data: bytes) -> None:
        """Send at the end of this iteration of the event loop. Raises RuntimeError once the connection is lost."""

    def buffered(self) -> int:
        """Bytes that the kernel has refused, and the transport keeps."""

    def flush(self) -> None:
        """Give the transport what waits, before it is closed or aborted."""

    def lose(self) -> None:
        """The connection is lost. Call it before the descriptor is closed: nothing is sent to it afterwards."""


class WriteBatch(Protocol):
    """The writers of one event loop. `path` is how it sends: `io_uring` or `send`."""

    @property
    def path(self) -> str: ...

    def writer(self, transport: asyncio.Transport, fd: int) -> Writer: ...

    def run(self, deferred: Deferred) -> int | None:
        """Call it, then send what was written in it and before it. Returns what it returns."""


def open_batch(mode: Mode, call_soon: Callable[[Callable[[], None]], object]) -> WriteBatch | None:
    """The batch of an event loop, None without the package or with `off`."""
    batch = None if mode == "off" else compiled("WriteBatch")
    return None if batch is None else cast(WriteBatch, batch(call_soon, io_uring=mode == "auto"))


def path_of(batch: WriteBatch | None) -> str:
    """How frames are written: `io_uring`, `send` or `transport`."""
    return "transport" if batch is None else batch.path


def writer_of(batch: WriteBatch | None, transport: asyncio.Transport) -> Writer | None:
    """The writer of a connection over plain TCP, None for any other."""
    if batch is None or transport.get_extra_info("sslcontext") is not None:
        return None
    found = transport.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return batch.writer(transport, found.fileno())
