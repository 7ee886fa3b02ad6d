"""The ways in which frames are written to real sockets: one contract for the transport, send(2) and io_uring."""

import asyncio
import importlib.util
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest
import uvloop

from aerostack_realtime.gateway.websocket.batched_writes import (
    Mode,
    WriteBatch,
    Writer,
    open_batch,
    path_of,
    writer_of,
)
from aerostack_realtime.native import PACKAGE
from tests.flow.wire import PATIENCE_SECONDS

INSTALLED = importlib.util.find_spec(PACKAGE) is not None
MODES: list[Mode] = ["off", "send", "auto"] if INSTALLED else ["off"]
"""`off` is the transport itself, which everything else has to behave like."""


class Accepted(asyncio.Protocol):
    """The server's side of a connection."""

    transport: asyncio.Transport
    writer: Writer | None = None

    def __init__(self) -> None:
        self.made, self.lost = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.made.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self.writer is not None:
            self.writer.lose()
        self.lost.set()

    def attach(self, batch: WriteBatch | None) -> None:
        self.writer = writer_of(batch, self.transport)

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.transport.write if self.writer is None else self.writer.write

    @property
    def buffered(self) -> Callable[[], int]:
        return self.transport.get_write_buffer_size if self.writer is None else self.writer.buffered

    def flush(self) -> None:
        if self.writer is not None:
            self.writer.flush()


class Network:
    """Connections of one event loop over loopback TCP, whose server's sides share a batch."""

    def __init__(self, mode: Mode) -> None:
        self._loop = asyncio.get_running_loop()
        self.batch = open_batch(mode, self._loop.call_soon)
        self._accepted: list[Accepted] = []
        self._server: asyncio.Server
        self._peers: list[socket.socket] = []

    async def __aenter__(self) -> "Network":
        self._server = await self._loop.create_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for each in self._accepted:
            each.transport.abort()
            await each.lost.wait()
        for peer in self._peers:
            peer.close()
        self._server.close()

    def _accept(self) -> Accepted:
        self._accepted.append(Accepted())
        return self._accepted[-1]

    async def connect(self) -> tuple[Accepted, socket.socket]:
        """The server's side of a new connection, and the peer's."""
        peer = socket.socket()
        peer.setblocking(False)
        self._peers.append(peer)
        before = len(self._accepted)
        await self._loop.sock_connect(peer, self._server.sockets[0].getsockname())
        while len(self._accepted) == before:  # noqa: ASYNC110 - a server has no event for it
            await asyncio.sleep(0)
        accepted = self._accepted[-1]
        await accepted.made.wait()
        accepted.attach(self.batch)
        return accepted, peer

    async def read(self, peer: socket.socket, size: int) -> bytes:
        """What a peer receives, up to `size` bytes, or fewer at the end of the connection."""
        found = bytearray()
        while len(found) < size:
            part = await self._loop.sock_recv(peer, size - len(found))
            if not part:
                break
            found += part
        return bytes(found)


def run(mode: Mode, scenario: Callable[[Network], Awaitable[None]]) -> None:
    async def patiently() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), AsyncExitStack() as opened:
            await scenario(await opened.enter_async_context(Network(mode)))

    uvloop.run(patiently())


def numbered(count: int, size: int = 8) -> list[bytes]:
    return [b"%0*d" % (size, number) for number in range(count)]


every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
def test_frames_arrive_in_order_on_each_connection(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        connections = [await network.connect() for _ in range(5)]
        sent = numbered(40)
        for frame in sent:
            for accepted, _ in connections:
                accepted.write(frame)
                accepted.write(b"")
        for _, peer in connections:
            assert await network.read(peer, 320) == b"".join(sent)

    run(mode, scenario)


@every_mode
def test_what_a_deferred_call_writes_is_sent(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        (one, its_peer), (other, other_peer) = await network.connect(), await network.connect()

        def write() -> None:
            one.write(b"one")
            other.write(b"two")

        one.write(b"before ")
        if network.batch is None:
            write()
        else:
            network.batch.run(write)
        assert await network.read(its_peer, 10) == b"before one"
        assert await network.read(other_peer, 3) == b"two"

    run(mode, scenario)


@every_mode
def test_a_peer_that_does_not_read_receives_everything_later(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        (slow, its_peer), (quick, quick_peer) = await network.connect(), await network.connect()
        sent: list[bytes] = []
        while not slow.buffered():
            sent.append(b"%08d" % len(sent) * 4096)
            slow.write(sent[-1])
            quick.write(b"tick")
            assert await network.read(quick_peer, 4) == b"tick"
        sent += numbered(100)
        for frame in sent[-100:]:
            slow.write(frame)
        assert quick.buffered() == 0
        content = b"".join(sent)
        assert await network.read(its_peer, len(content)) == content
        while slow.buffered():  # noqa: ASYNC110 - a transport has no event for it
            await asyncio.sleep(0)
        slow.write(b"afterwards")
        assert await network.read(its_peer, 10) == b"afterwards"

    run(mode, scenario)


@every_mode
@pytest.mark.parametrize("size", [65_535, 65_537, 1 << 20])
def test_large_frames_stay_in_order_with_small_ones(mode: Mode, size: int) -> None:
    async def scenario(network: Network) -> None:
        accepted, peer = await network.connect()
        sent = [b"small", b"x" * size, b"behind", *numbered(3), b"y" * size, b"last"]
        for frame in sent:
            accepted.write(frame)
        content = b"".join(sent)
        assert await network.read(peer, len(content)) == content

    run(mode, scenario)


@every_mode
def test_a_reset_connection_is_lost_and_others_receive(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        (gone, its_peer), (there, other_peer) = await network.connect(), await network.connect()
        its_peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        its_peer.close()
        for frame in numbered(3):
            for each in (gone, there):
                try:
                    each.write(frame)
                except RuntimeError:
                    assert each is gone
            await asyncio.sleep(0)
        assert await network.read(other_peer, 24) == b"".join(numbered(3))
        await gone.lost.wait()
        assert gone.buffered() == 0
        there.write(b"still")
        assert await network.read(other_peer, 5) == b"still"

    run(mode, scenario)


@every_mode
def test_bytes_of_a_lost_connection_reach_no_other(mode: Mode) -> None:
    """The descriptor of a lost connection soon belongs to the next one."""

    async def scenario(network: Network) -> None:
        for number in range(20):
            gone, _ = await network.connect()
            gone.transport.abort()
            try:
                gone.write(b"old")
            except RuntimeError:
                assert mode == "off"
            await gone.lost.wait()
            later, peer = await network.connect()
            later.write(b"%03d" % number)
            assert await network.read(peer, 3) == b"%03d" % number

    run(mode, scenario)


@every_mode
def test_what_was_written_before_a_close_arrives(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        accepted, peer = await network.connect()
        accepted.write(b"good")
        accepted.write(b"bye")
        accepted.flush()
        accepted.transport.close()
        assert await network.read(peer, 100) == b"goodbye"

    run(mode, scenario)


@every_mode
def test_thousands_of_writers_are_sent_in_several_submissions(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        accepted, peer = await network.connect()
        sent = numbered(5_000)
        writers = [writer_of(network.batch, accepted.transport) for _ in sent]
        for frame, writer in zip(sent, writers, strict=True):
            (accepted.write if writer is None else writer.write)(frame)
        received = await network.read(peer, 40_000)
        assert sorted(received[at : at + 8] for at in range(0, 40_000, 8)) == sent

    run(mode, scenario)


@every_mode
def test_an_error_of_a_deferred_call_is_raised_after_the_flush(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        accepted, peer = await network.connect()

        def fail() -> None:
            accepted.write(b"written")
            raise LookupError

        with pytest.raises(LookupError):
            fail() if network.batch is None else network.batch.run(fail)
        assert await network.read(peer, 7) == b"written"

    run(mode, scenario)


class Transport:
    def __init__(self, **facts: object) -> None:
        self._facts = facts

    def get_extra_info(self, name: str) -> Any:
        return self._facts.get(name)


@every_mode
def test_tls_and_unix_sockets_are_written_by_their_transport(mode: Mode) -> None:
    async def scenario(network: Network) -> None:
        accepted, _ = await network.connect()
        found = accepted.transport.get_extra_info("socket")
        with socket.socket(socket.AF_UNIX) as unix:
            for transport in (
                Transport(socket=found, sslcontext=object()),
                Transport(socket=unix),
                Transport(),
            ):
                assert writer_of(network.batch, cast(Any, transport)) is None

    run(mode, scenario)


def test_without_the_package_frames_are_written_by_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    modes: list[Mode] = ["auto", "send", "off"]
    for mode in modes:
        assert path_of(open_batch(mode, lambda _: None)) == "transport"


FORKED = """
import os, socket
from aerostack_batched_writes import WriteBatch
batch = WriteBatch(lambda _: None)
here, there = socket.socketpair()
class Transport:
    def get_write_buffer_size(self): return 0
writers = [batch.writer(Transport(), here.fileno()) for _ in range(2)]
child = os.fork()
if child == 0:
    del writers, batch
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
for writer in writers:
    writer.write(b"sent")
batch.flush()
assert there.recv(100) == b"sentsent"
"""

REFUSED = """
import resource, socket
from aerostack_batched_writes import WriteBatch
here, there = socket.socketpair()
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (there.fileno() + 1, hard))
batch = WriteBatch(lambda _: None)
assert batch.path == "send", batch.path
class Transport:
    def get_write_buffer_size(self): return 0
for _ in range(2):
    batch.writer(Transport(), here.fileno()).write(b"sent")
batch.flush()
assert there.recv(100) == b"sentsent"
"""

if INSTALLED:

    @pytest.mark.parametrize("program", [FORKED, REFUSED], ids=["a fork", "a kernel without io_uring"])
    def test_a_batch_sends_after(program: str) -> None:
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
