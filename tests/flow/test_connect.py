"""Connecting: credentials, sub-protocols, origins and projects (docs/protocol.md §2)."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.flow.calls import Http
from tests.flow.wire import Dial, Refused, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]

SECRET_KEY = "ac_secret_dev"
SECRET = "a token secret of more than 32 characters"
CLOSED = f'token_secret = "{SECRET}"\npublishable_keys = ["pk_known_to_the_server"]'


def token(user: str = "ann", *, lives: float = 60, secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + lives, **claims}, secret, algorithm="HS256")


async def test_the_first_frame_says_who_is_connected_to_what(node: "ServerProcess") -> None:
    wire = await Wire.open(node.url, query={"userId": "ann"})
    connected = await wire.next()
    assert sorted(connected) == ["connectionId", "heartbeat", "limits", "type", "userId", "version"]
    assert connected["limits"] == {"frameBytes": 65536, "nesting": 128}
    assert (connected["type"], connected["userId"], connected["heartbeat"]) == ("connected", "ann", 25)
    nobody = await Wire.open(node.url)
    assert (await nobody.next())["userId"] is None
    wire.drop()
    nobody.drop()


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        (["aerostack-v1"], "aerostack-v1"),
        ([f"aerostack-key.{SECRET_KEY}", "aerostack-v1"], "aerostack-v1"),
        ([f"aerostack-key.{SECRET_KEY}", "other"], "other"),
        ([f"aerostack-key.{SECRET_KEY}"], f"aerostack-key.{SECRET_KEY}"),
        (["chat", "other"], "chat"),
    ],
)
async def test_a_sub_protocol_is_selected_that_a_browser_accepts(
    node: "ServerProcess", offered: list[str], selected: str | None
) -> None:
    wire = await Wire.open(node.url, protocols=offered)
    assert wire.protocol == selected
    assert (await wire.next())["type"] == "connected"
    wire.drop()


async def test_sub_protocols_may_come_in_several_headers_and_none_is_logged(server: "ServerProcess") -> None:
    headers = [("Sec-WebSocket-Protocol", "aerostack-key.hush"), ("Sec-WebSocket-Protocol", "aerostack-v1")]
    wire = await Wire.open(server.url, protocols=(), headers=headers)
    assert wire.protocol == "aerostack-v1"
    wire.drop()
    assert "hush" not in server.log.read_text()


async def test_a_closed_server_knows_its_clients(serve: Serve, dial: Dial) -> None:
    server = await serve(CLOSED)
    ways: list[tuple[dict[str, Any], str | None]] = [
        ({"protocols": ["aerostack-v1", f"aerostack-token.{token()}"]}, "ann"),
        (
            {"protocols": ["aerostack-v1", "aerostack-key.pk_known_to_the_server", f"aerostack-token.{token()}"]},
            "ann",
        ),
        ({"query": {"token": token()}}, "ann"),
        ({"query": {"apiKey": "pk_known_to_the_server", "token": token()}}, "ann"),
        ({"query": {"userId": "claimed", "token": token()}}, "ann"),
        ({"headers": [("Authorization", f"Bearer {token()}")]}, "ann"),
        ({"protocols": [f"aerostack-key.{server.secret_key}"]}, None),
    ]
    for number, (how, user) in enumerate(ways):
        wire = await Wire.open(server.url, **how)
        connected = await wire.next()
        assert (number, connected["type"], connected.get("userId")) == (number, "connected", user)
        assert (await wire.ask("subscribe", topic="a/b"))["type"] == "subscribed"
        wire.drop()
    strangers: list[tuple[dict[str, Any], str]] = [
        ({"protocols": ["aerostack-v1", "aerostack-key.pk_unknown"]}, "unauthorized"),
        (
            {"protocols": ["aerostack-v1", "aerostack-key.pk_known_to_the_server", "aerostack-token.a.b.c"]},
            "unauthorized",
        ),
        ({"query": {"token": token(secret="x" * 40)}}, "unauthorized"),
        ({"query": {"token": token(lives=-120)}}, "token_expired"),
        ({"query": {"token": jwt.encode({"sub": "ann"}, SECRET, algorithm="HS256")}}, "unauthorized"),
        ({"query": {"token": token(nbf=time.time() + 300)}}, "unauthorized"),
        ({"query": {"token": jwt.encode({"sub": "a", "exp": 2e9}, "", algorithm="none")}}, "unauthorized"),
        ({"query": {"token": "\u00e9"}}, "unauthorized"),
        ({"headers": [("Authorization", "Bearer \udcff.\udcfe.x")]}, "unauthorized"),
        ({"protocols": ["aerostack-v1", "aerostack-key.\udcff"]}, "unauthorized"),
    ]
    for number, (how, code) in enumerate(strangers):
        wire = await Wire.open(server.url, **how)
        refusal = await wire.next()
        assert (number, refusal["type"], refusal["code"]) == (number, "error", code)
        assert (await wire.ended()).code == 4401
        wire.drop()
    assert "Traceback" not in server.log.read_text()
    assert "pk_unknown" not in server.log.read_text()


async def test_a_claimed_user_id_counts_for_nothing_on_a_closed_server(serve: Serve) -> None:
    server = await serve(CLOSED)
    wire = await Wire.open(server.url, query={"userId": "claimed", "apiKey": "pk_known_to_the_server"})
    assert (await wire.next())["userId"] is None
    wire.drop()


async def test_a_first_frame_may_authenticate(serve: Serve) -> None:
    server = await serve(CLOSED)
    wire = await Wire.open(server.url)
    assert (await wire.next())["userId"] is None
    assert (await wire.ask("subscribe", topic="a/b"))["code"] == "unauthorized"
    wire.say("auth", token=token())
    assert await wire.next() == {"type": "authenticated", "userId": "ann"}
    await wire.subscribe("a/b")
    await wire.publish("a/b", 1)
    assert (await wire.hear("event"))["userId"] == "ann"
    wire.drop()


async def test_a_first_frame_with_a_wrong_token_ends_the_connection(serve: Serve) -> None:
    server = await serve(CLOSED)
    wire = await Wire.open(server.url)
    wire.say("auth", token="wrong")
    assert (await wire.hear("error"))["code"] == "unauthorized"
    assert (await wire.ended()).code == 4401
    wire.drop()


async def test_an_unauthenticated_client_is_closed_in_time(serve: Serve) -> None:
    server = await serve(f"{CLOSED}\n[limits]\nauth_seconds = 0.2")
    wire = await Wire.open(server.url)
    assert (await wire.ended()).code == 4408
    wire.drop()


async def test_an_expired_token_is_warned_of_and_then_receives_nothing(serve: Serve) -> None:
    server = await serve(f"{CLOSED}\n[limits]\ntoken_grace_seconds = 6")
    forgets = await Wire.open(server.url, query={"token": token(lives=0.2)})
    renews = await Wire.open(server.url, query={"token": token("bob", lives=0.2)})
    for wire in (forgets, renews):
        await wire.subscribe("a/b")
        assert (await wire.hear("error"))["code"] == "token_expired"
    renews.say("auth", token=token("bob"))
    assert await renews.hear("authenticated", userId="bob")
    assert (await forgets.ended()).code == 4401
    await renews.publish("a/b", 1)
    assert (await renews.hear("event"))["data"] == 1
    forgets.drop()
    renews.drop()


async def test_a_wrong_token_leaves_the_connection_as_it_was(serve: Serve, dial: Dial) -> None:
    server = await serve(CLOSED)
    wire = await dial(server, query={"token": token("ann")})
    wire.say("auth", token="wrong")
    assert (await wire.hear("error"))["code"] == "unauthorized"
    assert (await wire.publish("a/b", 1))["type"] == "ack"


async def test_another_users_token_closes_the_connection(serve: Serve, dial: Dial) -> None:
    server = await serve(CLOSED)
    wire = await dial(server, query={"token": token("ann")})
    wire.say("auth", token=token("bob"))
    assert (await wire.hear("error"))["code"] == "unauthorized"
    assert (await wire.ended()).code == 4401


async def test_credentials_in_the_query_can_be_turned_off(serve: Serve) -> None:
    server = await serve(f"{CLOSED}\nquery_credentials = false")
    wire = await Wire.open(server.url, query={"token": token()})
    assert (await wire.next())["userId"] is None
    assert (await wire.ask("subscribe", topic="a/b"))["code"] == "unauthorized"
    wire.drop()


async def test_another_project_is_forbidden(node: "ServerProcess") -> None:
    wire = await Wire.open(node.url, query={"projectId": "other"})
    assert (await wire.next())["code"] == "forbidden"
    assert (await wire.ended()).code == 4403
    wire.drop()


async def test_only_pages_of_allowed_origins_connect(serve: Serve) -> None:
    server = await serve('anonymous = true\norigins = ["https://app.example.com"]')
    for origin in ("https://app.example.com", "https://APP.example.com", server.url):
        wire = await Wire.open(server.url, headers=[("Origin", origin)])
        assert (await wire.next())["type"] == "connected"
        wire.drop()
    for origin in ("https://evil.example.com", "null", "https://app.example.com.evil.com", "http://[", "x"):
        with pytest.raises(Refused) as refused:
            await Wire.open(server.url, headers=[("Origin", origin)])
        assert (refused.value.status, refused.value.body["error"]["code"]) == (403, "forbidden")


async def test_a_page_of_this_machine_connects_to_a_server_for_development(node: "ServerProcess") -> None:
    wire = await Wire.open(node.url, headers=[("Origin", "http://localhost:5173")])
    assert (await wire.next())["type"] == "connected"
    wire.drop()
    with pytest.raises(Refused):
        await Wire.open(node.url, headers=[("Origin", "https://evil.example.com")])


async def test_a_plain_request_is_asked_to_upgrade(http: Http) -> None:
    status, body = await http.get("/api/realtime", projectId="default")
    assert (status, body["error"]["code"]) == (426, "bad_message")


@pytest.mark.parametrize("user", ["\u00e9\U0001f600", "a b/c", "x" * 1000])
async def test_a_user_id_is_any_text(node: "ServerProcess", dial: Dial, user: str) -> None:
    wire = await dial(node, user)
    await wire.subscribe("connect/users")
    await wire.publish("connect/users", 1, persist=True)
    assert (await wire.hear("event"))["userId"] == user


async def test_a_user_id_of_another_type_harms_nothing(http: Http, node: "ServerProcess") -> None:
    wire = await Wire.open(node.url, raw_query="&userId=%FF%ED%A0%80")
    assert (await wire.next())["type"] == "connected"
    await wire.subscribe("connect/bytes")
    await wire.publish("connect/bytes", 1, persist=True)
    await wire.hear("event")
    wire.drop()
