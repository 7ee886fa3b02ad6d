"""Channel rules where one right touches another: resuming and history, subscribing and presence."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import jwt

from tests.flow.wire import Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]

SECRET: Final = "the token secret of these channels"
RULES: Final = f"""
token_secret = "{SECRET}"
[[channels]]
topic = "read/{{room}}"
subscribe = "authenticated"
publish = "authenticated"
history = "authenticated"
presence = "authenticated"
[[channels]]
topic = "live/{{room}}"
subscribe = "authenticated"
publish = "authenticated"
presence = "user.id == 'ann'"
"""


async def user(server: "ServerProcess", name: str) -> Wire:
    token = jwt.encode({"sub": name, "exp": time.time() + 300}, SECRET, algorithm="HS256")
    wire = await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-token.{token}"])
    await wire.hear("connected")
    return wire


async def test_resuming_beyond_the_log_needs_the_history_right(serve: Serve) -> None:
    server = await serve(RULES)
    ann = await user(server, "ann")
    cursors = {topic: (await ann.subscribe(topic))["cursor"] for topic in ("read/room", "live/room")}
    for topic in cursors:
        await ann.publish(topic, "said", persist=True)
    ann.drop()
    await server.kill()
    await server.start()
    ann = await user(server, "ann")
    for topic, said in (("read/room", ["said"]), ("live/room", [])):
        answer = await ann.subscribe(topic, since=cursors[topic])
        assert answer["recovered"] is False
        assert [each["data"] for each in await ann.settled() if each["type"] == "event"] == said
    ann.drop()


async def test_within_the_log_resuming_is_part_of_being_subscribed(serve: Serve) -> None:
    server = await serve(RULES)
    ann = await user(server, "ann")
    cursor = (await ann.subscribe("live/room"))["cursor"]
    await ann.publish("live/room", "said")
    bob = await user(server, "bob")
    assert (await bob.subscribe("live/room", since=cursor))["recovered"] is True
    assert (await bob.hear("event"))["data"] == "said"
    for wire in (ann, bob):
        wire.drop()


async def test_without_the_presence_right_one_is_subscribed_without_it(serve: Serve) -> None:
    server = await serve(RULES)
    ann, bob = await user(server, "ann"), await user(server, "bob")
    assert (await ann.ask("track", topic="live/room", state={"at": "desk"}))["type"] == "ack"
    await bob.subscribe("live/room")
    assert (await bob.ask("track", topic="live/room", state={}))["code"] == "forbidden"
    await ann.ask("track", topic="live/room", state={"at": "door"})
    await ann.publish("live/room", "hello")
    assert [each.get("event") for each in await bob.settled()] == ["message"]
    for wire in (ann, bob):
        wire.drop()


async def test_a_refusal_tells_nothing_of_what_is_there(serve: Serve) -> None:
    """A topic without a rule, a table without one and a table that does not exist have one answer."""
    server = await serve(RULES)
    ann = await user(server, "ann")
    answers = [
        await ann.ask("subscribe", topic=topic) for topic in ("no/rule", "sqlite_master", "nosuch", "orders")
    ]
    assert {(each["code"], each["message"]) for each in answers} == {(answers[0]["code"], answers[0]["message"])}
    assert answers[0]["code"] == "forbidden"
    ann.drop()
