"""What a session does when its socket is gone before it was told."""

import asyncio
from contextlib import suppress

import pytest
import uvloop

from aerostack_realtime.gateway.session import unfailing


async def _write_to_a_closed_transport() -> None:
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
            writer.transport.write(b"as uvloop has it")
        unfailing(writer.transport.write)(b"nobody takes this")
        near.close()


def test_writing_to_a_connection_that_was_just_reset_is_no_error() -> None:
    uvloop.run(_write_to_a_closed_transport())
