"""Commands: what is answered to each, and what it changes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aerostack_realtime.access.rules import ChannelRule, TableRule
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from tests.unit.gateway.websocket.stage import Stage, stage

HERE = "tests.unit.gateway.websocket.test_commands"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def test_an_event_reaches_subscribers_and_is_acknowledged(node: Stage) -> None:
    ann, bob = node.connect("ann"), node.connect("bob")
    [subscribed] = await bob.ask(type="subscribe", topic="a/b", id="s")
    assert (subscribed["topic"], subscribed["id"], subscribed["recovered"]) == ("a/b/default", "s", None)
    [ack] = await ann.ask(type="publish", topic="a/b", event="e", data={"n": 1}, id="p")
    [event] = bob.take()
    assert (event["data"], event["userId"], event["id"], event["cursor"]) == ({"n": 1}, "ann", "p", ack["cursor"])
    [again] = await ann.ask(type="publish", topic="a/b", event="e", data={"n": 1}, id="p")
    assert again == {**ack, "duplicate": True}
    assert bob.take() == []


async def test_an_event_without_echo_does_not_return_to_its_sender(node: Stage) -> None:
    ann = node.connect("ann")
    await ann.ask(type="subscribe", topic="a/b")
    assert await ann.ask(type="publish", topic="a/b", event="e", echo=False) == []
    assert [each["type"] for each in await ann.ask(type="publish", topic="a/b", event="e")] == ["event"]


async def test_unsubscribing_ends_delivery(node: Stage) -> None:
    ann = node.connect("ann")
    await ann.ask(type="subscribe", topic="a/b")
    [answer] = await ann.ask(type="unsubscribe", topic="a/b", id="u")
    assert answer == {"type": "unsubscribed", "topic": "a/b/default", "id": "u"}
    assert await ann.ask(type="publish", topic="a/b", event="e") == []


async def test_presence_is_tracked_shown_and_ended(node: Stage) -> None:
    ann, bob = node.connect("ann"), node.connect("bob")
    await bob.ask(type="subscribe", topic="a/b")
    assert [each["type"] for each in await ann.ask(type="track", topic="a/b", state={"n": 1}, id="t")] == ["ack"]
    assert [each["event"] for each in bob.take()] == ["presence:join"]
    [shown] = await bob.ask(type="presence", topic="a/b", id="q")
    assert [(each["userId"], each["state"]) for each in shown["members"]] == [("ann", {"n": 1})]
    assert [each["type"] for each in await ann.ask(type="untrack", topic="a/b", id="v")] == ["ack"]
    assert [each["event"] for each in bob.take()] == ["presence:leave"]
    assert await ann.ask(type="track", topic="a/b", state={}) == [], "without an id there is no answer"


async def test_an_anonymous_member_is_its_connection(node: Stage) -> None:
    nobody = node.connect()
    await nobody.ask(type="track", topic="a/b", state={"userId": "ann"})
    assert [each.user_id for each in node.hub.presence.members("a/b/default")] == [nobody.session.connection_id]


async def test_chat_is_stored_and_arrives_by_the_use_of_chat(node: Stage) -> None:
    ann, bob = node.connect("ann"), node.connect("bob")
    for each in (ann, bob):
        await each.ask(type="subscribe", topic="chat/1")
    ann.send(type="chat", roomId="1", text="hi", metadata={"lang": "en"})
    await bob.written()
    [heard], [own] = bob.take(), ann.take()
    assert (heard["type"], own["type"]) == ("event", "chat_message")
    assert (heard["event"], own["event"]) == ("chat_message", "chat_message")
    assert own["data"] == {"roomId": "1", "text": "hi", "userId": "ann", "metadata": {"lang": "en"}}
    [stored] = await node.database.messages.history("chat/1/default", 10)
    assert stored.id == own["id"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"type": "subscribe", "topic": "a//b"}, "invalid_topic"),
        ({"type": "publish", "topic": "orders", "event": "e"}, "forbidden"),
        ({"type": "publish", "topic": "a/b", "event": ""}, "bad_message"),
        ({"type": "publish", "topic": "a/b", "event": "presence:join"}, "bad_message"),
        ({"type": "publish", "topic": "a/b", "event": "e", "id": ""}, "bad_message"),
        ({"type": "track", "topic": "orders", "state": {}}, "forbidden"),
        ({"type": "track", "topic": "a/b", "state": {"x": "y" * 20_000}}, "too_large"),
        ({"type": "subscribe", "topic": "orders", "filter": {"x": "y" * 5_000}}, "invalid_filter"),
        ({"type": "subscribe", "topic": "a/b", "filter": {"x": 1}}, "bad_message"),
        ({"type": "subscribe", "topic": "a/b", "snapshot": True}, "bad_message"),
        ({"type": "subscribe", "topic": "a/b", "snapshot": 7}, "bad_message"),
        ({"type": "subscribe", "topic": "orders", "slow": "latest"}, "bad_message"),
        ({"type": "subscribe", "topic": "orders"}, "not_found"),
        ({"type": "presence", "topic": "a//b"}, "invalid_topic"),
    ],
)
async def test_a_command_that_cannot_be_carried_out_is_an_error(
    node: Stage, command: dict[str, Any], code: str
) -> None:
    ann = node.connect("ann")
    answers = await ann.ask(**{"id": "1", **command})
    assert [each.get("code") for each in answers] == [code]
    assert node.hub.channels() == []


async def test_a_connection_is_on_a_bounded_number_of_topics(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=replace(UNLIMITED, subscriptions=2)) as node:
        ann = node.connect("ann")
        answers = [await ann.ask(type="subscribe", topic=f"a/{number}", id="1") for number in range(3)]
        assert [each[0]["type"] for each in answers] == ["subscribed", "subscribed", "error"]
        await ann.ask(type="unsubscribe", topic="a/0")
        assert (await ann.ask(type="subscribe", topic="a/3", id="1"))[0]["type"] == "subscribed"


async def test_presence_needs_its_right(tmp_path: Path) -> None:
    rules = (ChannelRule("chat/{room}", "anyone", "anyone"),)
    async with stage(tmp_path, channels=rules) as node:
        ann = node.connect("ann")
        assert (await ann.ask(type="subscribe", topic="chat/1", id="1"))[0]["type"] == "subscribed"
        for command in ({"type": "track", "state": {}}, {"type": "presence"}):
            [error] = await ann.ask(**command, topic="chat/1", id="2")
            assert error["code"] == "forbidden"


answers: dict[str, bool | BaseException] = {}


async def authorize(identity: Any, topic: str, action: str) -> bool:
    """The `authorize` function of the rules below."""
    answer = answers.get(action, True)
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def test_an_authorize_function_is_asked_once_per_action(tmp_path: Path) -> None:
    rules = (ChannelRule("chat/{room}", authorize=f"{HERE}:authorize"),)
    answers.update(subscribe=True, presence=True, publish=False, history=True)
    async with stage(tmp_path, channels=rules) as node:
        ann = node.connect("ann")
        assert (await ann.ask(type="subscribe", topic="chat/1", id="1"))[0]["type"] == "subscribed"
        [error] = await ann.ask(type="publish", topic="chat/1", event="e", id="2")
        assert error["code"] == "forbidden"
        answers.update(publish=True)
        assert ann.send(type="publish", topic="chat/1", event="e", id="3") is None, "the answer is remembered"
        assert [each["type"] for each in ann.take()] == ["error"]
        node.clock.seconds += 61
        assert [each["type"] for each in await ann.ask(type="publish", topic="chat/1", event="e", id="3")] == [
            "ack",
            "event",
        ]


async def test_a_failing_authorize_function_denies(tmp_path: Path) -> None:
    rules = (ChannelRule("chat/{room}", authorize=f"{HERE}:authorize"),)
    answers.update(subscribe=ZeroDivisionError("the user's function"))
    async with stage(tmp_path, channels=rules) as node:
        [error] = await node.connect("ann").ask(type="subscribe", topic="chat/1", id="1")
        assert error["code"] == "forbidden"


async def test_new_claims_end_what_they_do_not_allow(tmp_path: Path) -> None:
    rules = (ChannelRule("team/{team}", "team in user.claims.teams"), ChannelRule("**", "authenticated"))
    tables = (TableRule("orders", rows={"owner": "user.claims.owner"}), TableRule("items"))
    async with stage(tmp_path, channels=rules, tables=tables) as node:
        await node.rows("CREATE TABLE orders(owner TEXT)", "CREATE TABLE items(n INTEGER)")
        ann = node.connect("ann", teams=["red", "blue"], owner="ann")
        for topic in ("team/red", "team/blue", "other/1", "orders", "items"):
            assert (await ann.ask(type="subscribe", topic=topic, id="1"))[-1]["type"] == "subscribed"
        answers = await ann.ask(type="auth", token=node.token("ann", teams=["blue"], owner="bob"))
        assert [(each["type"], each.get("topic")) for each in answers] == [
            ("authenticated", None),
            ("unsubscribed", "team/red/default"),
            ("unsubscribed", "table/orders/default"),
        ]
