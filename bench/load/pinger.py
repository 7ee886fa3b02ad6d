"""A connection in its own process that sends a ping every 10 ms, and what each took the server and this process.

`python -m bench.load.pinger HOST PORT` prints `ready` when it is connected. For each line on its standard input it
waits for the pongs of all pings so far, and prints the `Counts` since the last line as JSON. It ends with its
standard input.

It shares the generator's core with clients and writers that keep it busy. Where it may, it runs with real-time
priority, and the kernel's time stamps (SO_TIMESTAMPNS) say when a pong arrived. So what it waits for its core is
known, and not counted as the server's.
"""

import contextlib
import os
import select
import socket
import sys
from collections import deque
from struct import Struct
from time import CLOCK_REALTIME, clock_gettime_ns

import msgspec

from bench.load import websocket
from bench.load.dialects import Aerostack
from bench.load.latency import Histogram
from bench.machine import LOAD_CORE

_PING = websocket.encode(b'{"type":"ping"}')
_PING_NS = 10_000_000
_HIGHER = 10
"""Above the processes that it was started with, also where these have a real-time priority."""
_SO_TIMESTAMPNS = 35
_TIMESPEC = Struct("@qq")
_BYTES = 65536


class Counts(msgspec.Struct):
    """The three histograms of `bench.pings.Pings`, as `Histogram.dump` gives them."""

    whole: dict[str, int]
    server: dict[str, int]
    own: dict[str, int]


class _Pinger:
    """Pings on a connection of its own. Times are in ns by the clock of the kernel's time stamps."""

    def __init__(self, host: str, port: int) -> None:
        self._sent: deque[tuple[int, int]] = deque()
        """When each ping without a pong was sent, and how late that was."""
        self._whole, self._server, self._own = Histogram(), Histogram(), Histogram()
        self._data = b""
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.sendall(websocket.request(host, port, Aerostack.target, Aerostack.subprotocols))
        while b'"type":"connected"' not in self._data:
            if not (data := self._socket.recv(_BYTES)):
                raise ConnectionError(f"the server answered {self._data[:300]!r}")
            self._data += data
        self._data = b""
        self._socket.setblocking(False)

    def run(self) -> None:
        """Ping until the standard input ends."""
        due, asked = _now(), False
        while True:
            while (now := _now()) >= due:
                self._send(now, due)
                due += _PING_NS
            # Not poll or epoll, which wait for whole milliseconds.
            readable, _, _ = select.select([self._socket, sys.stdin], [], [], (due - now) / 1e9)
            if self._socket in readable:
                self._receive()
            if sys.stdin in readable:
                if not sys.stdin.readline():
                    return
                asked = True
            if asked and not self._sent:
                self._print()
                asked = False

    def _send(self, now: int, due: int) -> None:
        self._sent.append((now, now - due))
        self._socket.sendall(_PING)

    def _receive(self) -> None:
        data, ancillary, _, _ = self._socket.recvmsg(_BYTES, socket.CMSG_SPACE(_TIMESPEC.size))
        now = _now()
        if not data:
            raise ConnectionError("the server hung up")
        arrived = now
        for _, _, stamp in ancillary:  # none on the first: the kernel needs a moment to begin with them
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            arrived = seconds * 1_000_000_000 + nanoseconds
        data, at = self._data + data, 0
        while frame := websocket.decode(data, at):
            at = frame.end
            if frame.opcode == websocket.TEXT:
                sent, late = self._sent.popleft()
                self._whole.add((late + now - sent) / 1e9)
                self._server.add((arrived - sent) / 1e9)
                self._own.add((late + now - arrived) / 1e9)
            elif frame.opcode == websocket.PING:
                self._socket.sendall(websocket.encode(frame.content, websocket.PONG))
        self._data = data[at:]

    def _print(self) -> None:
        found = Counts(self._whole.dump(), self._server.dump(), self._own.dump())
        self._whole, self._server, self._own = Histogram(), Histogram(), Histogram()
        print(msgspec.json.encode(found).decode(), flush=True)


def _now() -> int:
    return clock_gettime_ns(CLOCK_REALTIME)


def main() -> None:
    """Ping until the standard input ends."""
    host, port = sys.argv[1:]
    pinger = _Pinger(host, int(port))
    print("ready", flush=True)
    pinger.run()


if __name__ == "__main__":
    os.sched_setaffinity(0, {LOAD_CORE})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_getparam(0).sched_priority + _HIGHER))
    main()
