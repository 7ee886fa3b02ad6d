"""Publishing: who receives what, in which order, and how it is answered (docs/protocol.md §§3-4)."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import Http
from tests.flow.wire import PATIENCE_SECONDS, TEXT, Dial, Wire, frame

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess


async def test_an_event_has_every_field_of_the_protocol(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node, "ann"), await dial(node, "bob")
    subscribed = await bob.subscribe("publish/fields")
    assert subscribed["recovered"] is None
    ack = await ann.publish("publish/fields", {"text": "hello"}, id="p-1")
    event = await bob.next()
    assert event == {
        "type": "event",
        "topic": "publish/fields/default",
        "event": "message",
        "data": {"text": "hello"},
        "userId": "ann",
        "timestamp": ack["timestamp"],
        "id": "p-1",
        "cursor": ack["cursor"],
    }
    assert event["cursor"] != subscribed["cursor"]


@pytest.mark.parametrize(
    "data", [None, True, 0, -1.5, 1e300, "", "\u00e9\U0001f600\u2028", [], {}, [[{"a": None}]]]
)
async def test_any_json_arrives_as_it_was_sent(node: "ServerProcess", dial: Dial, data: Any) -> None:
    wire = await dial(node)
    await wire.subscribe("publish/json")
    await wire.publish("publish/json", data)
    assert (await wire.hear("event"))["data"] == data


async def test_data_is_passed_on_byte_for_byte(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    await wire.subscribe("publish/bytes")
    data = b'{"big": 12345678901234567890123, "z":1,"a" : 1.10, "a":"\\u00e9"}'
    wire.write(frame(b'{"type":"publish","topic":"publish/bytes","event":"e","data":' + data + b"}"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while data not in (await wire._frame())[1]:
            pass


async def test_a_publish_without_an_id_is_not_acknowledged(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    wire.say("publish", topic="publish/quiet", event="e", data=1)
    wire.say("publish", topic="publish/quiet", event="e", data=1, persist=True)
    assert await wire.settled() == []


async def test_publishing_needs_no_subscription_and_makes_none(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node), await dial(node)
    await bob.subscribe("publish/outside")
    await ann.publish("publish/outside", 1)
    assert (await bob.hear("event"))["data"] == 1
    await bob.publish("publish/outside", 2)
    assert await ann.settled() == []


async def test_the_sender_hears_itself_unless_it_asks_for_no_echo(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node), await dial(node)
    await ann.subscribe("publish/echo")
    await bob.subscribe("publish/echo")
    await ann.publish("publish/echo", 1, echo=False)
    await ann.publish("publish/echo", 2, echo=False, persist=True)
    await ann.publish("publish/echo", 3)
    assert [event["data"] for event in await bob.events(3)] == [1, 2, 3]
    assert [event["data"] for event in await ann.events(1)] == [3]
    assert await ann.settled() == []


async def test_one_connection_hears_all_its_channels(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node), await dial(node)
    for name in "abc":
        await bob.subscribe(f"publish/{name}")
    for name in "abcabc":
        await ann.publish(f"publish/{name}", name)
    events = await bob.events(6)
    assert [event["data"] for event in events] == list("abcabc")
    assert [event["topic"] for event in events] == [f"publish/{name}/default" for name in "abcabc"]


async def test_subscribing_twice_delivers_once(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node), await dial(node)
    await bob.subscribe("publish/twice")
    await bob.subscribe("publish/twice")
    await ann.publish("publish/twice", 1)
    assert [event["data"] for event in await bob.settled()] == [1]


async def test_unsubscribing_stops_delivery_at_once(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node), await dial(node)
    await bob.subscribe("publish/stop")
    for number in range(200):
        ann.say("publish", topic="publish/stop", event="e", data=number)
    await bob.hear("event")
    bob.say("unsubscribe", topic="publish/stop", id="u-1")
    answer = await bob.hear("unsubscribed")
    assert answer == {"type": "unsubscribed", "topic": "publish/stop/default", "id": "u-1"}
    await ann.publish("publish/stop", "late")
    assert await bob.settled() == []


async def test_unsubscribing_from_what_was_not_subscribed_is_answered(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    answer = await wire.ask("unsubscribe", topic="publish/never")
    assert answer["type"] == "unsubscribed"


async def test_all_subscribers_see_one_order_whatever_is_persisted(node: "ServerProcess", dial: Dial) -> None:
    topic, count = "publish/order", 100
    hearers = [await dial(node) for _ in range(3)]
    speakers = [await dial(node) for _ in range(4)]
    for hearer in hearers:
        await hearer.subscribe(topic)
    for number in range(count):
        for name, speaker in enumerate(speakers):
            persist = (number + name) % 3 == 0
            speaker.say("publish", topic=topic, event="e", data=[name, number], persist=persist)
    heard = await asyncio.gather(*(hearer.events(count * len(speakers)) for hearer in hearers))
    orders = [[(*event["data"], event["cursor"]) for event in events] for events in heard]
    assert orders[0] == orders[1] == orders[2]
    for name in range(len(speakers)):
        assert [number for speaker, number, _ in orders[0] if speaker == name] == list(range(count))


async def test_what_was_seen_is_stored(node: "ServerProcess", dial: Dial, http: Http) -> None:
    ann, bob = await dial(node), await dial(node)
    await bob.subscribe("publish/stored")
    for number in range(20):
        ann.say("publish", topic="publish/stored", event="e", data=number, persist=True)
        event = await bob.hear("event")
        newest = (await http.history("publish/stored", limit=1))[0]
        assert (newest["id"], newest["data"]) == (event["id"], number)
        assert newest["created_at"] == event["timestamp"]


async def test_an_ephemeral_event_never_overtakes_a_persisted_one(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    await wire.subscribe("publish/overtake")
    for number in range(100):
        wire.say("publish", topic="publish/overtake", event="e", data=number, persist=number % 10 == 0)
    assert [event["data"] for event in await wire.events(100)] == list(range(100))


async def test_a_repeated_id_is_delivered_once(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node, "ann")
    await wire.subscribe("publish/once")
    for persist in (False, True):
        first = await wire.publish("publish/once", 1, id=f"same-{persist}", persist=persist)
        again = await wire.publish("publish/once", 2, id=f"same-{persist}", persist=persist)
        assert "duplicate" not in first
        assert again == {**first, "duplicate": True}
    assert [event["data"] for event in await wire.settled()] == [1, 1]
    assert [message["data"] for message in await http.history("publish/once")] == [1]


async def test_a_repeat_while_the_first_waits_for_its_commit_is_a_repeat(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    wire = await dial(node, "ann")
    for _ in range(5):
        wire.say("publish", topic="publish/hasty", event="e", data=1, id="hasty", persist=True)
    acks = [await wire.hear("ack") for _ in range(5)]
    assert [ack.get("duplicate", False) for ack in acks] == [False, True, True, True, True]
    assert len({ack["cursor"] for ack in acks}) == 1
    assert len(await http.history("publish/hasty")) == 1


async def test_nobody_takes_another_users_id(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node, "ann"), await dial(node, "bob")
    for persist in (False, True):
        await ann.publish("publish/ids", 1, id=f"mine-{persist}", persist=persist)
        assert "duplicate" not in await bob.publish("publish/ids", 2, id=f"mine-{persist}", persist=persist)


async def test_row_changes_cannot_be_published(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    refused = await wire.ask("publish", topic="orders", event="INSERT", data={})
    assert (refused["code"], refused["topic"]) == ("forbidden", "table/orders/default")


@pytest.mark.parametrize("event", ["presence:join", "presence:leave", "presence:anything", "", "x" * 257])
async def test_an_event_needs_a_name_of_its_own(node: "ServerProcess", dial: Dial, event: str) -> None:
    wire = await dial(node)
    refused = await wire.ask("publish", topic="publish/names", event=event, data=1)
    assert refused["code"] == "bad_message"


async def test_an_id_is_bounded(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    refused = await wire.ask("publish", topic="publish/ids", event="e", data=1, id="x" * 257)
    assert refused["code"] == "bad_message"


async def test_commands_keep_their_order_while_one_awaits_the_database(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE waiting(a INTEGER)")
    wire = await dial(node)
    commands = [
        {"type": "subscribe", "topic": "waiting", "id": "1"},
        {"type": "publish", "topic": "publish/waiting", "event": "e", "data": 1, "id": "2"},
        {"type": "subscribe", "topic": "nowhere", "id": "3"},
        {"type": "presence", "topic": "publish/waiting", "id": "4"},
        {"type": "unsubscribe", "topic": "waiting", "id": "5"},
    ]
    wire.write(b"".join(frame(json.dumps(command).encode(), TEXT) for command in commands))
    answers = await _answers(wire, 5)
    assert [answer["id"] for answer in answers] == ["1", "2", "3", "4", "5"]
    assert [answer["type"] for answer in answers] == ["subscribed", "ack", "error", "presence", "unsubscribed"]


async def test_a_legacy_chat_is_stored_and_delivered(node: "ServerProcess", dial: Dial, http: Http) -> None:
    ann, bob = await dial(node, "ann"), await dial(node, "bob")
    await bob.subscribe("chat/legacy")
    ann.say("chat", roomId="legacy", text="hello", metadata={"lang": "en"})
    event = await bob.hear("event", event="chat_message")
    assert (event["topic"], event["userId"]) == ("chat/legacy/default", "ann")
    assert (event["data"]["text"], event["data"]["metadata"]) == ("hello", {"lang": "en"})
    [stored] = await http.history("chat/legacy")
    assert (stored["id"], stored["user_id"], stored["event"]) == (event["id"], "ann", "chat_message")


async def test_a_ping_is_answered(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    wire.say("ping")
    assert await wire.next() == {"type": "pong"}


async def test_two_hundred_connections_hear_every_event(node: "ServerProcess", dial: Dial) -> None:
    hearers = [await dial(node) for _ in range(200)]
    for hearer in hearers:
        await hearer.subscribe("publish/crowd", presence=False)
    speaker = await dial(node)
    for number in range(10):
        await speaker.publish("publish/crowd", number, persist=number % 2 == 0)
    for hearer in hearers:
        assert [event["data"] for event in await hearer.events(10)] == list(range(10))


async def test_a_subscriber_resumes_after_its_cursor(node: "ServerProcess", dial: Dial) -> None:
    ann, bob = await dial(node), await dial(node)
    await bob.subscribe("publish/resume")
    await ann.publish("publish/resume", 1)
    cursor = (await bob.hear("event"))["cursor"]
    await bob.close()
    for number in (2, 3):
        await ann.publish("publish/resume", number)
    back = await dial(node)
    assert (await back.subscribe("publish/resume", since=cursor))["recovered"] is True
    await ann.publish("publish/resume", 4)
    assert [event["data"] for event in await back.events(3)] == [2, 3, 4]


@pytest.mark.parametrize("since", ["", "nonsense", "abc.12", "12", "."])
async def test_an_unknown_cursor_is_a_gap(node: "ServerProcess", dial: Dial, since: str) -> None:
    wire = await dial(node)
    assert (await wire.subscribe("publish/gap", since=since))["recovered"] is False


async def _answers(wire: Wire, count: int) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    while len(answers) < count:
        message = await wire.next()
        if "id" in message and message["type"] != "event":
            answers.append(message)
    return answers
