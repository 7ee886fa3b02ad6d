"""Readers of streams that do not keep up, and writers that lose their right."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.flow.calls import Http
from tests.flow.stream_wire import Reader, append, open_stream
from tests.flow.test_members import RULES, TABLE, House
from tests.flow.test_slow_subscriber import DATA, SETTINGS
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

pytestmark = pytest.mark.database("sqlite")
PIECE = "x" * 20_000
PIECES = 150
KIB = "y" * 1_024
ROUNDS = 100


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


@pytest.mark.parametrize("policy", ["resume", "latest", "drop"])
async def test_a_slow_reader_reads_every_piece_once_under_each_policy(
    serve: Serve, dial: Dial, policy: str
) -> None:
    """It takes less than 1 KiB for each KiB of the stream, with large events between the pieces."""
    server = await serve(f"{SETTINGS}\n[[logs]]\npattern = '*'\nmax_bytes = 40000000")
    slow, writer, reader = await dial(server), await dial(server), Reader()
    await slow.subscribe("slow/rate", streams=True, slow=policy)
    await open_stream(writer, "slow/rate")
    for n in range(ROUNDS):
        for _ in range(2):
            await writer.publish("slow/rate", DATA)
        await append(writer, "slow/rate", n, f"{n} {KIB}")
    await append(writer, "slow/rate", ROUNDS, state="complete")
    events = 0
    while reader.state == "open":
        message = await slow.next()
        events += message.get("data") == DATA
        reader.take(message)
    assert reader.data == "".join(f"{n} {KIB}" for n in range(ROUNDS))
    assert (events == 2 * ROUNDS) is (policy == "resume"), "the other policies send fewer events"
    await writer.publish("slow/rate", "after")
    while (await slow.hear("event"))["data"] != "after":
        pass


async def test_members_that_are_removed_read_and_write_no_further(
    serve: Serve, calls: Calls, shell: Shell
) -> None:
    await shell(TABLE)
    server = await serve(f"{RULES}\n[limits]\nstream_seconds = 1")
    house = House(server, calls(server))
    for user in ("bot", "ann", "eve"):
        await house.add(user)
    writer, wire, former = await house.user("bot"), await house.user("ann"), await house.user("eve")
    for each in (writer, wire, former):
        await house.admitted(each)
    for each in (wire, former):
        await each.subscribe("rooms/1", streams=True)
    await open_stream(writer, "rooms/1")
    n = (await append(writer, "rooms/1", 0, "allowed"))["n"]
    await house.remove("eve")
    await former.hear("unsubscribed", reason="forbidden")
    n = (await append(writer, "rooms/1", n, ", but not for all"))["n"]
    await Reader().until(wire, n)
    assert await former.settled() == []
    await house.remove("bot")
    while (answer := await append(writer, "rooms/1", n, " still"))["type"] == "ack":
        n = answer["n"]  # the deletion is on its way
    assert answer["code"] == "forbidden"
    while (message := await wire.hear("append")).get("state") != "failed":
        pass
    assert message["to"] == n
    for each in house.wires:
        each.drop()
