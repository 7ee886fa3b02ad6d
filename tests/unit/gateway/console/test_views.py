"""What each page of the console shows."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Raw

from aerostack_realtime.access.rules import ChannelRule, TableRule
from aerostack_realtime.gateway import audit
from tests.unit.gateway.console.desk import Desk, desk

RULES = (ChannelRule("chat/{room}", "user.id == 'ann'", "anyone", "anyone", "anyone"), ChannelRule("**", "anyone"))
SQL = ("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)", "CREATE TABLE notes (id INTEGER PRIMARY KEY)")


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Desk]:
    tables = (TableRule("orders", "anyone", rows={"status": "'new'"}, columns=("id", "status")),)
    async with desk(tmp_path, channels=RULES, tables=tables, sql=SQL) as made:
        yield made


async def test_the_overview_has_the_figures_of_each_node(console: Desk) -> None:
    await console.subscribed("ann", "a/1", "a/2")
    data = await console.view("overview")
    [node] = data["nodes"]
    assert node["node"] == data["node"] == console.node.hub.node
    assert node["keeper"]
    figures = node["figures"]
    assert (figures["connections"], figures["subscriptions"], figures["channels"]) == (1, 2, 2)
    assert len(figures["loopLag"]["counts"]) == len(figures["loopLag"]["bounds"]) + 1


async def test_channels_come_by_subscribers_in_pages(console: Desk) -> None:
    await console.subscribed("ann", "a/1", "a/2", "b/1")
    await console.subscribed("bob", "b/1")
    page = await console.view("channels", limit=2)
    assert page["total"] == 3
    assert [(each["name"], each["subscribers"]) for each in page["rows"]] == [("b/1", 2), ("a/1", 1)]
    page = await console.view("channels", search="a/", offset=1)
    assert (page["total"], [each["name"] for each in page["rows"]]) == (2, ["a/2"])


async def test_a_channel_with_events_or_members_alone_is_listed(console: Desk) -> None:
    ann = console.connect("ann")
    await ann.ask(type="track", topic="chat/1", state={"name": "Ann"})
    await ann.ask(type="publish", topic="chat/2", event="e", data=1)
    rows = (await console.view("channels"))["rows"]
    assert {each["name"]: each["members"] for each in rows} == {"chat/1": 1, "chat/2": 0}


async def test_a_channel_shows_subscribers_members_log_and_history(console: Desk) -> None:
    ann = await console.subscribed("ann", "chat/1")
    await ann.ask(type="track", topic="chat/1", state={"name": "Ann"})
    ann.send(type="publish", topic="chat/1", event="said", data={"text": "hi"}, id="1", persist=True)
    await ann.written()
    data = await console.view("channel", name="chat/1/default")
    assert (data["name"], data["rule"], data["subscribers"]) == ("chat/1", "chat/{room}", 1)
    assert [each["user"] for each in data["connections"]] == ["ann"]
    assert [each["state"] for each in data["members"]] == [{"name": "Ann"}]
    assert data["log"]["events"] >= 1
    assert [(each["event"], each["data"]) for each in data["history"]] == [("said", {"text": "hi"})]


async def test_connections_are_found_by_user_address_and_id(console: Desk) -> None:
    ann, bob = await console.subscribed("ann", "a/1"), await console.subscribed("bob")
    page = await console.view("connections")
    assert [each["user"] for each in page["rows"]] == ["bob", "ann"], "the newest first"
    assert page["rows"][1]["topics"] == 1
    for search, users in (
        ("ANN", ["ann"]),
        ("10.0.", ["bob", "ann"]),
        (bob.session.connection_id, ["bob"]),
        ("nobody has this", []),
    ):
        page = await console.view("connections", search=search)
        assert (page["total"], [each["user"] for each in page["rows"]]) == (len(users), users)
    ann.line.stalled = 5_000
    page = await console.view("connections", order="waiting", limit=1)
    assert [(each["user"], each["waiting"]) for each in page["rows"]] == [("ann", 5_000)]


async def test_a_connection_says_how_far_it_is_behind(console: Desk) -> None:
    ann = console.connect("ann")
    await ann.ask(type="subscribe", topic="a/1", slow="drop")
    ann.line.stalled = console.node.limits.buffer_bytes - 1
    console.node.hub.publish("a/1/default", "e", Raw(b'"x"'), lambda _: None)
    console.node.hub.flush()
    data = await console.view("connection", name=ann.session.connection_id)
    assert data["topics"] == ["a/1/default"]
    assert [each["kind"] for each in data["record"]["notes"]] == ["slow"]
    assert data["row"]["waiting"] > 0
    missing = await console.view("connection", name="unknown")
    assert missing["record"] is None


async def test_a_connection_served_from_the_log_says_how_many_events_it_lacks(console: Desk) -> None:
    ann, bob = await console.subscribed("ann", "a/1"), console.connect("bob")
    ann.line.stalled = console.node.limits.buffer_bytes + 1
    hub = console.node.hub
    for _ in range(3):
        hub.publish("a/1/default", "e", Raw(b"1"), lambda _: None)
        hub.flush()
    data = await console.view("connection", name=ann.session.connection_id)
    assert data["lacks"] == {"a/1/default": 2}
    assert data["row"]["catchingUp"]
    data = await console.view("connection", name=bob.session.connection_id)
    assert (data["lacks"], data["row"]["catchingUp"]) == ({}, False)


async def test_tables_show_who_watches_them_and_the_lag_of_the_feed(console: Desk) -> None:
    for filter in ({}, {"id": 1}):
        await console.connect("ann").ask(type="subscribe", topic="orders", filter=filter)
    data = await console.view("tables")
    assert data["problem"] is None
    assert "change_feed_lag_changes" in data["figures"]
    found = {each["name"]: (each["watched"], each["views"], each["subscribers"]) for each in data["rows"]}
    assert found == {"orders": (True, 2, 2), "notes": (False, 0, 0)}


async def test_streams_that_are_open_are_listed(console: Desk) -> None:
    ann = console.connect("ann")
    await ann.ask(type="publish", topic="chat/1", event="answer", data="Hel", id="s", stream=True)
    await ann.ask(type="append", topic="chat/1", id="s", n=0, data="lo")
    page = await console.view("streams")
    [stream] = page["rows"]
    assert (stream["topic"], stream["id"], stream["userId"], stream["n"]) == ("chat/1/default", "s", "ann", 1)
    await ann.ask(type="append", topic="chat/1", id="s", n=1, data="", state="complete")
    assert (await console.view("streams"))["total"] == 0


async def test_rules_are_shown_as_written_with_their_verdicts(console: Desk) -> None:
    await console.subscribed("ann", "chat/1")
    bob = console.connect("bob")
    await bob.ask(type="subscribe", topic="chat/1")
    first, *_, table = (await console.view("rules"))["rows"]
    assert first["lines"][:3] == ["[[channels]]", 'topic = "chat/{room}"', "subscribe = \"user.id == 'ann'\""]
    assert (first["allowed"] >= 1, first["denied"]) == (True, 1)
    assert 'columns = ["id","status"]' in table["lines"]
    assert "rows = { status = \"'new'\" }" in table["lines"]


async def test_the_log_is_searched_and_the_newest_comes_first(console: Desk) -> None:
    console.log.attach()
    try:
        for user in ("ann", "bob", "ann"):
            audit.log.setLevel(logging.INFO)
            audit.record("refused", user=user)
        logging.getLogger("aerostack_realtime.server").error("something is wrong")
    finally:
        console.log.detach()
    lines = (await console.view("log", search="ann"))["rows"]
    assert [(each["message"], each["facts"]["user"]) for each in lines] == [("refused", "ann")] * 2
    assert lines[0]["number"] > lines[1]["number"]
    [line] = (await console.view("log", kind="server"))["rows"]
    assert (line["level"], line["part"], line["message"]) == ("error", "server", "something is wrong")
    assert line["node"] == console.node.hub.node
