"""Fan-out: everyone gets the same bytes, once, in one write per tick."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
import uvloop

from aerostack_realtime.channels.fanout.audience import Audience, Behind
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.protocol import frames
from aerostack_realtime.protocol.deflate import compressed
from tests.unit.channels.peers import Peer, Tick


def audience(tick: Tick, limit: int = 1000) -> Audience:
    return Audience(lambda each: tick.defer(each.flush), limit, lambda consumers: None)


def frame(n: int) -> bytes:
    return frames.text(f'{{"n":{n}}}'.encode())


def numbers(peer: Peer) -> list[int]:
    return [message["n"] for message in peer.take()]


def test_a_tick_is_one_write_for_each_subscriber_of_the_same_bytes() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    one, two = Peer("1"), Peer("2")
    all_of_them.add(one, presence=True)
    all_of_them.add(two, presence=True)
    for n in range(3):
        all_of_them.append(frame(n))
    assert one.written == []
    tick.end()
    assert len(one.written) == len(two.written) == 1
    assert one.written[0] is two.written[0]
    assert numbers(one) == [0, 1, 2]


def test_a_subscriber_gets_nothing_from_before_it_came_in_the_same_tick() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    early, late = Peer("1"), Peer("2")
    all_of_them.add(early, presence=True)
    all_of_them.append(frame(1))
    all_of_them.add(late, presence=True)
    all_of_them.append(frame(2))
    tick.end()
    assert (numbers(early), numbers(late)) == ([1, 2], [2])


def test_one_that_leaves_gets_nothing_more_of_the_tick() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    peer = Peer("1")
    all_of_them.add(peer, presence=True)
    all_of_them.append(frame(1))
    all_of_them.remove(peer)
    tick.end()
    assert peer.take() == []


def test_a_slow_subscriber_overflows_and_the_others_are_not_delayed() -> None:
    tick = Tick()
    all_of_them = audience(tick, limit=1000)
    slow, quick = Peer("1"), Peer("2")
    all_of_them.add(slow, presence=True)
    all_of_them.add(quick, presence=True)
    slow.stalled = 1001
    all_of_them.append(frame(1))
    tick.end()
    assert (slow.overflowed, slow.take()) == (1, [])
    assert (quick.overflowed, numbers(quick)) == (0, [1])


class Reset(Peer):
    """A subscriber whose connection was reset a moment ago."""

    @property
    def write(self) -> Callable[[bytes], None]:
        def fail(_: bytes) -> None:
            raise RuntimeError("the handler is closed")

        return fail


@pytest.mark.parametrize("withheld", [False, True])
def test_a_reset_connection_does_not_cost_the_others_their_events(withheld: bool) -> None:
    tick = Tick()
    all_of_them = audience(tick)
    peers = [Reset("1"), Peer("2"), Reset("3"), Reset("4"), Peer("5"), Reset("6")]
    for peer in peers:
        all_of_them.add(peer, presence=peer.connection_id != "4")
    all_of_them.append(frame(1), without=peers[0] if withheld else None)
    tick.end()
    assert [numbers(peer) for peer in peers if not isinstance(peer, Reset)] == [[1], [1]]


def test_uvloop_raises_a_runtime_error_on_a_reset_connection() -> None:
    """What the loop above relies on."""

    async def write_to_a_closed_transport() -> None:
        there: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there.set_result(writer)

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            _, near = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer = await there
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()
            with pytest.raises(RuntimeError):
                writer.transport.write(b"nobody takes this")
            near.close()

    uvloop.run(write_to_a_closed_transport())


def test_presence_is_kept_from_the_quiet_and_an_echo_from_its_sender() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    loud, quiet, sender, quiet_sender = Peer("1"), Peer("2"), Peer("3"), Peer("4")
    for peer in (loud, sender):
        all_of_them.add(peer, presence=True)
    for peer in (quiet, quiet_sender):
        all_of_them.add(peer, presence=False)
    all_of_them.append(frame(1))
    all_of_them.append(frame(2), presence=True)
    all_of_them.append(frame(3), without=sender)
    all_of_them.append(frame(4), without=quiet_sender)
    all_of_them.append(frame(5))
    tick.end()
    assert numbers(loud) == [1, 2, 3, 4, 5]
    assert numbers(quiet) == [1, 3, 4, 5]
    assert numbers(sender) == [1, 2, 4, 5]
    assert numbers(quiet_sender) == [1, 3, 5]


def test_a_subscriber_can_turn_presence_off_and_on_again() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    peer = Peer("1")
    for presence in (True, False, True):
        all_of_them.add(peer, presence=presence)
        all_of_them.append(frame(1), presence=True)
        all_of_them.append(frame(2))
        tick.end()
        assert numbers(peer) == ([1, 2] if presence else [2])
        assert len(all_of_them) == 1


def test_without_subscribers_nothing_is_kept() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    all_of_them.append(frame(1))
    assert tick.deferred == []
    peer = Peer("1")
    all_of_them.add(peer, presence=True)
    tick.end()
    assert peer.take() == []


def test_all_who_negotiated_compression_get_the_same_compressed_bytes() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    plain, one, two = Peer("1"), Peer("2", compression=True), Peer("3", compression=True)
    for peer in (plain, one, two):
        all_of_them.add(peer, presence=True)
    large = frames.text(b'{"n":"' + b"long " * 500 + b'"}')
    all_of_them.append(large)
    all_of_them.append(frame(1))
    tick.end()
    assert plain.written == [large + frame(1)]
    assert one.shared == [compressed(large) + frame(1)]
    assert one.shared[0] is two.shared[0]
    assert all_of_them.counters.deliveries == 6
    assert all_of_them.counters.bytes == len(plain.written[0]) + 2 * len(one.shared[0])


def test_short_frames_are_the_same_bytes_for_everyone() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    plain, packed = Peer("1"), Peer("2", compression=True)
    for peer in (plain, packed):
        all_of_them.add(peer, presence=True)
    all_of_them.append(frame(1))
    tick.end()
    assert plain.written[0] is packed.shared[0]


def test_frames_for_some_are_written_to_those_who_negotiated_compression() -> None:
    tick = Tick()
    all_of_them = audience(tick)
    loud, quiet, sender = (Peer(name, compression=True) for name in "123")
    for peer in (loud, quiet, sender):
        all_of_them.add(peer, presence=peer is not quiet)
    all_of_them.append(frame(1), presence=True)
    tick.end()
    all_of_them.append(frame(2), without=sender)
    tick.end()
    assert loud.shared == sender.shared == [frame(1)]
    assert (numbers(loud), numbers(quiet), numbers(sender)) == ([2], [2], [])
    assert (all_of_them.counters.deliveries, all_of_them.counters.presence_deliveries) == (2, 2)


def test_a_slow_subscriber_that_negotiated_compression_falls_behind() -> None:
    tick, fallen = Tick(), list[tuple[Subscriber, bool]]()

    def fell_behind(_audience: Audience, subscriber: Subscriber, behind: Behind, _sent: Sequence[bytes]) -> bool:
        fallen.append((subscriber, behind.presence))
        return True

    all_of_them = Audience(
        lambda each: tick.defer(each.flush), 1000, lambda consumers: None, fell_behind=fell_behind
    )
    slow, quick = Peer("1", compression=True), Peer("2", compression=True)
    for peer in (slow, quick):
        all_of_them.add(peer, presence=True)
    assert all_of_them.hears_presence(slow) is True
    slow.stalled = 1001
    all_of_them.append(frame(1))
    tick.end()
    all_of_them.append(frame(2))
    tick.end()
    assert fallen == [(slow, True)]
    assert (slow.shared, numbers(slow)) == ([], [1])
    assert quick.shared == [frame(1), frame(2)]
    assert len(all_of_them) == 2
