"""Servers with rules of every kind, users on them, and questions to `aerostack explain`."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
from msgspec import Struct

from tests.flow.calls import Http
from tests.flow.wire import Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

GUIDE: Final = Path(__file__).parents[2] / "docs/guides/explain.md"
SECRET: Final = "the token secret of all these causes"
RULES: Final = """
[[channels]]
topic = "rooms/{room}"
subscribe = "authenticated"
publish = "authenticated"
members = { table = "members", room = "{room}", person = "{user.id}" }
[[channels]]
topic = "open/**"
subscribe = "authenticated"
publish = "authenticated"
presence = "authenticated"
history = "authenticated"
[[tables]]
name = "orders"
rows = { owner = "user.id" }
columns = ["id", "owner", "status"]
"""
"""Members of rooms, everything for users in `open/**`, and their own rows of `orders`."""
SETTINGS: Final = f"""
token_secret = "{SECRET}"
[console]
enabled = true
[limits]
messages_burst = 100
messages_per_second = 1
frame_bytes = 65536
token_grace_seconds = 0
heartbeat_seconds = 600
[[channels]]
topic = "chat/{{room}}"
subscribe = "user.claims.level > 1 && user.claims.staff"
publish = "user.id == 'editor'"
{RULES}
[[logs]]
pattern = "open/*/two"
max_count = 2
max_age = "30m"
[[logs]]
pattern = "**"
max_age = "30m"
[[tables]]
name = "bids"
rows = "row.amount > 10"
[[tables]]
name = "scratch"
[[tables]]
name = "unwatched"
[[tables]]
name = "emptied"
[[tables]]
name = "moved"
"""
ORDERS: Final = "CREATE TABLE orders(id INTEGER PRIMARY KEY, owner TEXT, status TEXT, margin INTEGER)"
TABLES: Final = f"""
CREATE TABLE members(room TEXT, person TEXT);
{ORDERS};
CREATE TABLE bids(id INTEGER PRIMARY KEY, amount INTEGER);
CREATE TABLE emptied(id INTEGER PRIMARY KEY);
CREATE TABLE moved(id INTEGER PRIMARY KEY);
CREATE TABLE unwatched(id INTEGER PRIMARY KEY);
CREATE UNLOGGED TABLE scratch(id INTEGER PRIMARY KEY)
"""


class Expected(Struct, frozen=True):
    """A row of the guide's table: a cause, and the code and the sentence it gets, as a regular expression."""

    cause: str
    code: str
    sentence: str


def expected() -> list[Expected]:
    """The table of the guide. In its sentences `…` stands for anything, and `ann` for the user."""
    rows = re.findall(r"^\| (.+?) \| `(\w+)` \| (.+?) \|$", GUIDE.read_text(), re.MULTILINE)
    return [Expected(cause, code, _pattern(sentence)) for cause, code, sentence in rows]


def _pattern(sentence: str) -> str:
    written = re.escape(sentence).replace("…", ".+")
    return re.sub(r"\bann\b", r"ann\\d+", written)


class Asked(Struct, frozen=True):
    """A question, and where to ask it."""

    cause: str
    url: str
    question: dict[str, str]


class Scene:
    """Servers with these rules, users on them, and the questions that were collected."""

    def __init__(self, server: "ServerProcess", http: Http, secret: str = SECRET) -> None:
        self.server = server
        self.http = http
        self.asked: list[Asked] = []
        self._secret = secret
        self._wires: list[Wire] = []

    def token(self, user: str, seconds: float = 3_600, **claims: Any) -> str:
        now = time.time()
        return jwt.encode({"sub": user, "iat": now - 10, "exp": now + seconds, **claims}, self._secret, "HS256")

    async def user(self, name: str, *, url: str = "", seconds: float = 3_600, **claims: Any) -> Wire:
        protocols = ["aerostack-v1", f"aerostack-token.{self.token(name, seconds, **claims)}"]
        wire = await Wire.open(url or self.server.url, protocols=protocols)
        self._wires.append(wire)
        wire.connected = await wire.hear("connected")
        return wire

    async def refused(self, name: str, query: Mapping[str, str] = {}, seconds: float = 3_600) -> None:
        """Connect as a user, and be refused."""
        protocols = ["aerostack-v1", f"aerostack-token.{self.token(name, seconds)}"]
        wire = await Wire.open(self.server.url, query=query, protocols=protocols)
        self._wires.append(wire)
        assert (await wire.next())["type"] == "error"

    async def publish(self, topic: str, id: str, data: Any = None, **fields: Any) -> tuple[int, Any]:
        body = {"topic": topic, "event": "message", "data": data, "id": id, **fields}
        return await self.http.post("/api/v1/realtime/publish", body)

    async def send(self, topic: str, id: str, data: Any = None, **fields: Any) -> None:
        status, answer = await self.publish(topic, id, data, **fields)
        assert status == 200, answer

    async def revoke(self, user: str) -> None:
        status, answer = await self.http.post("/api/v1/realtime/revoke", {"userId": user})
        assert status == 200, answer

    def ask(self, cause: str, **question: str) -> None:
        self.asked.append(Asked(cause, self.server.url, question))

    def close(self) -> None:
        for wire in self._wires:
            wire.drop()
