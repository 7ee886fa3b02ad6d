"""How a server ends, and that nothing acknowledged is lost by it, however it ends."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import Http
from tests.flow.command import COMMAND, environment
from tests.flow.wire import PATIENCE_SECONDS, Closed, Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

GONE = (Closed, asyncio.IncompleteReadError, ConnectionError)


@pytest.mark.parametrize("how", ["terminate", "interrupt", "kill"])
async def test_what_was_acknowledged_is_in_history_after_a_restart(
    server: "ServerProcess", dial: Dial, calls: Callable[["ServerProcess"], Http], how: str
) -> None:
    speakers = [await dial(server) for _ in range(4)]
    acknowledged: set[str] = set()
    enough = asyncio.Event()
    ends: list[Any] = []

    async def speak(name: int, wire: Wire) -> None:
        try:
            for number in range(1_000_000):
                wire.say("publish", topic="end/load", event="e", data=number, persist=True, id=f"{name}-{number}")
                if number >= 50:
                    acknowledged.add((await wire.hear("ack"))["id"])
                if len(acknowledged) > 300:
                    enough.set()
        except GONE as end:
            ends.append(end)

    speaking = [asyncio.create_task(speak(name, wire)) for name, wire in enumerate(speakers)]
    await enough.wait()
    async with asyncio.timeout(PATIENCE_SECONDS):
        code = await getattr(server, how)()
    await asyncio.gather(*speaking)
    if how != "kill":
        assert code == 0
        assert [getattr(end, "code", None) for end in ends] == [1012] * 4
    await server.start()
    http, stored = calls(server), set[str]()
    before: dict[str, int] = {}
    while found := await http.history("end/load", limit=1000, **before):
        stored |= {message["id"] for message in found}
        before = {"before": found[-1]["created_at"]}
    assert acknowledged <= stored


@pytest.mark.database("postgres")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_standby_server_ends_on_sigterm(server: "ServerProcess", how: signal.Signals) -> None:
    second = await asyncio.create_subprocess_exec(
        *(COMMAND, "dev", "--port", "0", "--db", server.database.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        assert second.stderr is not None, "it is a pipe"
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in second.stderr:
                if b"waiting to take over" in line:
                    break
            second.send_signal(how)
            _, err = await second.communicate()
        assert second.returncode == 0
        assert b"Traceback" not in err
    finally:
        with suppress(ProcessLookupError):
            second.kill()


async def test_clients_that_never_answer_do_not_hold_the_end_up(server: "ServerProcess", dial: Dial) -> None:
    for _ in range(20):
        wire = await dial(server)
        await wire.subscribe("end/silent")
    half = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    half[1].write(b"POST /v1/db/query HTTP/1.1\r\nContent-Length: 5\r\n\r\n{")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await server.terminate() == 0
    half[1].close()


async def test_the_last_events_before_the_end_are_delivered(server: "ServerProcess", dial: Dial) -> None:
    speaker, hearer = await dial(server), await dial(server)
    await hearer.subscribe("end/last")
    for number in range(100):
        speaker.say("publish", topic="end/last", event="e", data=number)
    await speaker.settled()
    ending = asyncio.create_task(server.terminate())
    assert [event["data"] for event in await hearer.events(100)] == list(range(100))
    with pytest.raises(Closed) as closed:
        await hearer.next()
    assert closed.value.code == 1012
    hearer.drop()
    await ending


async def test_positions_go_on_after_a_kill(server: "ServerProcess", dial: Dial) -> None:
    wire = await dial(server)
    before = (await wire.publish("end/clock", 1))["timestamp"]
    await server.kill()
    await server.start()
    wire = await dial(server)
    assert (await wire.publish("end/clock", 2))["timestamp"] > before


async def test_connections_during_shutdown_are_refused(server: "ServerProcess", dial: Dial) -> None:
    """Also on a connection that was there before. The end waits for the client that does not answer its close."""
    silent = await dial(server)
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    ending = asyncio.create_task(server.terminate())
    with pytest.raises(Closed) as closed:
        await silent.next()
    assert closed.value.code == 1012
    writer.write(
        f"GET /api/realtime HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    with suppress(ConnectionError):  # it may be closed before that is read
        assert b" 101 " not in await reader.read()
    with pytest.raises(ConnectionRefusedError):
        await Wire.open(server.url)
    silent.drop()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    assert await ending == 0
