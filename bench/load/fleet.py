"""Thousands of clients of our server in one process, each of which stays subscribed and resumes from its cursor.

They are driven by epoll without asyncio: a client costs this process less than it costs the server, so that the
server is what limits how fast they return.
"""

import heapq
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

import msgspec

from aerostack_realtime.sdk.backoff import Backoff
from bench.load import websocket
from bench.load.dialects import Aerostack

_READ: Final = 65536
_EVENTS: Final = 256
_WAIT_S: Final = 0.02
"""How long the loop waits for sockets, at most, before it looks at its end again."""
_PAUSE_S: Final = 0.01
"""Between two attempts of a client that does not back off."""
_CLOSE: Final = websocket.encode(b"\x03\xe8", websocket.CLOSE)


class Client:
    """A subscriber of `topic`. After a loss it is back when it is subscribed and has `due` changes."""

    __slots__ = ("backoff", "cursor", "data", "due", "is_back", "is_open", "is_subscribed", "socket", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.backoff = Backoff()
        self.cursor: str | None = None
        self.data = b""
        self.due = 0
        self.is_back = self.is_open = self.is_subscribed = False
        self.socket: socket.socket | None = None


class Fleet:
    """The clients of one server. With `at_once` they do not back off: that many of them connect at a time.

    `attempts`, `failures`, `gaps` and `losses` count since `reset`, and `times` holds when each returned.
    """

    def __init__(self, topics: Sequence[str], at_once: int = 0) -> None:
        self.clients = [Client(each) for each in topics]
        self._at_once = at_once
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Client] = {}
        self._timers: list[tuple[float, int, Client]] = []
        self._queue: deque[Client] = deque()
        self._connecting = 0
        self._order = 0
        self._address = ("", 0)
        self._request = b""
        self.is_held = False
        """Whether clients that are lost wait for `release`."""
        self.reset()

    def reset(self) -> None:
        """Count from now on."""
        self.attempts = self.failures = self.gaps = self.losses = 0
        self.times: list[float] = []
        self.last_loss = 0.0

    def start(self, host: str, port: int, at_once: int) -> None:
        """Connect all of them, `at_once` at a time, and return when they are subscribed."""
        self._address = host, port
        self._request = websocket.request(host, port, Aerostack.target, Aerostack.subprotocols)
        usual, self._at_once = self._at_once, at_once
        self._queue.extend(self.clients)
        self.run(lambda: len(self.times) == len(self.clients))
        self._at_once = usual

    def run(self, until: Callable[[], bool], tick: Callable[[], None] = lambda: None) -> None:
        """Work until `until` returns true; `tick` is called all the time."""
        while not until():
            tick()
            now = monotonic()
            while self._timers and self._timers[0][0] <= now:
                self._connect(heapq.heappop(self._timers)[2])
            while self._queue and self._connecting < self._at_once and not self.is_held:
                self._connecting += 1
                self._connect(self._queue.popleft())
            wait = min(_WAIT_S, self._timers[0][0] - now) if self._timers else _WAIT_S
            for descriptor, events in self._epoll.poll(max(0.0, wait), _EVENTS):
                client = self._by_descriptor.get(descriptor)
                if client is not None:
                    self._ready(client, events)

    def close(self) -> None:
        """End all connections without a closing handshake."""
        for each in self.clients:
            if each.socket is not None:
                each.socket.close()
        self._epoll.close()

    # --- a connection ------------------------------------------------------------------------------------

    def _connect(self, client: Client) -> None:
        self.attempts += 1
        client.data, client.is_open, client.is_subscribed = b"", False, False
        client.socket = connecting = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._by_descriptor[connecting.fileno()] = client
        connecting.connect_ex(self._address)
        try:
            connecting.send(self._request)
        except BlockingIOError:
            self._epoll.register(connecting, select.EPOLLOUT)
        except OSError:
            self._lost(client)
        else:
            self._epoll.register(connecting, select.EPOLLIN)

    def _ready(self, client: Client, events: int) -> None:
        assert client.socket is not None
        try:
            if events & select.EPOLLOUT:
                client.socket.send(self._request)
                self._epoll.modify(client.socket, select.EPOLLIN)
                return
            data = client.socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(client, client.data + data if client.data else data)
        else:
            self._lost(client)

    def _lost(self, client: Client) -> None:
        assert client.socket is not None
        del self._by_descriptor[client.socket.fileno()]
        client.socket.close()  # which takes it out of epoll
        client.socket = None
        if client.is_subscribed:
            if not client.is_back and self._connecting:
                self._connecting -= 1
            client.is_back = False
            self.losses += 1
            self.last_loss = monotonic()
        else:
            self.failures += 1
        if not self._at_once:
            self._later(client, client.backoff.wait())
        elif client.is_subscribed:
            self._queue.append(client)
        else:
            self._later(client, _PAUSE_S)  # it keeps its place among those that connect

    def _later(self, client: Client, seconds: float) -> None:
        self._order += 1
        heapq.heappush(self._timers, (monotonic() + seconds, self._order, client))

    def _take(self, client: Client, data: bytes) -> None:
        at = 0
        if not client.is_open:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                client.data = data
                return
            client.is_open = True
            client.backoff.opened()
        while True:
            begin, end = websocket.bounds(data, at)
            if not begin or end > len(data):
                break
            self._hear(client, data[at] & 0x0F, data[begin:end])
            at = end
        client.data = data[at:]

    def _hear(self, client: Client, opcode: int, content: bytes) -> None:
        if opcode == websocket.TEXT:
            self._read(client, content)
        elif opcode == websocket.PING:
            self._send(client, websocket.encode(content, websocket.PONG))
        elif opcode == websocket.CLOSE:
            self._send(client, _CLOSE)

    def _read(self, client: Client, content: bytes) -> None:
        kind = content[:28]
        if b'"connected"' in kind:
            command = {"type": "subscribe", "topic": client.topic, "since": client.cursor}
            self._send(client, websocket.encode(msgspec.json.encode(command)))
            return
        if b'"db_change"' in kind:
            client.due -= 1
        elif b'"subscribed"' in kind:
            client.is_subscribed = True
            if client.cursor is not None and "/" not in client.topic and b'"recovered":true' not in content:
                self.gaps += 1
        else:
            return
        begin = content.rindex(b'"cursor":"') + 10
        client.cursor = content[begin : content.index(b'"', begin)].decode()
        if client.due <= 0 and client.is_subscribed and not client.is_back:
            client.is_back = True
            if self._connecting:
                self._connecting -= 1
            self.times.append(monotonic())

    def _send(self, client: Client, frame: bytes) -> None:
        if client.socket is not None:
            with suppress(OSError):  # it is lost, and the next read reports it
                client.socket.send(frame)
