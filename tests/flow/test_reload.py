"""A running server reads its settings again: what changes live, who leaves, and that a mistake changes nothing."""

import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from tests.flow.calls import Http
from tests.flow.command import aerostack
from tests.flow.wire import Dial, Refused, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

RELOAD: Final = "/api/v1/realtime/reload"
SECRET: Final = "the token secret of these reload tests"
ROOM: Final = '[[channels]]\ntopic = "chat/{room}"\npublish = "anyone"\n'
ANYONE: Final = f'{ROOM}subscribe = "anyone"\n'
USERS: Final = f'{ROOM}subscribe = "authenticated"\n'


def rewrite(server: "ServerProcess", *replacements: tuple[str, str]) -> None:
    """Change the settings file of a server."""
    assert server.config is not None, "the server runs with a settings file"
    text = server.config.read_text()
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    server.config.write_text(text)


def token(user: str, secret: str = SECRET) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 300}, secret, algorithm="HS256")


async def reloaded(http: Http) -> dict[str, Any]:
    status, answer = await http.post(RELOAD)
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


@pytest.mark.database("sqlite")
async def test_a_revoked_rule_evicts_at_once(serve: Serve, calls: Calls, dial: Dial) -> None:
    server = await serve(f'anonymous = true\ntoken_secret = "{SECRET}"\n{ANYONE}')
    guest, user = await dial(server), await Wire.open(server.url, query={"token": token("ann")})
    for wire in (guest, user):
        await wire.subscribe("chat/1")
    rewrite(server, (ANYONE, USERS))
    assert await reloaded(calls(server)) == {"changed": ["channels"], "needsRestart": []}
    assert await guest.hear("unsubscribed", reason="forbidden")
    assert (await guest.ask("subscribe", topic="chat/1", id="again"))["code"] == "forbidden"
    await guest.publish("chat/1", "still allowed")
    assert (await user.hear("event"))["data"] == "still allowed"
    user.drop()


@pytest.mark.database("sqlite")
async def test_a_rule_that_is_granted_applies_to_open_connections(serve: Serve, calls: Calls, dial: Dial) -> None:
    server = await serve(f'anonymous = true\ntoken_secret = "{SECRET}"\n{USERS}')
    guest = await dial(server)
    assert (await guest.ask("subscribe", topic="chat/1", id="early"))["code"] == "forbidden"
    rewrite(server, (USERS, ANYONE))
    await reloaded(calls(server))
    await guest.subscribe("chat/1")


async def test_an_unchanged_row_rule_keeps_its_subscribers(
    serve: Serve, calls: Calls, dial: Dial, shell: Shell
) -> None:
    await shell("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER)")
    table = '[[tables]]\nname = "orders"\nsubscribe = "anyone"\nrows = "row.total > 5"\n'
    server = await serve(f"anonymous = true\n{table}{ANYONE}")
    wire = await dial(server)
    await wire.subscribe("orders")
    rewrite(server, ("chat/{room}", "talk/{room}"))
    await reloaded(calls(server))
    await shell("INSERT INTO orders VALUES (1, 9)")
    assert (await wire.hear("db_change"))["data"] == {"id": 1, "total": 9}
    rewrite(server, ("row.total > 5", "row.total > 50"))
    await reloaded(calls(server))
    assert await wire.hear("unsubscribed", reason="forbidden")


async def test_a_reload_introduces_memberships(serve: Serve, calls: Calls, shell: Shell) -> None:
    await shell("CREATE TABLE seats (room TEXT, who TEXT)")
    await shell("INSERT INTO seats VALUES ('1', 'ann')")
    server = await serve(f'token_secret = "{SECRET}"\n{ANYONE}')
    ann, bob = [await Wire.open(server.url, query={"token": token(name)}) for name in ("ann", "bob")]
    for wire in (ann, bob):
        await wire.subscribe("chat/1")
    members = 'members = { table = "seats", room = "{room}", who = "{user.id}" }\n'
    rewrite(server, (ANYONE, f"{ANYONE}{members}"))
    await reloaded(calls(server))
    assert await bob.hear("unsubscribed", reason="forbidden")
    await ann.publish("chat/1", "member")
    assert (await ann.hear("event"))["data"] == "member"
    await shell("DELETE FROM seats")
    assert await ann.hear("unsubscribed", reason="forbidden")
    ann.drop()
    bob.drop()


@pytest.mark.database("sqlite")
async def test_keys_are_rotated_without_a_restart(serve: Serve, calls: Calls) -> None:
    other = "another secret for the tokens of users"
    server = await serve(f'publishable_keys = ["ac_public_one_aaaa"]\ntoken_secret = "{SECRET}"\n{ANYONE}')
    app = await Wire.open(server.url, query={"apiKey": "ac_public_one_aaaa"})
    user = await Wire.open(server.url, query={"token": token("ann")})
    for wire in (app, user):
        await wire.hear("connected")
    rewrite(server, ("ac_public_one_aaaa", "ac_public_two_bbbb"))
    await reloaded(calls(server))
    assert (await app.ended()).code == 4401
    await user.subscribe("chat/1")
    rewrite(server, (SECRET, other))
    await reloaded(calls(server))
    assert (await user.ended()).code == 4401
    again = await Wire.open(server.url, query={"token": token("ann", other)})
    assert await again.hear("connected")
    for wire in (app, user, again):
        wire.drop()


@pytest.mark.database("sqlite")
async def test_limits_and_origins_change_live(serve: Serve, calls: Calls, dial: Dial) -> None:
    server = await serve("anonymous = true\norigins = []\n[limits]\nframe_bytes = 300\n")
    wire = await dial(server)
    origin = [("Origin", "https://app.example.com")]
    with pytest.raises(Refused):
        await dial(server, headers=origin)
    assert (await wire.ask("publish", topic="a/b", event="e", data="x" * 400, id="large"))["code"] == "too_large"
    rewrite(server, ("origins = []", 'origins = ["https://app.example.com"]'), ("= 300", "= 3000"))
    found = await reloaded(calls(server))
    assert found == {"changed": ["origins", "limits.frame_bytes"], "needsRestart": []}
    await wire.publish("a/b", "x" * 400)
    await dial(server, headers=origin)


@pytest.mark.database("sqlite")
async def test_shorter_log_bounds_apply_to_existing_logs(serve: Serve, calls: Calls, dial: Dial) -> None:
    server = await serve('anonymous = true\n[[logs]]\npattern = "*"\nmax_count = 100\n')
    wire = await dial(server)
    cursor = (await wire.publish("a/b", 0))["cursor"]
    for number in range(5):
        await wire.publish("a/b", number)
    assert (await wire.subscribe("a/b", since=cursor))["recovered"] is True
    rewrite(server, ("max_count = 100", "max_count = 2"))
    await reloaded(calls(server))
    assert (await wire.subscribe("a/b", since=cursor))["recovered"] is False


@pytest.mark.database("sqlite")
async def test_a_mistake_changes_nothing_and_is_named(serve: Serve, calls: Calls, dial: Dial) -> None:
    server = await serve(f'anonymous = true\ntoken_secret = "{SECRET}"\n{ANYONE}')
    wire = await dial(server)
    await wire.subscribe("chat/1")
    rewrite(server, (ANYONE, f"{USERS}history = 'user.'\n"), ("anonymous = true", "anonymous = false"))
    status, answer = await calls(server).post(RELOAD)
    assert status == 400
    assert answer["error"]["message"].startswith("Nothing changed: ")
    assert "history" in answer["error"]["message"]
    await wire.publish("chat/1", "as before")
    assert (await wire.hear("event"))["data"] == "as before"
    await dial(server)
    os.kill(server.pid, signal.SIGHUP)
    while "Nothing changed: " not in server.log.read_text():
        assert (await calls(server).get("/healthz", ""))[0] == 200


@pytest.mark.database("sqlite")
async def test_what_needs_a_restart_is_named(serve: Serve, calls: Calls) -> None:
    server = await serve("anonymous = true\n[limits]\nbuffer_bytes = 1000000\nheaders = 50\n")
    rewrite(server, ("anonymous = true", 'anonymous = true\nproject = "other"'), ("1000000", "2000000"))
    for _ in range(2):
        found = await reloaded(calls(server))
        assert found == {"changed": [], "needsRestart": ["project", "limits.buffer_bytes"]}


@pytest.mark.database("sqlite")
async def test_reload_needs_the_secret_key(serve: Serve, calls: Calls) -> None:
    server = await serve("anonymous = true")
    assert (await calls(server).post(RELOAD, key=""))[0] == 401


@pytest.mark.database("sqlite")
async def test_the_command_prints_what_changed(serve: Serve, tmp_path: Path) -> None:
    server = await serve(f"anonymous = true\n{ANYONE}")
    rewrite(server, ("chat/{room}", "talk/{room}"))
    arguments = ("reload", "--url", server.url, "--key", server.secret_key)
    ran = await aerostack(*arguments)
    assert (ran.code, ran.out) == (0, "reloaded: channels\n")
    rewrite(server, ("anonymous = true", "anonymous = 7"))
    failed = await aerostack(*arguments)
    assert failed.code != 0
    assert failed.complaint.startswith("error: Nothing changed: ")
