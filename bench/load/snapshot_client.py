"""A client in its own process that takes a snapshot of the benchmarks' table and follows the changes after it.

`python -m bench.load.snapshot_client HOST PORT PAUSE` prints `begun` with the first rows, reads nothing for PAUSE
seconds, prints `taken` with the last ones, and ends with the change that inserts a row of customer -1. Then it
prints, as JSON, when it asked and when the first rows, the last ones and that change came (CLOCK_MONOTONIC in s),
how many rows there were and changes after them, and what the table holds now: count, sum(total) and
sum(id * 7 + total). A row that comes twice, and a change that does not fit the row that is there, end it with an
error.
"""

import asyncio
import os
import sys
from array import array
from time import monotonic
from typing import Literal

import msgspec
import uvloop
from msgspec import Struct

from bench.load import websocket
from bench.load.listener import Listener, listen
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE

END = -1
"""The customer of the row after which nothing is written."""
_NO_ROW = -(1 << 62)
_SUBSCRIBE = msgspec.json.encode({"type": "subscribe", "topic": TABLE, "snapshot": True})


class SnapshotResult(Struct, frozen=True):
    """What the client reports."""

    asked: float
    first: float
    last: float
    ended: float
    rows: int
    changes: int
    holds: list[int]


class _Row(Struct):
    id: int
    customer: int
    total: int


class _Frame(Struct):
    type: str
    rows: list[_Row] = []
    last: bool = False
    operation: Literal["INSERT", "UPDATE", "DELETE", ""] = ""
    data: _Row | None = None
    old: _Row | None = None
    recovered: bool | None = None


class SnapshotClient:
    """The table as it comes: `total` by id."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._decode = msgspec.json.Decoder(_Frame).decode
        self._totals = array("q")
        self._asked = self._first = self._last = 0.0
        self._rows = self._changes = 0
        self._listener: Listener | None = None
        self._done: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def take(self, host: str, port: int) -> SnapshotResult:
        """Return with the last change."""
        self._asked = monotonic()
        self._listener = await listen(host, port, None, self._hear)
        self._listener.send(websocket.encode(_SUBSCRIBE))
        gone = asyncio.ensure_future(self._listener.gone.wait())
        await asyncio.wait((self._done, gone), return_when=asyncio.FIRST_COMPLETED)
        if not self._done.done():
            raise ConnectionError("the server closed the connection")
        gone.cancel()
        self._listener.close()
        held = [(id, total) for id, total in enumerate(self._totals) if total != _NO_ROW]
        holds = [len(held), sum(total for _, total in held), sum(id * 7 + total for id, total in held)]
        ended = self._done.result()
        return SnapshotResult(self._asked, self._first, self._last, ended, self._rows, self._changes, holds)

    def _hear(self, content: bytes, now: float) -> None:
        if self._done.done():
            return
        frame = self._decode(content)
        try:
            if frame.type == "snapshot":
                self._load(frame, now)
            elif frame.data is not None:
                self._apply(frame, frame.data, now)
            elif frame.type == "error" or frame.recovered is False:
                raise ValueError(content[:300].decode())
        except ValueError as wrong:
            self._done.set_exception(wrong)

    def _load(self, frame: _Frame, now: float) -> None:
        if not self._first:
            self._first = now
            print("begun", flush=True)
            if self._pause and self._listener is not None:
                self._listener.pause(self._pause)
        for row in frame.rows:
            self._put(row)
        self._rows += len(frame.rows)
        if frame.last:
            self._last = now
            print("taken", flush=True)

    def _apply(self, frame: _Frame, row: _Row, now: float) -> None:
        if not self._last:
            raise ValueError("a change came among the rows")
        self._changes += 1
        before = row if frame.operation == "DELETE" else frame.old
        if before is not None:
            if before.id >= len(self._totals) or self._totals[before.id] != before.total:
                raise ValueError(f"{frame.operation} of {before}, which is not there or not so")
            self._totals[before.id] = _NO_ROW
        if frame.operation != "DELETE":
            self._put(row)
        if row.customer == END:
            self._done.set_result(now)

    def _put(self, row: _Row) -> None:
        totals = self._totals
        if row.id >= len(totals):
            totals.extend([_NO_ROW] * (row.id + 1 + len(totals) // 4 - len(totals)))
        if totals[row.id] != _NO_ROW:
            raise ValueError(f"row {row.id} came twice")
        totals[row.id] = row.total


async def main() -> None:
    """Take it on the generator's core."""
    host, port, pause = sys.argv[1:]
    taken = await SnapshotClient(float(pause)).take(host, int(port))
    print(msgspec.json.encode(taken).decode())


if __name__ == "__main__":
    os.sched_setaffinity(0, {LOAD_CORE})
    os.nice(5)  # the pings of the process that measures share the core, and come first
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
