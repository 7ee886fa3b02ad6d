"""An upgraded connection: every frame to its peer, in order, whatever has to be waited for."""

import asyncio
from typing import Any, cast

import pytest

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.protocol import PART, TURN, WebSocketProtocol
from tests.flow.wire import BINARY, CLOSE, PATIENCE_SECONDS, PING, PONG, frame
from tests.unit.gateway.websocket.connection import Connection


@pytest.fixture
async def connection() -> Connection:
    return Connection()


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def test_a_frame_is_handled_in_the_step_in_which_it_is_read(connection: Connection) -> None:
    connection.socket.data_received(frame(b"one") + frame(b"p", PING) + frame(b"", PONG) + frame(b"b", BINARY))
    assert connection.peer.received == [b"one", ("ping", b"p"), "pong", "binary"]


class Repetitions:
    """Takes the reads that begin with the frame of `again`."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def take(self, read: bytes) -> bool:
        if not read.startswith(frame(b"again")):
            return False
        self.taken.append(read)
        return True


async def test_reads_that_repeat_a_publish_are_handed_over_first(connection: Connection) -> None:
    repetitions = Repetitions()
    connection.socket.repeated = cast(Any, repetitions)
    again = frame(b"again")
    connection.socket.data_received(again)
    connection.socket.data_received(frame(b"other") + again)
    assert (repetitions.taken, connection.peer.received) == ([again], [b"other", b"again"])


async def test_no_repetition_overtakes_what_came_before(connection: Connection) -> None:
    repetitions = Repetitions()
    connection.socket.repeated = cast(Any, repetitions)
    again = frame(b"again")
    connection.socket.data_received(frame(b"wait"))
    connection.socket.data_received(again)
    assert (repetitions.taken, connection.peer.received) == ([], [b"wait"])
    await connection.peer.release()
    assert connection.peer.received == [b"wait", "waited", b"again"]
    connection.socket.data_received(frame(b"cut")[:3])
    connection.socket.data_received(frame(b"cut")[3:])
    connection.socket.data_received(again[:2])
    connection.socket.data_received(again[2:] + again)
    assert connection.peer.received[3:] == [b"cut", b"again", b"again"]
    connection.socket.data_received(again)
    assert repetitions.taken == [again]


async def test_what_came_with_the_handshake_is_heard_after_the_answer(connection: Connection) -> None:
    late = WebSocketProtocol(cast(Any, connection.network), Limits(), connection.left.append)
    late.serve(connection.peer, b"answer", frame(b"early")[:4])
    late.data_received(frame(b"early")[4:])
    assert (connection.network.written, connection.peer.received) == ([b"first", b"answer"], [b"early"])


@pytest.mark.parametrize("size", [1, 7, PART, 100_000])
async def test_frames_arrive_whole_and_in_order_however_they_are_cut(connection: Connection, size: int) -> None:
    said = [b"x" * length for length in (0, 1, 125, 126, PART, 70_000)]
    data = b"".join(frame(each) for each in said)
    for at in range(0, len(data), size):
        connection.socket.data_received(data[at : at + size])
    assert connection.peer.received == said


async def test_what_comes_after_a_command_that_takes_time_waits_for_it(connection: Connection) -> None:
    connection.socket.data_received(frame(b"wait") + frame(b"two"))
    connection.socket.data_received(frame(b"three"))
    assert connection.peer.received == [b"wait"]
    assert connection.peer.shown == [b"two", b"three"], "it may be known beforehand"
    await connection.peer.release()
    assert connection.peer.received == [b"wait", "waited", b"two", b"three"]


async def test_no_more_than_a_part_of_what_has_to_wait_is_read(connection: Connection) -> None:
    large = b"x" * 30_000
    connection.socket.data_received(frame(b"wait"))
    for _ in range(2):
        connection.socket.data_received(frame(large))
    assert connection.network.done == []
    connection.socket.data_received(frame(b"y" * 10_000))
    connection.socket.data_received(frame(b"late"))
    assert connection.network.done == ["pause"]
    assert connection.peer.shown == [large, large]
    await connection.peer.release()
    assert connection.peer.received == [b"wait", "waited", large, large, b"y" * 10_000, b"late"]
    assert connection.network.done == ["pause", "resume"]


async def test_signs_of_life_are_heard_during_a_command_that_takes_time(connection: Connection) -> None:
    connection.socket.data_received(frame(b"wait") + frame(b"two"))
    connection.socket.data_received(frame(b"", PONG) + frame(b"p", PING))
    assert connection.peer.received == [b"wait", "pong", ("ping", b"p")]
    await connection.peer.release()
    assert connection.peer.received[3:] == ["waited", b"two"]


async def test_what_waits_for_two_commands_is_shown_to_each(connection: Connection) -> None:
    connection.socket.data_received(frame(b"wait 1") + frame(b"wait 2") + frame(b"three"))
    assert connection.peer.shown == [b"wait 2", b"three"]
    await connection.peer.release()
    assert connection.peer.shown[2:] == [b"three"]


@pytest.mark.parametrize("said", [b"", frame(b"two") + frame(b"\x03\xe8", CLOSE)])
async def test_a_command_that_takes_time_learns_that_its_client_is_leaving(
    connection: Connection, said: bytes
) -> None:
    connection.socket.data_received(frame(b"wait"))
    if said:
        connection.socket.data_received(said)
    else:
        connection.socket.connection_lost(None)
    assert connection.peer.shown[-1] == "leaving"
    assert connection.peer.gone == 0


async def test_several_that_take_time_are_carried_out_one_by_one(connection: Connection) -> None:
    connection.socket.data_received(b"".join(frame(each) for each in (b"wait 1", b"a", b"wait 2", b"b")))
    await connection.peer.release()
    assert connection.peer.received == [b"wait 1", "waited", b"a", b"wait 2"]
    await connection.peer.release()
    assert connection.peer.received == [b"wait 1", "waited", b"a", b"wait 2", "waited", b"b"]


async def test_a_flood_of_frames_lets_the_others_have_their_turn(connection: Connection) -> None:
    said = numbered(10_000)
    data = b"".join(frame(each) for each in said)
    connection.socket.data_received(data)
    at_once = len(connection.peer.received)
    assert at_once == TURN
    connection.socket.data_received(frame(b"last"))
    while connection.network.done == ["pause"]:
        before = len(connection.peer.received)
        await asyncio.sleep(0)
        assert len(connection.peer.received) - before <= TURN
    assert connection.network.done == ["pause", "resume"]
    assert connection.peer.received == [*said, b"last"]


async def test_one_read_may_hold_more_than_a_turn(connection: Connection) -> None:
    said = numbered(TURN + 10)
    data = b"".join(frame(each) for each in said)
    assert len(data) < PART
    connection.socket.data_received(data)
    assert connection.peer.received == said[:TURN]
    connection.socket.connection_lost(None)
    assert connection.peer.gone == 0
    await asyncio.sleep(0)
    assert (connection.peer.received, connection.peer.gone) == (said, 1)


async def test_a_flood_is_not_listened_to_any_more_once_the_peer_has_closed(connection: Connection) -> None:
    connection.peer.closed = 4400
    connection.socket.data_received(b"".join(frame(each) for each in numbered(10_000)))
    await asyncio.sleep(0)
    connection.socket.data_received(frame(b"more"))
    assert len(connection.peer.received) == TURN
    assert connection.network.done == []


async def test_a_flood_that_was_lost_behind_a_close_is_over(connection: Connection) -> None:
    connection.socket.data_received(b"".join(frame(each) for each in numbered(10_000)))
    connection.peer.closed = 4400
    connection.socket.connection_lost(None)
    await asyncio.sleep(0)
    assert (connection.peer.gone, connection.left) == (1, [connection.socket])


async def test_an_unanswered_close_frame_ends_the_connection(connection: Connection) -> None:
    connection.socket.hang_up()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await connection.network.aborted.wait()


async def test_what_was_said_before_the_connection_was_lost_is_handled(connection: Connection) -> None:
    connection.socket.data_received(frame(b"wait") + frame(b"two"))
    connection.socket.connection_lost(None)
    assert connection.peer.gone == 0
    await connection.peer.release()
    assert connection.peer.received == [b"wait", "waited", b"two"]
    assert (connection.peer.gone, connection.left) == (1, [connection.socket])


async def test_a_lost_connection_is_reported_at_once_when_idle(connection: Connection) -> None:
    connection.socket.data_received(frame(b"half")[:3])
    connection.socket.connection_lost(ConnectionResetError())
    assert (connection.peer.gone, connection.left) == (1, [connection.socket])


async def test_a_close_frame_ends_it_and_nothing_after_it_is_heard(connection: Connection) -> None:
    connection.socket.data_received(frame(b"\x03\xe9", CLOSE) + frame(b"late"))
    connection.socket.data_received(frame(b"later"))
    assert (connection.peer.closed, connection.network.done, connection.peer.received) == (1001, ["close"], [])


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xf1\x80\0\0\0\0", 1002), (frame(b"x", 3), 1002), (b"\x81\xff\0\0\0\0\0\x20\0\0\0\0\0\0", 1009)],
)
async def test_an_invalid_frame_ends_it_with_its_code(connection: Connection, data: bytes, code: int) -> None:
    connection.socket.data_received(frame(b"one") + data)
    connection.socket.data_received(frame(b"two"))
    assert (connection.peer.received, connection.peer.closed) == ([b"one"], code)


async def test_a_peer_that_fails_ends_its_own_connection(connection: Connection) -> None:
    connection.socket.data_received(frame(b"fail") + frame(b"two"))
    assert (connection.peer.received, connection.peer.closed) == ([b"fail"], 1011)


@pytest.mark.parametrize("lost_before", [True, False])
async def test_one_that_waits_can_be_cut(connection: Connection, *, lost_before: bool) -> None:
    connection.socket.data_received(frame(b"wait") + frame(b"two"))
    if lost_before:
        connection.socket.connection_lost(None)
    connection.socket.abort()
    if not lost_before:
        connection.socket.connection_lost(None)
    await connection.peer.release()
    assert (connection.network.done, connection.peer.received) == (["abort"], [b"wait"])
    assert (connection.peer.gone, connection.left) == (1, [connection.socket])


@pytest.mark.parametrize("end", [frame(b"\x03\xe8", CLOSE), b"\xf1\x80\0\0\0\0", frame(b"fail")])
@pytest.mark.parametrize("lost_before", [True, False])
async def test_an_end_behind_a_slow_command_is_reported_once(
    connection: Connection, end: bytes, *, lost_before: bool
) -> None:
    connection.socket.data_received(frame(b"wait") + end)
    if lost_before:
        connection.socket.connection_lost(None)
    await connection.peer.release()
    if not lost_before:
        connection.socket.connection_lost(None)
    assert connection.peer.received[:2] == [b"wait", "waited"]
    assert (connection.peer.gone, connection.left) == (1, [connection.socket])
