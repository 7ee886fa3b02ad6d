"""What an operator does: disconnect, revoke, look; and what is written down of it."""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from tests.flow.calls import Http
from tests.flow.wire import Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]

SECRET: Final = "the token secret of this operator"
SETTINGS: Final = f"""
token_secret = "{SECRET}"
[[channels]]
topic = "chat/{{room}}"
subscribe = "authenticated"
presence = "authenticated"
"""
DISCONNECT: Final = "/api/v1/realtime/disconnect"
REVOKE: Final = "/api/v1/realtime/revoke"


def token(user: str, **claims: Any) -> str:
    now = time.time()
    return jwt.encode({"sub": user, "iat": now - 10, "exp": now + 300, **claims}, SECRET, algorithm="HS256")


async def connect(server: "ServerProcess", credential: str) -> Wire:
    return await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-token.{credential}"])


async def refused(server: "ServerProcess", credential: str) -> bool:
    """Whether a connection with this token is closed with 4401."""
    wire = await connect(server, credential)
    answer = await wire.next()
    if answer["type"] == "error":
        assert (await wire.ended()).code == 4401
    wire.drop()
    return bool(answer["type"] == "error")


async def test_disconnect_closes_every_connection_of_a_user_who_may_come_back(serve: Serve, calls: Calls) -> None:
    server = await serve(SETTINGS)
    http = calls(server)
    ann = [await connect(server, token("ann")) for _ in range(3)]
    bob = await connect(server, token("bob"))
    for wire in (*ann, bob):
        await wire.hear("connected")
    assert await http.post(DISCONNECT, {"userId": "ann"}) == (200, {"closed": 3})
    for wire in ann:
        assert (await wire.ended()).code == 4403
        wire.drop()
    assert await bob.settled() == []
    bob.drop()
    assert not await refused(server, token("ann"))


async def test_a_revoked_token_counts_no_more_also_after_a_restart(serve: Serve, calls: Calls) -> None:
    server = await serve(SETTINGS)
    stolen, other = token("ann", jti="stolen"), token("ann", jti="other")
    thief, ann = await connect(server, stolen), await connect(server, other)
    for wire in (thief, ann):
        await wire.hear("connected")
    assert await calls(server).post(REVOKE, {"tokenId": "stolen"}) == (200, {"closed": 1})
    assert (await thief.ended()).code == 4403
    assert await ann.settled() == []
    for wire in (thief, ann):
        wire.drop()
    for _ in range(2):
        assert await refused(server, stolen)
        assert not await refused(server, other)
        status, body = await calls(server).get("/api/v1/realtime/presence", stolen, topic="chat/a")
        assert (status, body["error"]["code"]) == (401, "unauthorized")
        await server.kill()
        await server.start()


async def test_all_tokens_of_a_user_issued_until_now_can_be_revoked(serve: Serve, calls: Calls) -> None:
    server = await serve(SETTINGS)
    old, without, bob = token("ann"), token("ann", iat=None), token("bob")
    new = token("ann", iat=time.time() + 100)
    wire = await connect(server, old)
    await wire.hear("connected")
    assert await calls(server).post(REVOKE, {"userId": "ann"}) == (200, {"closed": 1})
    assert (await wire.ended()).code == 4403
    wire.drop()
    for _ in range(2):
        assert [await refused(server, each) for each in (old, without, new, bob)] == [True, True, False, False]
        await server.kill()
        await server.start()


@pytest.mark.parametrize("body", [{}, {"userId": "a", "tokenId": "b"}, {"userId": 7}])
async def test_a_revocation_names_one_thing(http: Http, body: dict[str, Any]) -> None:
    status, answer = await http.post(REVOKE, body)
    assert (status, answer["error"]["code"]) == (400, "bad_message")


async def test_channels_are_listed_with_their_subscribers_and_members(serve: Serve, calls: Calls) -> None:
    server = await serve(SETTINGS)
    wires = [await connect(server, token(user)) for user in ("ann", "ann", "bob")]
    for wire in wires:
        await wire.subscribe("chat/general")
        await wire.ask("track", topic="chat/general", state={})
    await wires[0].subscribe("chat/quiet", presence=False)
    status, body = await calls(server).get("/api/v1/realtime/channels")
    assert status == 200
    assert sorted(body["channels"], key=lambda each: each["topic"]) == [
        {"topic": "chat/general/default", "subscribers": 3, "members": 2},
        {"topic": "chat/quiet/default", "subscribers": 1, "members": 0},
    ]
    for wire in wires:
        wire.drop()


async def test_refusals_disconnects_and_keys_are_written_down_without_a_secret(
    serve: Serve, calls: Calls, tmp_path: Path
) -> None:
    server = await serve(SETTINGS)
    ann = await connect(server, token("ann", jti="marker-jti"))
    await ann.ask("subscribe", topic="secret/room")
    await ann.ask("publish", topic="chat/general", event="e", data="marker-payload")
    assert await refused(server, token("ann")[:-6] + "marker")
    await calls(server).get("/api/v1/realtime/channels", "marker-key")
    await calls(server).post(DISCONNECT, {"userId": "ann"})
    await ann.ended()
    ann.drop()
    await server.terminate()
    text = (tmp_path / "server.log").read_text()
    lines = [json.loads(line[line.index("{") :]) for line in text.splitlines() if '{"audit":' in line]
    by_kind = {(each["audit"], each.get("reason"), each.get("command")) for each in lines}
    assert by_kind >= {
        ("refused", None, "subscribe"),
        ("refused", None, "publish"),
        ("refused", "unauthorized", None),
        ("closed", "disconnected by the admin", None),
    }
    assert {each["user"] for each in lines if each["audit"] == "closed"} == {"ann"}
    for secret in ("marker", SECRET, server.secret_key, token("ann").split(".")[1][:20]):
        assert secret not in text
