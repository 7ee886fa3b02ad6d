"""A session: authentication, limits, heartbeats, and the end of a connection."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aerostack_realtime.access.rules import ChannelRule
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from aerostack_realtime.gateway.websocket.connection_ids import ID_CHARACTERS
from aerostack_realtime.protocol import frames
from aerostack_realtime.protocol.errors import Forbidden
from tests.unit.gateway.websocket.stage import Stage, stage

SMALL = replace(UNLIMITED, bad_messages=3, frame_bytes=500, buffer_bytes=1000, heartbeat_seconds=25)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, limits=SMALL) as made:
        yield made


async def test_the_greeting_announces_the_limits(node: Stage) -> None:
    ann = node.connect("ann")
    ann.line.write(ann.session.greeting())
    [connected] = ann.take()
    assert connected.pop("connectionId") == ann.session.connection_id
    assert connected == {
        "type": "connected",
        "userId": "ann",
        "heartbeat": 25,
        "version": "1",
        "limits": {"frameBytes": 500, "nesting": 128},
    }


async def test_a_command_that_cannot_be_read_is_answered_and_counted(node: Stage) -> None:
    ann = node.connect("ann")
    ann.session.receive(b"nonsense")
    ann.session.binary(b"")
    assert [each["code"] for each in ann.take()] == ["bad_message"] * 2
    ann.session.receive(b"{}")
    assert ann.session.closed == 4400
    assert ann.line.hung_up
    ann.take()
    assert await ann.ask(type="ping") == [], "a closed session ignores what still comes"


async def test_a_frame_above_the_limit_is_refused_by_name(node: Stage) -> None:
    ann = node.connect("ann")
    [error] = await ann.ask(type="publish", topic="a/b", event="e", id="7", data="x" * 500)
    assert (error["code"], error["id"], error["topic"]) == ("too_large", "7", "a/b")
    assert [each["type"] for each in await ann.ask(type="ping")] == ["pong"]


async def test_without_an_identity_only_auth_and_ping_are_handled(node: Stage) -> None:
    nobody = node.connect(unauthenticated=True)
    assert [each["type"] for each in await nobody.ask(type="ping")] == ["pong"]
    [error] = await nobody.ask(type="subscribe", topic="a/b", id="1")
    assert (error["code"], error["id"]) == ("unauthorized", "1")
    [answer] = await nobody.ask(type="auth", token=node.token("ann"))
    assert answer == {"type": "authenticated", "userId": "ann"}
    assert nobody.session.user_id == "ann"


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
async def test_a_wrong_first_token_closes_the_connection(node: Stage, token: str) -> None:
    nobody = node.connect(unauthenticated=True)
    [error] = await nobody.ask(type="auth", token=token)
    assert (error["code"], nobody.session.closed) == ("unauthorized", 4401)


async def test_a_wrong_later_token_changes_nothing(node: Stage) -> None:
    ann = node.connect("ann")
    [error] = await ann.ask(type="auth", token="a.b.c")
    assert (error["code"], ann.session.closed, ann.session.user_id) == ("unauthorized", None, "ann")


async def test_another_users_token_closes_the_connection(node: Stage) -> None:
    ann = node.connect("ann")
    [error] = await ann.ask(type="auth", token=node.token("bob"))
    assert (error["code"], ann.session.closed) == ("unauthorized", 4401)


async def test_a_user_with_too_many_connections_is_closed(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=replace(UNLIMITED, connections_per_user=1)) as node:
        node.connect("ann")
        nobody = node.connect(unauthenticated=True)
        [error] = await nobody.ask(type="auth", token=node.token("ann"))
        assert (error["code"], nobody.session.closed) == ("rate_limited", 4429)


async def test_an_expired_token_has_a_grace_period(node: Stage) -> None:
    ann, bob = node.connect("ann", lives=60), node.connect("bob", lives=60)
    node.clock.seconds += 61
    for each in (ann, bob):
        each.session.heard()
        each.session.tick(node.clock())
        assert [error["code"] for error in each.take()] == ["token_expired"]
    assert (await bob.ask(type="auth", token=node.token("bob")))[0]["type"] == "authenticated"
    node.clock.seconds += 31
    for each in (ann, bob):
        each.session.heard()
        each.session.tick(node.clock())
    assert (ann.session.closed, bob.session.closed) == (4401, None)


async def test_a_silent_client_is_pinged_then_closed(node: Stage) -> None:
    ann, bob = node.connect("ann"), node.connect("bob")
    node.clock.seconds += 26
    for each in (ann, bob):
        each.session.tick(node.clock())
        assert each.line.written == [frames.PING]
    bob.session.control()
    node.clock.seconds += 26
    ann.session.tick(node.clock())
    bob.session.tick(node.clock())
    assert (ann.session.closed, bob.session.closed) == (4001, None)
    ann.session.tick(node.clock())


async def test_a_client_that_does_not_authenticate_is_closed(node: Stage) -> None:
    nobody = node.connect(unauthenticated=True)
    node.clock.seconds += 11
    nobody.session.tick(node.clock())
    assert nobody.session.closed == 4408


async def test_messages_above_the_rate_are_refused_then_closed(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, messages_per_second=1, messages_burst=2, refused_messages=2)
    async with stage(tmp_path, limits=limits) as node:
        ann = node.connect("ann")
        for _ in range(4):
            ann.send(type="ping", id="1")
        assert ann.types() == ["pong", "pong", "error", "error"]
        ann.send(type="ping")
        assert ann.session.closed == 4429


async def test_published_bytes_above_the_rate_are_refused_then_closed(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, publish_bytes_per_second=1, publish_bytes_burst=300)
    async with stage(tmp_path, limits=limits) as node:
        ann = node.connect("ann")
        answers = [await ann.ask(type="publish", topic="a/b", event="e", data="x" * 200, id="1") for _ in range(5)]
        codes = [each[0].get("code") for each in answers if each]
        assert codes[0] is None, "the first one is acknowledged"
        assert set(codes[1:]) == {"rate_limited"}
        assert ann.session.closed == 4429


async def test_a_flood_of_control_frames_is_closed(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, control_frames_per_second=1, control_frames_burst=2)
    async with stage(tmp_path, limits=limits) as node:
        ann = node.connect("ann")
        for _ in range(2):
            ann.session.pong(b"x")
        assert ann.line.written == [frames.pong(b"x")] * 2
        ann.session.pong(b"x")
        assert ann.session.closed == 4429


async def test_a_peer_that_takes_no_replies_is_a_slow_consumer(node: Stage) -> None:
    ann = node.connect("ann")
    ann.line.stalled = 2000
    ann.send(type="ping")
    assert ann.session.closed is None, "it may be behind, and is served from a log"
    ann.line.stalled = 2001
    ann.send(type="ping")
    assert ann.session.closed == 4000


async def test_closing_ends_subscriptions_and_presence_once(node: Stage) -> None:
    ann, bob = node.connect("ann"), node.connect("bob")
    for each in (ann, bob):
        await each.ask(type="subscribe", topic="a/b", id="1")
    await ann.ask(type="track", topic="a/b", state={"n": 1}, id="2")
    bob.take()
    ann.session.close(4403, "disconnected")
    ann.session.close(4400, "again")
    ann.session.lost()
    assert ann.session.closed == 4403
    assert [each["event"] for each in bob.take()] == ["presence:leave"]
    assert [each.subscribers for each in node.hub.channels()] == [1]
    bob.session.lost()
    assert bob.session.closed == 1006
    assert node.hub.channels() == []


async def test_a_denied_topic_is_left_with_a_reason(node: Stage, caplog: pytest.LogCaptureFixture) -> None:
    ann = node.connect("ann")
    await ann.ask(type="subscribe", topic="a/b", id="1")
    with caplog.at_level(logging.INFO, "aerostack_realtime.audit"):
        ann.session.deny("a/b/default", Forbidden("No."))
    assert ann.types() == ["error", "unsubscribed"]
    assert '"audit":"evicted"' in caplog.text
    ann.session.evict("a/b/default")
    assert ann.types() == []


async def test_a_refusal_is_audited_with_the_rule(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rules = (ChannelRule("chat/{room}", "server"),)
    async with stage(tmp_path, channels=rules) as node:
        ann = node.connect("ann")
        with caplog.at_level(logging.INFO, "aerostack_realtime.audit"):
            await ann.ask(type="subscribe", topic="chat/1", id="1")
            [error] = await ann.ask(type="publish", topic="other/1", event="e", id="2")
    assert error["message"] == "The rules of this server do not let you publish here."
    assert '"rule":"[[channels]] number 1 (chat/{room})","part":"subscribe"' in caplog.text
    assert '"rule":"none matched"' in caplog.text


async def test_an_unexpected_failure_is_logged_under_a_reference(
    node: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Hub, "publish", fail)
    [error] = await node.connect("ann").ask(type="publish", topic="a/b", event="e", id="1")
    reference = error["message"].removesuffix(".").rpartition(" ")[2]
    assert (error["code"], error["id"]) == ("internal", "1")
    assert reference in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_connections_have_ids_of_their_own(node: Stage) -> None:
    ids = [node.connect("ann").session.connection_id for _ in range(200)]
    assert len(set(ids)) == len(ids)
    assert all(len(id) == ID_CHARACTERS and id.isascii() for id in ids)
