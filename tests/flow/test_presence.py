"""Presence: one member per user, and every way to come and go (docs/protocol.md §4)."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.flow.calls import Http
from tests.flow.proxy import Proxy
from tests.flow.wire import Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

_CLIENT = """
import asyncio, sys
from tests.flow.wire import Wire
async def main():
    wire = await Wire.open(sys.argv[1], query={"userId": "victim"})
    await wire.ask("track", topic="presence/killed", state={})
    print("tracked", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_member_joins_changes_and_leaves(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node, "ann"), await dial(node, "bob")
    await bob.subscribe("presence/life")
    for command, state in (("track", {"mood": 1}), ("track", {"mood": 2}), ("untrack", None)):
        fields: dict[str, Any] = {} if state is None else {"state": state}
        assert (await ann.ask(command, topic="presence/life", **fields))["type"] == "ack"
    events = await bob.events(3)
    assert [(event["event"], event["data"]) for event in events] == [
        ("presence:join", {"mood": 1}),
        ("presence:update", {"mood": 2}),
        ("presence:leave", {"mood": 2}),
    ]
    assert {event["userId"] for event in events} == {"ann"}
    assert {event["topic"] for event in events} == {"presence/life/default"}
    assert "snapshot" not in events[0]


async def test_tracking_the_same_state_again_sends_nothing(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node, "ann"), await dial(node, "bob")
    await bob.subscribe("presence/same")
    for _ in range(3):
        await ann.ask("track", topic="presence/same", state={"a": 1})
    assert [event["event"] for event in await bob.settled()] == ["presence:join"]


async def test_untracking_what_is_not_tracked_is_acknowledged(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    assert (await wire.ask("untrack", topic="presence/nobody"))["type"] == "ack"


async def test_a_late_joiner_is_first_sent_who_is_there(node: "ServerProcess", dial: Dial) -> None:
    for user in ("ann", "bob"):
        wire = await dial(node, user)
        await wire.ask("track", topic="presence/late", state={"name": user})
    late = await dial(node, "late")
    await late.subscribe("presence/late")
    joins = await late.events(2)
    assert [(join["event"], join["snapshot"]) for join in joins] == [("presence:join", True)] * 2
    assert {join["userId"]: join["data"]["name"] for join in joins} == {"ann": "ann", "bob": "bob"}


async def test_presence_can_be_asked_for(node: "ServerProcess", dial: Dial, http: Http) -> None:
    ann, bob = await dial(node, "ann"), await dial(node, "bob")
    await ann.ask("track", topic="presence/asked", state={"mood": 1})
    answer = await bob.ask("presence", topic="presence/asked")
    assert (answer["type"], answer["topic"]) == ("presence", "presence/asked/default")
    [member] = answer["members"]
    assert (member["userId"], member["state"]) == ("ann", {"mood": 1})
    assert isinstance(member["since"], int)
    status, body = await http.get("/api/v1/realtime/presence", topic="presence/asked")
    assert (status, body) == (200, {"members": [member]})


async def test_a_subscription_without_presence_hears_only_messages(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node, "ann"), await dial(node, "bob")
    await ann.ask("track", topic="presence/quiet", state={})
    await bob.subscribe("presence/quiet", presence=False)
    await ann.ask("track", topic="presence/quiet", state={"a": 1})
    await ann.publish("presence/quiet", 1)
    await ann.ask("untrack", topic="presence/quiet")
    assert [event["event"] for event in await bob.settled()] == ["message"]


async def test_several_connections_of_one_user_are_one_member(node: "ServerProcess", dial: Dial) -> None:
    watcher = await dial(node, "watcher")
    await watcher.subscribe("presence/tabs")
    phone, laptop = await dial(node, "ann"), await dial(node, "ann")
    await phone.ask("track", topic="presence/tabs", state={"on": "phone"})
    await laptop.ask("track", topic="presence/tabs", state={"on": "laptop"})
    await laptop.close()
    await phone.close()
    events = await watcher.events(4)
    assert [(event["event"], event["data"]["on"]) for event in events] == [
        ("presence:join", "phone"),
        ("presence:update", "laptop"),
        ("presence:update", "phone"),
        ("presence:leave", "phone"),
    ]
    assert await watcher.settled() == []


async def test_each_connection_of_a_user_can_be_a_member(node: "ServerProcess", dial: Dial, http: Http) -> None:
    phone, laptop, watcher = await dial(node, "ann"), await dial(node, "ann"), await dial(node, "watcher")
    await phone.ask("track", topic="presence/cursors", state={"x": 1}, per="connection")
    await laptop.ask("track", topic="presence/cursors", state={"x": 2}, per="connection")
    await watcher.subscribe("presence/cursors")
    joins = await watcher.events(2)
    connections = [join["connectionId"] for join in joins]
    assert len(set(connections)) == 2
    assert {join["userId"] for join in joins} == {"ann"}
    _, body = await http.get("/api/v1/realtime/presence", topic="presence/cursors")
    assert [member["connectionId"] for member in body["members"]] == connections
    await phone.close()
    [leave] = await watcher.events(1)
    assert (leave["event"], leave["connectionId"]) == ("presence:leave", connections[0])
    refused = await laptop.ask("track", topic="presence/cursors", state={}, per="tab")
    assert refused["code"] == "bad_message"


async def test_a_state_names_the_member_of_a_connection_without_a_token(node: "ServerProcess", dial: Dial) -> None:
    watcher, one, two = await dial(node), await dial(node), await dial(node)
    await watcher.subscribe("presence/named")
    await one.ask("track", topic="presence/named", state={"userId": "zoe"})
    await two.ask("track", topic="presence/named", state={})
    named, nameless = await watcher.events(2)
    assert named["userId"] == "zoe"
    assert nameless["userId"] not in ("", "zoe", None)


async def test_a_closed_connection_leaves_every_channel(node: "ServerProcess", dial: Dial) -> None:
    watcher, ann = await dial(node), await dial(node, "ann")
    for name in "ab":
        await watcher.subscribe(f"presence/{name}")
        await ann.ask("track", topic=f"presence/{name}", state={})
    await ann.close()
    leaves = [await watcher.hear("event", event="presence:leave") for _ in range(2)]
    assert {leave["topic"] for leave in leaves} == {"presence/a/default", "presence/b/default"}


async def test_unsubscribing_is_not_leaving(node: "ServerProcess", dial: Dial) -> None:
    watcher, ann = await dial(node), await dial(node, "ann")
    await watcher.subscribe("presence/stays")
    await ann.subscribe("presence/stays")
    await ann.ask("track", topic="presence/stays", state={})
    await ann.ask("unsubscribe", topic="presence/stays")
    assert [event["event"] for event in await watcher.settled()] == ["presence:join"]
    await ann.close()
    await watcher.hear("event", event="presence:leave")


async def test_a_killed_client_leaves(node: "ServerProcess", dial: Dial) -> None:
    watcher = await dial(node)
    await watcher.subscribe("presence/killed")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CLIENT, node.url), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"tracked\n"
    await watcher.hear("event", event="presence:join", userId="victim")
    process.kill()
    await process.communicate()
    await watcher.hear("event", event="presence:leave", userId="victim")


async def test_a_client_behind_a_cut_network_leaves_after_the_heartbeat(
    serve: Callable[[str], Awaitable["ServerProcess"]], dial: Dial
) -> None:
    server = await serve("anonymous = true\n[limits]\nheartbeat_seconds = 2")
    watcher = await dial(server)
    await watcher.subscribe("presence/cut")
    async with Proxy(server.url) as proxy:
        ann = await Wire.open(proxy.url, query={"userId": "ann"})
        await ann.ask("track", topic="presence/cut", state={"userId": "ann"})
        await watcher.hear("event", event="presence:join", userId="ann")
        proxy.cut()
        await watcher.hear("event", event="presence:leave", userId="ann")
        ann.drop()


async def test_a_state_is_passed_on_whatever_json_it_holds(node: "ServerProcess", dial: Dial) -> None:
    watcher, ann = await dial(node), await dial(node, "ann")
    await watcher.subscribe("presence/any")
    state = {"n": 123456789012345678901234567890, "f": 1.5, "deep": [[{"\u00e9": None}]]}
    assert (await ann.ask("track", topic="presence/any", state=state))["type"] == "ack"
    assert (await watcher.hear("event"))["data"] == state
