"""Somebody who wants what is another's, by every way and every spelling there is: nothing of it is ever sent."""

import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import jwt
import pytest
import pytest_asyncio

from tests.flow.calls import Http
from tests.flow.conftest import SERVE_KEY, ServerProcess
from tests.flow.databases import Databases
from tests.flow.wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET: Final = "the token secret of this adversary"
MARKER: Final = "what-only-ann-may-see"
SETTINGS: Final = f"""
secret_keys = ["{SERVE_KEY}"]
publishable_keys = ["pk"]
token_secret = "{SECRET}"
[[channels]]
topic = "chat/{{room}}"
subscribe = "authenticated"
publish = "authenticated"
presence = "authenticated"
history = "authenticated"
[[channels]]
topic = "notifications/{{user_id}}"
subscribe = "user.id == user_id"
presence = "user.id == user_id"
history = "user.id == user_id"
[[channels]]
topic = "rooms/{{room}}"
members = {{ table = "room_members", room_id = "{{room}}", user_id = "{{user.id}}" }}
[[tables]]
name = "orders"
rows = {{ user_id = "user.id" }}
columns = ["id", "user_id", "note"]
[[tables]]
name = "documents"
rows = "row.owner == user.id"
"""
TABLES: Final = (
    "CREATE TABLE room_members(room_id INTEGER, user_id TEXT)",
    "INSERT INTO room_members VALUES(1, 'ann'), (2, 'bob')",
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id TEXT, note TEXT, margin TEXT)",
    f"INSERT INTO orders VALUES(1, 'ann', '{MARKER}', ''), (2, 'bob', 'mine', '{MARKER}')",
    "CREATE TABLE documents(id INTEGER PRIMARY KEY, owner TEXT, text TEXT)",
    f"INSERT INTO documents VALUES(1, 'ann', '{MARKER}'), (2, 'bob', 'mine')",
    "CREATE TABLE salaries(id INTEGER PRIMARY KEY, note TEXT)",
    f"INSERT INTO salaries VALUES(1, '{MARKER}')",
)
CHANNELS: Final = ("notifications/ann", "rooms/1")
WATCHED: Final = ("orders", "documents")


def spellings(topic: str) -> list[str]:
    """The topic, and what might be taken for it."""
    first, _, rest = topic.partition("/")
    found = [
        *(topic, f"{topic}/default", f"{topic}/default/default", f"{topic}/other", f"default/{topic}"),
        *(f"table/{topic}", f"table/{topic}/default", f"table/{topic}/default/default", f"table/table/{topic}"),
        *(topic.upper(), topic.title(), f"/{topic}", f"{topic}/", f"./{topic}", f"x/../{topic}", f" {topic}"),
        *(f"{topic} ", f"{topic}\0", f"{topic}\n", f"{topic}%00", f"{topic}?", f"{topic}#", f"{topic};--"),
        *(f"public.{topic}", f"main.{topic}", f"temp.{topic}", f'"{topic}"', f"[{topic}]", f"{topic}'--"),
        *(topic.replace("a", "\u0430"), topic.replace("o", "%6f"), f"{topic}\u200b", quote(topic, safe="")),
    ]
    if rest:
        found += [f"{first}//{rest}", f"{first}/*", f"{first}/**", f"{first}/+", f"{first}/./{rest}", f"*/{rest}"]
        found += [f"chat/../{topic}", f"chat/{topic}", f"{first}.{rest}", f"{first}:{rest}", f"{first}\\{rest}"]
    return found


OTHERS: Final = ["salaries", "room_members", "sqlite_master", "sqlite_schema", "_aerostack_messages", "*", "**"]


class Scene:
    """The server; ann, the owner of data; and everything that was sent to users without a right to it."""

    def __init__(self, server: ServerProcess, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = Http(session, server)
        self.heard: list[Any] = []
        self.ann: Wire
        self.cursors: dict[str, str] = {}

    async def prepare(self) -> None:
        for sql in TABLES:
            await self.http.sql(sql)
        while (await self.http.get("/api/v1/realtime/presence?topic=rooms/1", token("ann")))[0] != 200:
            pass  # the table of members was made after the server started, which looks for it every second
        self.ann = await self.connect(f"aerostack-token.{token('ann')}")
        for topic in (*WATCHED, *CHANNELS):
            self.cursors[topic] = (await self.ann.subscribe(topic))["cursor"]
        for topic in CHANNELS:
            assert (await self.ann.ask("track", topic=topic, state={"at": MARKER}))["type"] == "ack"
        await self.say()

    async def say(self) -> None:
        """Something of ann's happens everywhere; she hears of all of it."""
        for topic in CHANNELS:
            for persist in (True, False):
                event = {"topic": topic, "event": "e", "data": MARKER, "persist": persist}
                assert (await self.http.post("/api/v1/realtime/publish", event))[0] == 200
                assert (await self.ann.hear("event", topic=f"{topic}/default", event="e"))["data"] == MARKER
        nonce = f"{MARKER} {os.urandom(4).hex()}"
        await self.http.sql("UPDATE orders SET note = ? WHERE id = 1", nonce)
        assert (await self.ann.hear("db_change", topic="table/orders/default"))["data"]["note"] == nonce
        await self.http.sql("UPDATE orders SET margin = ?", nonce)
        await self.http.sql("UPDATE salaries SET note = ?", nonce)
        await self.http.sql("UPDATE documents SET text = ? WHERE id = 1", nonce)
        assert (await self.ann.hear("db_change", topic="table/documents/default"))["data"]["text"] == nonce

    async def connect(self, *credentials: str) -> Wire:
        wire = await Wire.open(self.server.url, protocols=["aerostack-v1", *credentials])
        wire.connected = await wire.hear("connected")
        return wire

    async def ask(self, wire: Wire, type: str, **fields: Any) -> dict[str, Any]:
        """Ask as the adversary; the answer is kept."""
        answer = await wire.ask(type, **fields)
        self.heard.append(answer)
        return answer

    async def call(self, path: str, credential: str) -> int:
        """Call as the adversary; the answer is kept."""
        status, body = await self.http.get(path, credential)
        self.heard.append(body)
        return status


def token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET, algorithm="HS256")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    place = tmp_path_factory.mktemp("adversary")
    (place / "aerostack.toml").write_text(f"{SETTINGS}[limits]\ncalls_per_second = 0\nmessages_per_second = 0\n")
    process = ServerProcess(databases.new(place), place / "server.log", place / "aerostack.toml")
    process.secret_key = SERVE_KEY
    await process.start()
    async with aiohttp.ClientSession() as session:
        found = Scene(process, session)
        await found.prepare()
        yield found
        found.ann.drop()
    await process.close()


@pytest_asyncio.fixture(loop_scope="module", params=["bob", "nobody"])
async def adversary(scene: Scene, request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    """A user who owns other things, and somebody with no more than the app's publishable key. Whatever they are
    sent while the rest continues, they have nothing of ann's."""
    credential = f"aerostack-token.{token('bob')}" if request.param == "bob" else "aerostack-key.pk"
    wire = await scene.connect(credential)
    scene.heard.clear()
    try:
        yield wire
        await scene.say()
        scene.heard += await wire.settled()
        assert len(scene.heard) > 10
        assert MARKER not in json.dumps(scene.heard)
    finally:
        wire.drop()


TARGETS: Final = [*CHANNELS, *WATCHED]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"since": "x.1"},
        {"since": "STOLEN"},
        {"snapshot": True},
        {"snapshot": {"limit": 10, "order": "-id"}},
        {"filter": {"user_id": "ann"}},
        {"filter": {"id": 1}},
        {"filter": {"owner": {"ne": "x"}}, "snapshot": True},
        {"filter": {"margin": {"ne": ""}}, "snapshot": True},
    ],
    ids=str,
)
async def test_nothing_is_subscribed_to(scene: Scene, adversary: Wire, target: str, how: dict[str, Any]) -> None:
    """Not even with a cursor that ann was given."""
    how = {**how, "since": scene.cursors[target]} if how.get("since") == "STOLEN" else how
    for topic in [*spellings(target), *OTHERS]:
        answer = await scene.ask(adversary, "subscribe", topic=topic, **how)
        scene.heard += await adversary.settled()
        if answer["type"] == "subscribed":
            canonical = answer["topic"]
            assert canonical.startswith("chat/") or canonical in (
                "table/orders/default",
                "table/documents/default",
            )


@pytest.mark.parametrize("target", TARGETS)
async def test_nothing_is_read_of_what_was(scene: Scene, adversary: Wire, target: str) -> None:
    credential = token("bob") if adversary.connected["userId"] else ""
    for topic in [*spellings(target), *OTHERS]:
        for path in ("public/realtime/history?limit=1000&room=", "realtime/presence?topic="):
            await scene.call(f"/api/v1/{path}{quote(topic, safe='')}", credential)
        await scene.ask(adversary, "presence", topic=topic)
    for path in ("realtime/channels", "public/realtime/history?room=chat/general"):
        await scene.call(f"/api/v1/{path}", credential)


@pytest.mark.parametrize("target", CHANNELS)
async def test_nothing_is_said_or_shown_where_ann_hears_it(scene: Scene, adversary: Wire, target: str) -> None:
    await scene.ann.settled()
    for topic in spellings(target):
        await scene.ask(adversary, "publish", topic=topic, event="e", data="intruder")
        await scene.ask(adversary, "track", topic=topic, state={"userId": "ann", "at": "intruder"})
        adversary.say("chat", roomId=topic, text="intruder")
        adversary.say("chat", roomId=f"../{topic}", text="intruder")
    scene.heard += await adversary.settled()
    assert "intruder" not in json.dumps(await scene.ann.settled())
    for topic in CHANNELS:
        assert "intruder" not in json.dumps(await scene.http.history(topic))


async def test_nothing_is_learnt_by_a_batch_of_wrong_guesses(scene: Scene, adversary: Wire) -> None:
    """Errors name what was asked, and nothing that is there: a table that is hidden answers as one that is not."""
    answers = [
        await scene.ask(adversary, "subscribe", topic=each) for each in ("salaries", "room_members", "nosuch")
    ]
    assert len({(each["code"], each["message"]) for each in answers}) == 1
    for wrong in (
        {"margin": 1},
        {"nosuch": 1},
        {"id": {"like": "%"}},
        {"rowid": 1},
        {"_rowid_": 1},
        {"note\0": 1},
    ):
        answer = await scene.ask(adversary, "subscribe", topic="orders", filter=wrong)
        assert answer["type"] == "error"
        assert "margin" not in answer["message"].replace("column 'margin'", "")
        await scene.ask(adversary, "subscribe", topic="orders", snapshot={"order": next(iter(wrong))})
