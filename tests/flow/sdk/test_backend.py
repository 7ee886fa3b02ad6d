"""The calls of a backend: presence, history, disconnect and revoke."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import jwt
import msgspec
import pytest

from aerostack_realtime.protocol.errors import BadMessage, Forbidden, InvalidTopic, TooLarge, Unauthorized
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.client import RealtimeClient
from tests.flow.sdk.conftest import quick

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.sdk.conftest import EventRecorder

    Serve = Callable[[str], Awaitable[ServerProcess]]

pytestmark = pytest.mark.database("sqlite")

SECRET = "a-secret-of-at-least-32-characters"


def token(user: str, issued: int, **claims: str) -> str:
    return jwt.encode({"sub": user, "iat": issued, "exp": int(time.time()) + 600, **claims}, SECRET, "HS256")


async def stopped(realtime: RealtimeClient) -> None:
    """Wait until the client is disconnected."""
    ended = asyncio.Event()
    realtime.on_status_change(lambda status: ended.set() if status == "disconnected" else None)
    if realtime.status != "disconnected":
        await ended.wait()


async def test_a_backend_sees_members_and_history(serve: "Serve") -> None:
    server = await serve(f'token_secret = "{SECRET}"')
    async with (
        Aerostack(server.url, api_key=server.secret_key) as backend,
        RealtimeClient(server.url, token=token("ann", 1)) as ann,
    ):
        room = ann.channel("room/1")
        await room.track({"name": "Ann"})
        [member] = await backend.presence("room/1")
        assert (member.user_id, member.state["name"]) == ("ann", "Ann")
        assert member.since > 0
        await room.publish("message", "hello", persist=True)
        [message] = await backend.history("room/1")
        assert (message.user_id, message.data) == ("ann", "hello")


async def test_disconnect_ends_the_connections_of_a_user(serve: "Serve") -> None:
    server = await serve(f'token_secret = "{SECRET}"')
    async with (
        Aerostack(server.url, api_key=server.secret_key) as backend,
        RealtimeClient(server.url, token=token("ann", 1)) as ann,
        RealtimeClient(server.url, token=token("bob", 1)) as bob,
    ):
        await ann.connect()
        await bob.connect()
        assert await backend.disconnect("ann") == 1
        await stopped(ann)
        assert bob.status == "connected"
        assert await backend.disconnect("nobody") == 0


async def test_revoke_invalidates_one_token_or_all_of_a_user(serve: "Serve") -> None:
    server = await serve(f'token_secret = "{SECRET}"')
    async with (
        Aerostack(server.url, api_key=server.secret_key) as backend,
        RealtimeClient(server.url, token=token("ann", 1, jti="t1")) as one,
        RealtimeClient(server.url, token=token("ann", 1, jti="t2")) as two,
    ):
        await one.connect()
        await two.connect()
        assert await backend.revoke(token_id="t1") == 1
        await stopped(one)
        assert two.status == "connected"
        assert await backend.revoke(user_id="ann") == 1
        await stopped(two)
        with pytest.raises(Unauthorized):
            await two.connect()
        with pytest.raises(ValueError, match="either"):
            await backend.revoke()


async def test_the_project_is_optional(serve: "Serve", recorder: "type[EventRecorder]") -> None:
    server = await serve('project = "shop"\nanonymous = true')
    for project in (None, "", "shop"):
        listener, rows = recorder(), recorder()
        async with Aerostack(server.url, api_key=server.secret_key, project_id=project) as sdk:
            await sdk.db.query("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)")
            channel = await sdk.realtime.channel("chat/general").on("message", listener).subscribe()
            await sdk.realtime.channel("orders").on("INSERT", rows).subscribe()
            await channel.publish("message", project, persist=True)
            await sdk.db.query("INSERT INTO orders DEFAULT VALUES")
            await channel.track({"userId": "ann"})
            assert len(await sdk.presence("chat/general")) == 1
            assert [each.data for each in await listener.first(1)] == [project]
            assert [each.topic for each in await rows.first(1)] == ["orders"]
    async with Aerostack(server.url, api_key=server.secret_key) as sdk:
        assert [each.data for each in await sdk.history("chat/general")] == ["shop", "", None]


async def test_a_topic_that_names_an_unknown_project_is_refused(serve: "Serve") -> None:
    server = await serve('project = "shop"\nanonymous = true')
    async with RealtimeClient(server.url, api_key=server.secret_key) as realtime:
        with pytest.raises(InvalidTopic, match="write 'chat/general', or pass project_id"):
            await realtime.channel("chat/general/shop").subscribe()
        assert (await realtime.channel("chat/general").subscribe()).subscribed


async def test_a_refusal_is_one_sentence_on_the_call(serve: "Serve") -> None:
    server = await serve('project = "shop"\nanonymous = true')
    async with RealtimeClient(server.url, api_key=server.secret_key, project_id="other") as realtime:
        with pytest.raises(Forbidden, match="'other'"):
            await realtime.connect()
    async with Aerostack(server.url, api_key=server.secret_key, project_id="other") as sdk:
        with pytest.raises(Forbidden, match="'other'"):
            await sdk.socket.emit("message", 1, "chat/general")
    async with RealtimeClient(server.url, api_key="ac_wrong", backoff=quick()) as realtime:
        with pytest.raises(Unauthorized, match="API key is not known"):
            await realtime.connect()
    async with Aerostack(server.url, api_key="ac_wrong") as sdk:
        with pytest.raises(Unauthorized, match="API key is not known"):
            await sdk.db.query("SELECT 1")


async def test_the_limits_of_the_server_are_checked_by_the_client(serve: "Serve") -> None:
    server = await serve("anonymous = true\n[limits]\nframe_bytes = 2000\nnesting = 20")
    async with RealtimeClient(server.url, api_key=server.secret_key) as realtime:
        statuses: list[str] = []
        await realtime.connect()
        realtime.on_status_change(statuses.append)
        channel = realtime.channel("chat/general")
        with pytest.raises(TooLarge, match="the server accepts 2000"):
            await channel.publish("message", "x" * 2000)
        with pytest.raises(BadMessage, match="more than 20 levels"):
            await channel.publish("message", msgspec.json.decode("[" * 20 + "]" * 20))
        await channel.publish("message", msgspec.json.decode("[" * 19 + "]" * 19))
        assert statuses == []


async def test_set_token_of_another_user_reconnects_as_that_user(
    serve: "Serve", recorder: "type[EventRecorder]"
) -> None:
    server = await serve(f'token_secret = "{SECRET}"')
    listener = recorder()
    async with RealtimeClient(server.url, token=token("ann", 1), backoff=quick()) as realtime:
        channel = await realtime.channel("chat/general").on("message", listener).subscribe()
        left = asyncio.Event()
        realtime.on_status_change(lambda _: left.set())
        realtime.on_error(lambda _: None)
        realtime.set_token(token("bob", 1))
        await left.wait()
        await realtime.connect()
        await channel.publish("message", "hello")
        assert [each.user_id for each in await listener.first(1)] == ["bob"]
