"""A writer of a stream, without a connection: what it sends after which answer."""

import asyncio

from aerostack_realtime.protocol.errors import NotFound
from aerostack_realtime.protocol.messages import Ack, Append, Publish
from aerostack_realtime.sdk.write_stream import WriteStream

MISSING = NotFound("There is no open stream 's' on this channel; open it first.")


class Connection:
    """Keeps what is sent."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[Publish | Append] = []

    def begin(self, ref: str, writer: WriteStream) -> None:
        self.writer = writer
        writer._connected()

    def end(self, ref: str) -> None:
        """Nothing is routed here."""

    def send_piece(self, command: Publish | Append) -> None:
        self.sent.append(command)


def opened(n: int) -> Ack:
    return Ack("s", "1.1", 1, n=n, state="open")


async def test_a_stream_that_the_server_lost_is_opened_again_once() -> None:
    connection = Connection()
    stream = WriteStream(connection, "chat/1", "answer", "", "s", False)
    opening = asyncio.create_task(stream.open())
    await asyncio.sleep(0)
    stream._acked(opened(0))
    await opening
    for piece in ("one ", "two ", "three"):
        await stream.append(piece)
    connection.sent.clear()
    for _ in range(3):  # one answer for each piece that was under way
        stream._refused(MISSING)
    assert [type(command) for command in connection.sent] == [Publish]
    stream._acked(opened(0))
    assert [command.n for command in connection.sent if isinstance(command, Append)] == [0, 1, 2]
