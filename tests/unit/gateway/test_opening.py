"""A connection until its first bytes: who serves it, and that it counts as a pending socket meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from msgspec.structs import replace

from aerostack_realtime.gateway.limits.connections import PendingSockets
from aerostack_realtime.gateway.limits.settings import UNLIMITED, Limits
from aerostack_realtime.gateway.opening import Opening, Waiting
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.upgrade import Upgrade
from tests.unit.gateway.websocket.test_upgrade import PLAIN

LIMITS = replace(UNLIMITED, connections_per_address=1, handshake_seconds=10.0)
MANY = replace(LIMITS, connections_per_address=0)


class Line:
    """A transport."""

    def __init__(self) -> None:
        self.closed = self.aborted = False
        self.protocol: asyncio.BaseProtocol | None = None

    def get_extra_info(self, name: str) -> Any:
        return ("10.0.0.1", 5000) if name == "peername" else None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Http(asyncio.Protocol):
    """The HTTP protocol of a connection: what it is given."""

    def __init__(self, address: str, deadline: asyncio.TimerHandle) -> None:
        self.address = address
        self.deadline = deadline
        self.received = b""
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data


class Place:
    """A listener's part: what opens WebSockets, what serves HTTP, and the sockets that are pending."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.admitting = True
        self.opened: list[Upgrade] = []
        self.served: list[Http] = []
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.waiting = Waiting(limits, lambda: self.now, lambda at, call: self.timers.append((at, call)))
        self.pending = PendingSockets(limits, Proxies([]), lambda: 0.0)

    def admits(self, request: Upgrade) -> bool:
        return self.admitting and request.remote == "10.0.0.1"

    def open(self, request: Upgrade, transport: asyncio.Transport) -> None:
        assert self.pending.total == 0, "it does not count as pending any more"
        self.opened.append(request)

    def serve(self, address: str, deadline: asyncio.TimerHandle) -> asyncio.Protocol:
        self.served.append(Http(address, deadline))
        return self.served[-1]

    def pass_time(self, until: float) -> None:
        """Let the timers run that are due by then."""
        while due := [each for each in self.timers if each[0] <= until]:
            self.timers.remove(due[0])
            self.now, call = due[0]
            call()
        self.now = until

    def connect(self, *, upgrades: bool = True) -> tuple[Opening, Line]:
        line = Line()
        opening = Opening(self.limits, self.pending, self if upgrades else None, self.serve, self.waiting)
        opening.connection_made(cast(asyncio.Transport, line))
        return opening, line


@pytest.fixture
async def place() -> Place:
    return Place()


async def test_a_plain_request_for_a_websocket_never_reaches_aiohttp(place: Place) -> None:
    opening, _ = place.connect()
    assert (place.pending.total, len(place.waiting)) == (1, 1)
    opening.data_received(PLAIN + b"rest")
    assert [each.rest for each in place.opened] == [b"rest"]
    assert (place.served, len(place.waiting)) == ([], 0)
    opening.connection_lost(None)
    assert place.pending.total == 0, "it is counted once"


@pytest.mark.parametrize("first", [PLAIN[:1], PLAIN[:-1], b"POST / HTTP/1.1\r\n\r\n", b"\x00"])
async def test_any_other_bytes_are_served_by_aiohttp(place: Place, first: bytes) -> None:
    opening, line = place.connect()
    opening.data_received(first)
    [http] = place.served
    assert (http.received, http.address) == (first, "10.0.0.1")
    assert http.transport is cast(Any, line)
    assert line.protocol is http
    assert not http.deadline.cancelled(), "the request has to be complete in the same time"
    assert (place.opened, len(place.waiting), place.pending.total) == ([], 0, 1)


async def test_a_request_that_is_not_admitted_is_answered_by_aiohttp(place: Place) -> None:
    place.admitting = False
    opening, _ = place.connect()
    opening.data_received(PLAIN)
    assert [each.received for each in place.served] == [PLAIN]


async def test_a_listener_without_websockets_leaves_everything_to_aiohttp(place: Place) -> None:
    opening, _ = place.connect(upgrades=False)
    opening.data_received(PLAIN)
    assert [each.received for each in place.served] == [PLAIN]


async def test_a_socket_beyond_the_limits_is_cut_and_its_bytes_are_ignored(place: Place) -> None:
    place.connect()
    opening, line = place.connect()
    assert line.aborted
    opening.data_received(PLAIN)
    opening.connection_lost(None)
    assert (place.opened, place.served, place.pending.total) == ([], [], 1)


async def test_a_connection_that_is_lost_before_its_first_bytes_is_forgotten(place: Place) -> None:
    opening, _ = place.connect()
    opening.connection_lost(None)
    assert (place.pending.total, len(place.waiting)) == (0, 0)


async def test_a_listener_can_close_connections_that_wait(place: Place) -> None:
    opening, line = place.connect()
    opening.close()
    assert line.closed


async def test_a_connection_that_sends_nothing_is_closed_in_time(place: Place) -> None:
    _, line = place.connect()
    place.pass_time(9.9)
    assert not line.closed
    place.pass_time(10.0)
    assert (line.closed, place.timers) == (True, [])


async def test_one_timer_closes_each_connection_at_its_own_time() -> None:
    place = Place(MANY)
    lines = []
    for second in range(5):
        place.pass_time(second)
        lines.append(place.connect())
    assert len(place.timers) == 1
    lines[0][0].connection_lost(None)
    lines[2][0].connection_lost(None)
    for until, closed in ((10.0, []), (11.0, [1]), (12.5, [1]), (14.0, [1, 3, 4])):
        place.pass_time(until)
        assert [each for each, (_, line) in enumerate(lines) if line.closed] == closed
    assert place.timers == []
    place.connect()
    assert [at for at, _ in place.timers] == [24.0]


async def test_a_whole_request_has_to_come_in_what_is_left_of_the_time() -> None:
    place, loop = Place(), asyncio.get_running_loop()
    place.now = loop.time()
    came, (opening, _) = place.now, place.connect()
    place.now += 4.0
    opening.data_received(b"POST / HTTP/1.1\r\n")
    [http] = place.served
    assert http.deadline.when() == came + 10.0
    http.deadline.cancel()
