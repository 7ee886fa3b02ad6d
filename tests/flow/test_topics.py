"""Every form of a topic leads to the one canonical topic (docs/protocol.md §1)."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import Http
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess


@pytest.mark.parametrize("written", ["topics/forms", "topics/forms/default"])
async def test_a_channel_is_one_however_it_is_written(node: "ServerProcess", dial: Dial, written: str) -> None:
    wire = await dial(node)
    assert (await wire.subscribe(written))["topic"] == "topics/forms/default"
    await wire.publish("topics/forms", "bare")
    await wire.publish("topics/forms/default", "canonical")
    events = await wire.events(2)
    assert [event["data"] for event in events] == ["bare", "canonical"]
    assert {event["topic"] for event in events} == {"topics/forms/default"}


@pytest.mark.parametrize("written", ["fruits", "table/fruits", "table/fruits/default"])
async def test_a_table_is_one_however_it_is_written(
    node: "ServerProcess", dial: Dial, http: Http, written: str
) -> None:
    await http.sql("CREATE TABLE IF NOT EXISTS fruits(name TEXT)")
    wire = await dial(node)
    assert (await wire.subscribe(written))["topic"] == "table/fruits/default"
    await http.sql("INSERT INTO fruits VALUES ('apple')")
    change = await wire.hear("db_change")
    assert change["topic"] == "table/fruits/default"
    assert change["data"] == {"name": "apple"}


async def test_a_channel_may_have_many_segments(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    assert (await wire.subscribe("a/b/c/d"))["topic"] == "a/b/c/d/default"


async def test_a_channel_of_two_segments_may_end_in_the_projects_name(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    assert (await wire.subscribe("chat/default"))["topic"] == "chat/default/default"


async def test_every_allowed_character_is_allowed(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    topic = "az/AZ-09_.:@~+"
    await wire.subscribe(topic)
    await wire.publish(topic, 1)
    assert (await wire.hear("event"))["topic"] == f"{topic}/default"


async def test_a_topic_has_up_to_256_bytes(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    longest = "a/" + "x" * 254
    assert (await wire.subscribe(longest))["topic"] == f"{longest}/default"
    assert (await wire.subscribe(f"{longest}/default"))["topic"] == f"{longest}/default"
    refused = await wire.ask("subscribe", topic=longest + "x")
    assert refused["code"] == "invalid_topic"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "/",
        "a//b",
        "/a",
        "a//",
        "a b/c",
        "a/\u00e9",
        "a/b\u0000",
        "a/b?c",
        "a/b#c",
        "a/%20",
        "table/a/b",
        "a/*",
    ],
)
@pytest.mark.parametrize("command", ["subscribe", "unsubscribe", "publish", "track", "untrack", "presence"])
async def test_a_malformed_topic_is_invalid_in_every_command(
    node: "ServerProcess", dial: Dial, command: str, written: str
) -> None:
    wire = await dial(node)
    fields: dict[str, Any] = {"event": "e", "data": 1, "state": {}}
    refused = await wire.ask(command, topic=written, **fields)
    assert (refused["type"], refused["code"], refused["retryable"]) == ("error", "invalid_topic", False)


async def test_a_table_that_does_not_exist_is_not_found(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    refused = await wire.ask("subscribe", topic="nowhere")
    assert (refused["code"], refused["topic"]) == ("not_found", "table/nowhere/default")
    tracked = await wire.ask("track", topic="nowhere", state={})
    assert tracked["code"] == "forbidden"
