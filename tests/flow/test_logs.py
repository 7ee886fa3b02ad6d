"""What a server writes about itself: formats, levels, the audit file; and no secret and no payload anywhere."""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest

from tests.flow.calls import Http
from tests.flow.command import aerostack
from tests.flow.wire import Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

SECRET: Final = "the token secret of these log tests"
SETTINGS: Final = f"""
anonymous = true
token_secret = "{SECRET}"
publishable_keys = ["ac_public_marker_key"]
[[channels]]
topic = "chat/{{room}}"
subscribe = "anyone"
publish = "anyone"
history = "anyone"
presence = "anyone"
[[tables]]
name = "orders"
subscribe = "anyone"
[logging]
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def refused_publish(wire: Wire) -> None:
    answer = await wire.ask("publish", topic="elsewhere/1", event="e", data=1, id="refused")
    assert answer["code"] == "forbidden"


@pytest.mark.database("sqlite")
async def test_json_lines_name_the_connection_that_the_client_knows(serve: Serve, dial: Dial) -> None:
    server = await serve(f'{SETTINGS}format = "json"\nlevel = "debug"')
    ann = await dial(server)
    await refused_publish(ann)
    found = lines(server.log)
    assert all({"time", "level", "part"} <= each.keys() for each in found)
    [refusal] = [each for each in found if each.get("audit") == "refused"]
    assert refusal["connection"] == ann.connected["connectionId"]
    assert (refusal["part"], refusal["level"], refusal["command"]) == ("audit", "info", "publish")


@pytest.mark.database("sqlite")
async def test_the_audit_log_goes_to_its_own_file_and_follows_rotation(
    serve: Serve, dial: Dial, tmp_path: Path
) -> None:
    own = tmp_path / "audit.log"
    server = await serve(f'{SETTINGS}level = "error"\naudit_file = "{own}"')
    ann = await dial(server)
    await refused_publish(ann)
    assert [each["audit"] for each in lines(own)] == ["refused"]
    own.rename(tmp_path / "audit.log.1")
    await refused_publish(ann)
    assert [each["audit"] for each in lines(own)] == ["refused"]
    assert "refused" not in server.log.read_text()


@pytest.mark.database("sqlite")
async def test_a_level_can_be_set_for_a_part(serve: Serve, calls: Calls) -> None:
    server = await serve(f'{SETTINGS}format = "json"\nlevel = "error"\nparts = ["reload=info"]')
    assert (await calls(server).post("/api/v1/realtime/reload"))[0] == 200
    parts = {each["part"] for each in lines(server.log)}
    assert parts == {"audit", "reload"}


async def test_no_secret_and_no_payload_is_logged(
    serve: Serve, calls: Calls, dial: Dial, shell: Shell, tmp_path: Path
) -> None:
    await shell("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
    server = await serve(f'{SETTINGS}level = "debug"\naudit_file = "{tmp_path / "audit.log"}"')
    token = jwt.encode({"sub": "ann", "exp": time.time() + 60, "c": "marker"}, SECRET, algorithm="HS256")
    ann = await dial(server, query={"token": token, "apiKey": "ac_public_marker_key"})
    await ann.subscribe("chat/1")
    await ann.subscribe("orders", snapshot=True)
    await ann.publish("chat/1", "marker-data", persist=True)
    await ann.ask("track", topic="chat/1", state={"note": "marker-state"}, id="t")
    await ann.ask("publish", topic="elsewhere/1", event="e", data="marker-refused", id="r")
    ann.say("nonsense", data="marker-nonsense")
    await shell("INSERT INTO orders VALUES (1, 'marker-row')")
    await ann.hear("db_change")
    http = calls(server)
    await http.post("/v1/db/query", {"sql": "SELECT 'marker-sql' FROM nowhere", "params": ["marker-param"]})
    await http.get("/api/v1/realtime/channels", "ac_secret_marker_wrong")
    await http.get("/api/v1/realtime/channels", token + "marker")
    await http.post("/api/v1/realtime/publish", {"topic": "chat/1", "event": "e", "data": "marker-http"})
    await ann.close()
    await server.terminate()
    text = server.log.read_text() + (tmp_path / "audit.log").read_text()
    assert "refused" in text
    for secret in ("marker", SECRET, server.secret_key, token.split(".")[1]):
        assert secret not in text


async def test_the_option_chooses_the_format_and_wrong_parts_are_named(tmp_path: Path) -> None:
    config = tmp_path / "aerostack.toml"
    config.write_text('[logging]\nparts = ["datbase=debug"]\n')
    ran = await aerostack("serve", "--log-format", "json", "--config", str(config))
    assert ran.code == 2
    assert "a part is written database=debug" in ran.complaint


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/audit.log", "No such file"),
        ("folder", "Is a directory"),
        ("folder/audit.log", "Permission denied"),
    ],
)
async def test_check_reports_an_audit_file_that_cannot_be_written(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir(mode=0o555)
    config = tmp_path / "aerostack.toml"
    config.write_text(f'anonymous = true\n[logging]\naudit_file = "{tmp_path / name}"\n')
    for command in ("check", "serve"):
        ran = await aerostack(command, "--config", str(config), cwd=tmp_path, powerless=True)
        sentence = f"Cannot write the audit log to {tmp_path / name}: {reason}"
        assert (ran.code, sentence in ran.err) == (2, True), ran.err


async def test_check_creates_no_audit_file(tmp_path: Path) -> None:
    config = tmp_path / "aerostack.toml"
    config.write_text(f'[logging]\naudit_file = "{tmp_path / "audit.log"}"\n')
    ran = await aerostack("check", "--config", str(config), cwd=tmp_path)
    assert "audit log" not in ran.err
    assert not (tmp_path / "audit.log").exists()


async def test_an_audit_file_that_cannot_be_written_ends_the_start(tmp_path: Path) -> None:
    config = tmp_path / "aerostack.toml"
    config.write_text(f'[logging]\naudit_file = "{tmp_path / "missing" / "audit.log"}"\n')
    ran = await aerostack("dev", "--port", "0", "--db", str(tmp_path / "a.db"), "--config", str(config))
    assert (ran.code, "Cannot write the audit log to" in ran.complaint) == (2, True)
