"""Live data of the console: for open pages alone, when it has changed, and for operators alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.gateway.console.desk import Desk, desk, topic


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Desk]:
    sql = ("CREATE TABLE orders (id INTEGER PRIMARY KEY)",)
    async with desk(tmp_path, sql=sql) as made:
        yield made


async def test_an_open_page_receives_its_data_when_it_has_changed(console: Desk) -> None:
    page = console.open()
    await page.ask(type="subscribe", topic=topic("channels", search="a/"), slow="latest")
    await console.live.collect()
    [event] = page.take()
    assert (event["event"], event["data"]) == ("view", {"total": 0, "rows": []})
    await console.live.collect()
    assert page.take() == []
    await console.subscribed("ann", "a/1", "b/1")
    await console.live.collect()
    [event] = page.take()
    assert [each["name"] for each in event["data"]["rows"]] == ["a/1"]


async def test_a_second_page_receives_data_that_has_not_changed(console: Desk) -> None:
    first, second = console.open(), console.open()
    for page in (first, second):
        await page.ask(type="subscribe", topic=topic("channels"), slow="latest")
        await console.live.collect()
    [event] = second.take()
    assert event["data"] == {"total": 0, "rows": []}
    await console.live.collect()
    assert second.take() == []


async def test_nothing_is_collected_for_a_page_that_was_left(console: Desk) -> None:
    page = console.open()
    written = topic("connections")
    await page.ask(type="subscribe", topic=written)
    await page.ask(type="unsubscribe", topic=written)
    await console.live.collect()
    assert page.take() == []
    page.session.close(1000, "")
    console.live.check()
    assert not console.live.is_open


async def test_the_connections_of_an_ended_session_are_closed(console: Desk) -> None:
    page = console.open()
    console.live.check()
    assert page.session.closed is None
    console.valid = False
    console.live.check()
    assert page.session.closed == 4401


async def test_an_unknown_view_does_not_stop_the_others(console: Desk) -> None:
    page = console.open()
    await page.ask(type="subscribe", topic="view/nothing")
    await page.ask(type="subscribe", topic=topic("tables"))
    await console.live.collect()
    [event] = page.take()
    assert event["topic"] == "view/tables/_console"


async def test_the_console_sends_nothing_and_watches_nothing(console: Desk) -> None:
    page = console.open()
    for command in (
        {"type": "publish", "topic": "view/overview", "event": "e", "data": 1, "id": "1"},
        {"type": "track", "topic": "view/overview", "state": {}, "id": "1"},
        {"type": "subscribe", "topic": "orders", "id": "1"},
    ):
        [error] = await page.ask(**command)
        assert error["code"] == "forbidden", error
    assert not console.node.database.changes.watches("orders")


async def test_the_topics_of_the_console_are_not_listed_as_channels(console: Desk) -> None:
    page = console.open()
    await page.ask(type="subscribe", topic=topic("channels"))
    assert (await console.view("channels"))["total"] == 0
    assert console.node.hub.channels() == []


async def test_a_user_cannot_reach_the_topics_of_the_console(console: Desk) -> None:
    page, ann = console.open(), console.connect("ann")
    await page.ask(type="subscribe", topic=topic("channels"))
    await ann.ask(type="subscribe", topic=f"{topic('channels')}/_console")
    await ann.ask(type="publish", topic=f"{topic('channels')}/_console", event="view", data=1)
    assert page.take() == []
    ann.take()
    await console.live.collect()
    assert page.take()
    assert ann.take() == []
