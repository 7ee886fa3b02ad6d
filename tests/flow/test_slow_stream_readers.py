"""Readers of streams that do not keep up, and writers that lose their right."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.flow.calls import Http
from tests.flow.stream_wire import Reader, append, open_stream
from tests.flow.test_members import RULES, TABLE, House
from tests.flow.test_slow_subscriber import SETTINGS
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

pytestmark = pytest.mark.database("sqlite")
PIECE = "x" * 20_000
PIECES = 150


async def test_a_reader_that_was_too_slow_resumes_with_one_frame(serve: Serve, dial: Dial) -> None:
    server = await serve(f"{SETTINGS}\nstream_bytes = 4000000\n[[logs]]\npattern = '*'\nmax_bytes = 8000000")
    slow, writer = await dial(server), await dial(server)
    cursor = (await slow.subscribe("slow/resumed", streams=True))["cursor"]
    await open_stream(writer, "slow/resumed")
    text = ""
    for n in range(PIECES):
        text += (piece := f"{n} {PIECE}")
        await append(writer, "slow/resumed", n, piece)
    await append(writer, "slow/resumed", PIECES, state="complete")
    slow.drop()
    again, reader = await dial(server), Reader()
    await again.subscribe("slow/resumed", since=cursor, streams=True)
    await reader.until(again, PIECES, "complete")
    assert (reader.data == text, reader.frames) == (True, 1)


async def test_a_writer_whose_membership_ends_ends_its_stream(serve: Serve, calls: Calls, shell: Shell) -> None:
    await shell(TABLE)
    server = await serve(f"{RULES}\n[limits]\nstream_seconds = 1")
    house = House(server, calls(server))
    for user in ("bot", "ann"):
        await house.add(user)
    writer, wire = await house.user("bot"), await house.user("ann")
    await house.admitted(writer)
    await house.admitted(wire)
    await wire.subscribe("rooms/1", streams=True)
    await open_stream(writer, "rooms/1")
    n = (await append(writer, "rooms/1", 0, "allowed"))["n"]
    await house.remove("bot")
    while (answer := await append(writer, "rooms/1", n, " still"))["type"] == "ack":
        n = answer["n"]  # the deletion is on its way
    assert answer["code"] == "forbidden"
    reader = Reader()
    await reader.until(wire, n, "failed")
    for each in house.wires:
        each.drop()
