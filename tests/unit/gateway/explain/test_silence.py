"""In development a client learns once why a subscription stays silent."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aerostack_realtime.access.rules import TableRule
from aerostack_realtime.gateway.explain.silence import SILENT_SECONDS, SilentSubscriptions
from aerostack_realtime.gateway.websocket.explanation_link import ExplanationLinks
from tests.unit.gateway.websocket.stage import Connection, Stage, stage

PAGE = "http://127.0.0.1:8787/console/#/explain"
ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, owner TEXT)"
TABLES = (TableRule("*", "authenticated", rows={"owner": "user.id"}),)


class Development:
    """Connections of a server in development, and what `SilentSubscriptions` finds when their time is over."""

    def __init__(self, node: Stage) -> None:
        self.node = node
        self.connections: list[Connection] = []
        self._now = 0.0
        self._silence = SilentSubscriptions(
            hub=node.hub,
            feed=node.database.changes,
            guard=node.guard,
            sessions=lambda: [each.session for each in self.connections],
            now=lambda: self._now,
        )

    def connect(self, user: str | None = "ann") -> Connection:
        connection = self.node.connect(user)
        connection.session.links = ExplanationLinks("http://127.0.0.1:8787")
        self.connections.append(connection)
        return connection

    async def subscribed(self, topic: str, user: str | None = "ann", **how: Any) -> Connection:
        connection = self.connect(user)
        answers = await connection.ask(type="subscribe", topic=topic, advice=True, **how)
        assert answers[0]["type"] == "subscribed", answers
        return connection

    async def advice(self, connection: Connection, seconds: float = SILENT_SECONDS + 1) -> list[str]:
        """The advice that a connection has, this long after its last subscription."""
        record = self.node.hub.records.find(connection.session.connection_id)
        assert record is not None
        self._now = record.periods[-1].at / 1000 + seconds
        await self._silence.check()
        return [each["message"] for each in connection.take() if each["type"] == "advice"]


@pytest.fixture
async def development(tmp_path: Path) -> AsyncIterator[Development]:
    async with stage(tmp_path, tables=TABLES, sql=(ORDERS,)) as node:
        yield Development(node)


async def test_a_channel_without_events_is_reported_once_and_not_too_early(development: Development) -> None:
    ann = await development.subscribed("open/1")
    assert await development.advice(ann, SILENT_SECONDS - 1) == []
    said = "open/1: nothing has arrived in 10 s. Nothing was published on it. Why: "
    assert await development.advice(ann) == [f"{said}{PAGE}?topic=open/1&user=ann"]
    assert await development.advice(ann, 100) == []


async def test_a_channel_with_events_is_not_silent(development: Development) -> None:
    ann, bob = await development.subscribed("open/1"), development.connect("bob")
    await bob.ask(type="publish", topic="open/1", event="m", data=1)
    assert await development.advice(ann) == []


async def test_events_that_were_not_sent_to_the_client_do_not_count(development: Development) -> None:
    ann = await development.subscribed("open/1", presence=False)
    await ann.ask(type="publish", topic="open/1", event="m", data=1, echo=False)
    bob = development.connect("bob")
    await bob.ask(type="track", topic="open/1", state={})
    assert len(await development.advice(ann)) == 1


async def test_a_similar_topic_that_is_in_use_is_named(development: Development) -> None:
    ann, bob = await development.subscribed("open/lobbi"), development.connect("bob")
    await bob.ask(type="publish", topic="open/lobby", event="m", data=1)
    [message] = await development.advice(ann)
    assert "open/lobby is in use: check the spelling." in message


async def test_a_refused_publish_is_named(development: Development) -> None:
    ann, bob = await development.subscribed("open/1"), development.connect("bob")
    await bob.ask(type="publish", topic="open/1", event="m", data=1, id="e1", compacts="x")
    [message] = await development.advice(ann)
    assert "A publish was refused:" in message
    assert message.endswith(f"{PAGE}?topic=open/1&user=ann&event=e1")


async def test_rows_outside_the_view_are_counted_and_the_newest_is_named(development: Development) -> None:
    ann, bob = await development.subscribed("orders"), await development.subscribed("orders", "bob")
    await development.node.rows("INSERT INTO orders VALUES (1, 'bob'), (2, 'bob')")
    await bob.written()
    [message] = await development.advice(ann)
    assert "2 changes are not in its view" in message
    assert message.endswith(f"{PAGE}?topic=orders&user=ann&row=id=2")


async def test_a_change_in_the_view_ends_the_silence_of_a_table(
    development: Development,
) -> None:
    ann, bob = await development.subscribed("orders"), await development.subscribed("orders", "bob")
    await development.node.rows("INSERT INTO orders VALUES (1, 'bob')")
    await bob.written()
    assert len(await development.advice(ann)) == 1
    assert await development.advice(bob) == []
    carl = await development.subscribed("orders", "carl")
    [message] = await development.advice(carl)
    assert "No row of it has changed." in message


async def test_clients_that_show_no_advice_or_have_resumed_get_none(development: Development) -> None:
    ann = development.connect()
    [answer] = await ann.ask(type="subscribe", topic="open/1", presence=False)
    await ann.ask(type="subscribe", topic="open/2", presence=False, advice=True, since=answer["cursor"])
    assert await development.advice(ann) == []


async def test_a_server_outside_development_sends_none(development: Development) -> None:
    ann = await development.subscribed("open/1")
    ann.session.links = None
    assert await development.advice(ann) == []


async def test_a_client_without_a_user_id_gets_the_address_of_its_connection(development: Development) -> None:
    someone = await development.subscribed("open/1", None)
    [message] = await development.advice(someone)
    assert message.endswith(f"{PAGE}?connection={someone.session.connection_id}")
