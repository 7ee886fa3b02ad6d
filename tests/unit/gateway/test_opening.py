"""A connection until its first bytes: who serves it, and that it counts as a pending socket meanwhile."""

import asyncio
from typing import Any, cast

import pytest
from msgspec.structs import replace

from aerostack_realtime.gateway.limits.connections import PendingSockets
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from aerostack_realtime.gateway.opening import Opening
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.upgrade import Upgrade
from tests.unit.gateway.websocket.test_upgrade import PLAIN

LIMITS = replace(UNLIMITED, connections_per_address=1)


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

    def __init__(self) -> None:
        self.admitting = True
        self.opened: list[Upgrade] = []
        self.served: list[Http] = []
        self.waiting: set[Opening] = set()
        self.pending = PendingSockets(LIMITS, Proxies([]), lambda: 0.0)

    def admits(self, request: Upgrade) -> bool:
        return self.admitting and request.remote == "10.0.0.1"

    def open(self, request: Upgrade, transport: asyncio.Transport) -> None:
        assert self.pending.total == 0, "it does not count as pending any more"
        self.opened.append(request)

    def serve(self, address: str, deadline: asyncio.TimerHandle) -> asyncio.Protocol:
        self.served.append(Http(address, deadline))
        return self.served[-1]

    def connect(self, *, upgrades: bool = True) -> tuple[Opening, Line]:
        line = Line()
        opening = Opening(LIMITS, self.pending, self if upgrades else None, self.serve, self.waiting)
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
    assert (place.served, place.waiting) == ([], set())
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
    assert (place.opened, place.waiting, place.pending.total) == ([], set(), 1)


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
    assert (place.pending.total, place.waiting) == (0, set())


async def test_a_listener_can_close_connections_that_wait(place: Place) -> None:
    opening, line = place.connect()
    opening.close()
    assert line.closed
