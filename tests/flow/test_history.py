"""History: what was persisted, newest first, paged without a repeat or a gap (docs/protocol.md §8)."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import Http
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

PATH = "/api/v1/public/realtime/history"


async def test_a_message_has_every_field_of_the_protocol(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node, "ann")
    ack = await wire.publish("history/fields", {"text": "hello"}, event="note", id="m-1", persist=True)
    assert await http.history("history/fields") == [
        {
            "id": "m-1",
            "room_id": "history/fields/default",
            "user_id": "ann",
            "event": "note",
            "data": {"text": "hello"},
            "created_at": ack["timestamp"],
        }
    ]


async def test_only_what_was_persisted_is_kept(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node)
    for number in range(6):
        await wire.publish("history/some", number, persist=number % 2 == 0)
    assert [message["data"] for message in await http.history("history/some")] == [4, 2, 0]


@pytest.mark.parametrize("room", ["history/forms", "history/forms/default"])
async def test_a_room_is_found_by_any_form_of_its_topic(
    node: "ServerProcess", dial: Dial, http: Http, room: str
) -> None:
    await (await dial(node)).publish("history/forms", 1, id="same", persist=True)
    assert [message["id"] for message in await http.history(room)] == ["same"]


async def test_a_burst_is_paged_without_a_repeat_or_a_gap(node: "ServerProcess", dial: Dial, http: Http) -> None:
    count, page = 700, 64
    wires = [await dial(node) for _ in range(2)]
    for number in range(count // 2):
        for name, wire in enumerate(wires):
            last = number == count // 2 - 1
            answer = {"id": f"last-{name}"} if last else {}
            wire.say("publish", topic="history/burst", event="e", data=[name, number], persist=True, **answer)
    await asyncio.gather(*(wire.hear("ack") for wire in wires))
    messages: list[dict[str, Any]] = []
    before: dict[str, int] = {}
    while found := await http.history("history/burst", limit=page, **before):
        messages += found
        before = {"before": found[-1]["created_at"]}
    assert len(messages) == count
    assert len({tuple(message["data"]) for message in messages}) == count
    created = [message["created_at"] for message in messages]
    assert created == sorted(set(created), reverse=True)
    for name in range(2):
        numbers = [message["data"][1] for message in messages if message["data"][0] == name]
        assert numbers == list(range(count // 2 - 1, -1, -1))


async def test_history_is_in_the_order_of_delivery(node: "ServerProcess", dial: Dial, http: Http) -> None:
    hearer, *speakers = [await dial(node) for _ in range(4)]
    await hearer.subscribe("history/order")
    for number in range(50):
        for speaker in speakers:
            speaker.say("publish", topic="history/order", event="e", data=number, persist=True)
    heard = [event["id"] for event in await hearer.events(150)]
    assert [message["id"] for message in await http.history("history/order", limit=1000)] == heard[::-1]


async def test_an_unknown_room_is_empty(http: Http) -> None:
    assert await http.history("history/nothing") == []


async def test_fifty_are_given_unless_more_are_asked_for(node: "ServerProcess", dial: Dial, http: Http) -> None:
    wire = await dial(node)
    for number in range(60):
        wire.say("publish", topic="history/many", event="e", data=number, persist=True)
    await wire.publish("history/many", 60, persist=True)
    assert len(await http.history("history/many")) == 50
    assert len(await http.history("history/many", limit=1000)) == 61


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "x"}, {"limit": -1}, {"before": "x"}, {"before": -1}])
async def test_a_page_out_of_bounds_is_refused(http: Http, query: dict[str, Any]) -> None:
    status, body = await http.get(PATH, room="history/bounds", **query)
    assert (status, body["error"]["code"]) == (400, "bad_message")


@pytest.mark.parametrize("query", [{}, {"room": ""}, {"room": "a//b"}, {"room": "x" * 257}])
async def test_a_room_has_to_be_a_topic(http: Http, query: dict[str, Any]) -> None:
    status, body = await http.get(PATH, **query)
    assert (status, body["error"]["code"]) == (400, "invalid_topic")
