"""The matrix: who × does what × where → what comes of it, from one table, against the real server.

A cell is one command or HTTP call. `WHO_MAY` is the whole expectation; everything else follows from it.
"""

import time
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import jwt
import pytest
import pytest_asyncio

from tests.flow.calls import Http
from tests.flow.conftest import SERVE_KEY, ServerProcess
from tests.flow.databases import Databases
from tests.flow.wire import Closed, Wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET: Final = "the token secret of this project, 32+"
PUBLISHABLE: Final = "ac_public_matrix"
SETTINGS: Final = f"""
secret_keys = ["{SERVE_KEY}"]
publishable_keys = ["{PUBLISHABLE}"]

[[token_keys]]
secret = "{SECRET}"
audience = "this-project"

[[channels]]
topic = "open/{{room}}"
subscribe = "anyone"
publish = "anyone"
presence = "anyone"
history = "anyone"

[[channels]]
topic = "chat/{{room}}"
subscribe = "authenticated"
publish = "authenticated"
presence = "authenticated"
history = "authenticated"

[[channels]]
topic = "notifications/{{user_id}}"
subscribe = "user.id == user_id"
history = "user.id == user_id"
publish = "server"

[[channels]]
topic = "staff/{{room}}"
subscribe = "'staff' in user.claims.roles"
publish = "'staff' in user.claims.roles"
presence = "server"
history = "server"

[[channels]]
topic = "rooms/{{room}}"
members = {{ table = "room_members", room_id = "{{room}}", user_id = "{{user.id}}" }}

[[tables]]
name = "orders"
rows = {{ user_id = "user.id" }}
columns = ["id", "user_id", "status"]

[limits]
calls_per_second = 0
"""
TABLES: Final = (
    "CREATE TABLE room_members(room_id INTEGER, user_id TEXT)",
    "INSERT INTO room_members VALUES(1, 'ann')",
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id TEXT, status TEXT, margin DOUBLE PRECISION)",
    "CREATE TABLE salaries(id INTEGER PRIMARY KEY, amount DOUBLE PRECISION)",
)


def token(
    user: str, *, lives: float = 86_400, audience: str = "this-project", secret: str = SECRET, **more: Any
) -> str:
    claims = {"sub": user, "exp": time.time() + lives, "aud": audience, **more}
    return jwt.encode(claims, secret, algorithm="HS256")


ANN: Final = token("ann", roles=["staff"])
"""Each identity as an API key and a token. `ann` owns what there is; `bob` is a user who owns nothing of it."""
IDENTITIES: Final[dict[str, tuple[str | None, str | None]]] = {
    "none": (None, None),
    "publishable": (PUBLISHABLE, None),
    "wrong key": ("ac_public_matrjx", None),
    "wrong key, good token": ("ac_public_matrjx", ANN),
    "wrong token": (PUBLISHABLE, token("ann", secret=SECRET[::-1])),
    "expired": (PUBLISHABLE, token("ann", lives=-60)),
    "other project": (PUBLISHABLE, token("ann", audience="other-project")),
    "ann": (PUBLISHABLE, ANN),
    "bob": (None, token("bob", roles=[])),
    "secret": (SERVE_KEY, None),
    "secret as bearer": (None, SERVE_KEY),
}
REFUSED: Final = {
    "wrong key": "unauthorized",
    "wrong key, good token": "unauthorized",
    "wrong token": "unauthorized",
    "expired": "token_expired",
    "other project": "unauthorized",
}
SERVERS: Final = frozenset({"secret", "secret as bearer"})
EVERYONE: Final = SERVERS | {"publishable", "ann", "bob"}
USERS: Final = SERVERS | {"ann", "bob"}
OWNER: Final = SERVERS | {"ann"}
NOBODY: Final[frozenset[str]] = frozenset()

Rights = dict[str, frozenset[str]]


def rights(
    subscribe: frozenset[str], publish: frozenset[str], presence: frozenset[str], history: frozenset[str]
) -> Rights:
    """On a custom channel a client that may see presence may share it; on a table no client may."""
    track = presence if publish else NOBODY
    return {"subscribe": subscribe, "publish": publish, "presence": presence, "history": history, "track": track}


WHO_MAY: Final[dict[str, Rights]] = {
    "open/lobby": rights(EVERYONE, EVERYONE, EVERYONE, EVERYONE),
    "chat/general": rights(USERS, USERS, USERS, USERS),
    "notifications/ann": rights(OWNER, SERVERS, SERVERS, OWNER),
    "staff/room": rights(OWNER, OWNER, SERVERS, SERVERS),
    "rooms/1": rights(OWNER, OWNER, OWNER, OWNER),
    "rooms/2": rights(SERVERS, SERVERS, SERVERS, SERVERS),
    "unlisted/topic": rights(SERVERS, SERVERS, SERVERS, SERVERS),
    "orders": rights(USERS, NOBODY, USERS, USERS),
    "salaries": rights(SERVERS, NOBODY, SERVERS, SERVERS),
}
COMMANDS: Final = {
    "subscribe": "subscribe",
    "publish": "publish",
    "track": "track",
    "presence": "presence",
    "untrack": None,
    "unsubscribe": None,
}
"""The right that each command needs; None: every client that is let in may end what it began."""
CALLS: Final = {"history": "history", "publish": "publish", "presence": "presence"}
FIELDS: Final[dict[str, dict[str, Any]]] = {
    "publish": {"event": "e", "data": 1},
    "track": {"state": {"at": 1}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """`aerostack serve` with these rules and tables."""
    place = tmp_path_factory.mktemp("matrix")
    config = place / "aerostack.toml"
    config.write_text(SETTINGS)
    process = ServerProcess(databases.new(place), place / "server.log", config)
    process.secret_key = SERVE_KEY
    await process.start()
    async with aiohttp.ClientSession() as session:
        for sql in TABLES:
            status, answer = await Http(session, process).post("/v1/db/query", {"sql": sql})
            assert status == 200, answer
        await _until_a_member_is_known(Http(session, process))
    yield process
    await process.close()


async def _until_a_member_is_known(http: Http) -> None:
    """The table of members was made after the server started, which looks for it every second."""
    while (await http.get("/api/v1/realtime/presence?topic=rooms/1", ANN))[0] != 200:
        pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def connected(server: ServerProcess, identity: str) -> Wire:
    key, bearer = IDENTITIES[identity]
    protocols = ["aerostack-v1"]
    protocols += [f"aerostack-key.{key}"] if key else []
    headers = []
    if bearer == SERVE_KEY:
        headers = [("Authorization", f"Bearer {bearer}")]
    elif bearer:
        protocols.append(f"aerostack-token.{bearer}")
    return await Wire.open(server.url, protocols=protocols, headers=headers)


def outcome(answer: dict[str, Any]) -> str:
    return answer["code"] if answer["type"] == "error" else "done"


def expected(identity: str, topic: str, right: str | None) -> str:
    if identity in REFUSED:
        return REFUSED[identity]
    if identity == "none":
        return "unauthorized"
    return "done" if right is None or identity in WHO_MAY[topic][right] else "forbidden"


@pytest.mark.parametrize("topic", WHO_MAY)
@pytest.mark.parametrize("identity", IDENTITIES)
async def test_every_command_on_every_kind_of_topic(closed: ServerProcess, identity: str, topic: str) -> None:
    wire = await connected(closed, identity)
    found = {}
    if identity in REFUSED:
        refusal = await wire.next()
        with pytest.raises(Closed) as ended:
            await wire.next()
        assert ended.value.code == 4401
        found = dict.fromkeys(COMMANDS, outcome(refusal))
    else:
        for command in COMMANDS:
            found[command] = outcome(await wire.ask(command, topic=topic, **FIELDS.get(command, {})))
    wire.drop()
    assert found == {command: expected(identity, topic, right) for command, right in COMMANDS.items()}


@pytest.mark.parametrize("topic", WHO_MAY)
@pytest.mark.parametrize("identity", IDENTITIES)
async def test_every_call_on_every_kind_of_topic(
    closed: ServerProcess, session: aiohttp.ClientSession, identity: str, topic: str
) -> None:
    found = {}
    for call in CALLS:
        if call == "publish":
            found[call] = await called(
                closed, session, identity, "publish", {"topic": topic, "event": "e", "data": 1}
            )
        else:
            name = "public/realtime/history?room" if call == "history" else "realtime/presence?topic"
            found[call] = await called(closed, session, identity, f"{name}={topic}")
    assert found == {call: expected(identity, topic, right) for call, right in CALLS.items()}


SERVER_CALLS: Final[dict[str, Any]] = {
    "/api/v1/realtime/channels": None,
    "/api/v1/realtime/disconnect": {"userId": "nobody"},
    "/api/v1/realtime/revoke": {"tokenId": "none"},
    "/v1/db/query": {"sql": "SELECT 1"},
    "/v1/db/batch": {"queries": [{"sql": "SELECT 1"}]},
    "/internal/hooks/rpc": {"method": "db.query", "args": ["SELECT 1"]},
}


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_every_call_of_servers_needs_the_secret_key(
    closed: ServerProcess, session: aiohttp.ClientSession, identity: str
) -> None:
    found = {path: await called(closed, session, identity, path, body) for path, body in SERVER_CALLS.items()}
    wanted = REFUSED.get(identity, "unauthorized")
    if identity in SERVERS:
        wanted = "done"
    elif identity in USERS:
        wanted = "forbidden"
    assert found == dict.fromkeys(SERVER_CALLS, wanted)


@pytest.mark.parametrize("identity", [each for each in IDENTITIES if each not in REFUSED])
async def test_auth_accepts_a_user_unless_it_is_another_one(closed: ServerProcess, identity: str) -> None:
    wire = await connected(closed, identity)
    await wire.hear("connected")
    wire.say("auth", token=ANN)
    answer = await wire.next()
    if identity == "bob":
        assert outcome(answer) == "unauthorized"
        assert (await wire.ended()).code == 4401
        wire.drop()
        return
    assert outcome(answer) == "done"
    for worthless, code in ((token("ann", lives=-60), "token_expired"), ("", "unauthorized")):
        wire.say("auth", token=worthless)
        assert outcome(await wire.next()) == code
    assert (await wire.settled()) == []
    wire.drop()


@pytest.mark.parametrize("identity", [each for each in IDENTITIES if each not in REFUSED])
async def test_the_legacy_chat_command_needs_the_right_to_publish(closed: ServerProcess, identity: str) -> None:
    wire = await connected(closed, identity)
    await wire.hear("connected")
    wire.say("chat", roomId="general", text="hello")
    answers = {outcome(each) for each in await wire.settled()}
    wanted = expected(identity, "chat/general", "publish")
    assert answers == (set() if wanted == "done" else {wanted})
    wire.drop()


async def test_a_user_of_another_project_is_unknown(closed: ServerProcess) -> None:
    wire = await Wire.open(closed.url, query={"projectId": "other"}, protocols=[f"aerostack-token.{ANN}"])
    assert outcome(await wire.next()) == "forbidden"
    assert (await wire.ended()).code == 4403
    wire.drop()


async def called(
    server: ServerProcess, session: aiohttp.ClientSession, identity: str, path: str, body: Any = None
) -> str:
    """What comes of a call: `done`, or the code of its error, which the status has to match."""
    key, bearer = IDENTITIES[identity]
    headers = {"X-Aerostack-Key": key} if key else {}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    url = server.url + (
        path if path.startswith("/") else f"/api/v1/{'realtime/' if path == 'publish' else ''}{path}"
    )
    method = "GET" if body is None else "POST"
    async with session.request(method, url, json=body, headers=headers) as answer:
        content = await answer.json()
    if answer.status == 200:
        return "done"
    code: str = content["error"]["code"]
    assert answer.status == {"unauthorized": 401, "token_expired": 401, "forbidden": 403}[code], content
    return code
