"""A client that does not read: it is let go of, the others do not notice, and the memory stays bounded."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.flow.test_bad_input import resident
from tests.flow.wire import ABNORMAL, Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]

SLOW = (4000, ABNORMAL)
UNTHROTTLED = "anonymous = true\n[limits]\nmessages_per_second = 0\npublish_bytes_per_second = 0"
SETTINGS = f"{UNTHROTTLED}\nbuffer_bytes = 200000\nclose_seconds = 0.5"
DATA = "x" * 60_000


async def test_a_slow_subscriber_is_let_go_and_the_others_are_not_delayed(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    slow, quick, speaker, watcher = [await dial(server) for _ in range(4)]
    await watcher.subscribe("slow/presence")
    await slow.ask("track", topic="slow/presence", state={"userId": "slow"})
    for wire in (slow, quick):
        await wire.subscribe("slow/topic")
    before = resident(server)
    for number in range(200):
        await speaker.publish("slow/topic", [number, DATA])
        assert (await quick.hear("event"))["data"][0] == number
    await watcher.hear("event", event="presence:leave", userId="slow")
    assert resident(server) - before < 32 << 20
    assert (await slow.ended()).code in SLOW


async def test_a_slow_subscriber_resumes_without_a_gap(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    slow, speaker = await dial(server), await dial(server)
    cursor = (await slow.subscribe("slow/resume"))["cursor"]
    for number in range(12):
        await speaker.publish("slow/resume", [number, DATA])
    slow.drop()
    back = await dial(server)
    assert (await back.subscribe("slow/resume", since=cursor))["recovered"] is True
    assert [event["data"][0] for event in await back.events(12)] == list(range(12))


async def test_a_client_that_never_reads_its_replays_is_let_go(serve: Serve, dial: Dial) -> None:
    server = await serve(SETTINGS)
    speaker, greedy, watcher = [await dial(server) for _ in range(3)]
    cursor = (await speaker.subscribe("slow/replay"))["cursor"]
    for number in range(12):
        await speaker.publish("slow/replay", [number, DATA])
    await watcher.subscribe("slow/presence")
    await greedy.ask("track", topic="slow/presence", state={"userId": "greedy"})
    before = resident(server)
    for _ in range(300):
        greedy.say("subscribe", topic="slow/replay", since=cursor)
    assert (await speaker.publish("slow/replay", "still here"))["type"] == "ack"
    await watcher.hear("event", event="presence:leave", userId="greedy")
    assert (await greedy.ended()).code in SLOW
    assert resident(server) - before < 48 << 20


async def test_events_pass_between_the_commands_of_a_flood(serve: Serve, dial: Dial) -> None:
    server = await serve(UNTHROTTLED)
    flooder, hearer, speaker = [await dial(server) for _ in range(3)]
    await hearer.subscribe("slow/flood")
    for number in range(10):
        for _ in range(2_000):
            flooder.say("publish", topic="slow/nobody", event="e", data=1)
        await speaker.publish("slow/flood", number)
        assert (await hearer.hear("event"))["data"] == number
    assert await flooder.settled() == []
