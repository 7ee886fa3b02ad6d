"""The console of operators: where it is, who may sign in, what protects it, and what its actions do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from aerostack_realtime import Aerostack
from aerostack_realtime.access.identity import sign
from aerostack_realtime.gateway.http import pages
from aerostack_realtime.protocol.errors import NotFound
from tests.flow.cluster import Cluster
from tests.flow.conftest import OPEN_RULE, SERVE_KEY, ServerProcess
from tests.flow.databases import Databases
from tests.flow.wire import PATIENCE_SECONDS, Closed, Dial, Refused, Wire

pytestmark = pytest.mark.database("sqlite")

SECRET = "a-secret-of-at-least-thirty-two-bytes"
SETTINGS = f"""
token_secret = "{SECRET}"
[console]
enabled = true
operators = "user.claims.role == 'admin'"
viewers = "user.claims.role == 'support'"
"""
RULE = """
[[channels]]
topic = "rooms/{room}"
subscribe = "room in user.claims.rooms"
"""
FOREVER = 4102444800


def token(user: str, role: str = "user", **claims: Any) -> str:
    return sign(SECRET, {"sub": user, "role": role, "exp": FOREVER, **claims})


class Console:
    """Calls as the page of the console makes them."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url
        self.cookie = ""
        self.set_cookie = ""
        self.opened: list[Wire] = []

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """A call with these headers beside ours; an empty one is left out."""
        own = {"X-Aerostack-Console": "1", "Cookie": self.cookie, "Origin": self.url, **headers}
        given = {name.replace("_", "-"): value for name, value in own.items() if value}
        address = f"{self.url}/console/api/{path}"
        async with self._http.request(method, address, headers=given, json=body) as answer:
            self.set_cookie = answer.headers.get("Set-Cookie", "")
            return answer.status, await answer.json()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        return await self.call("POST", path, body, **headers)

    async def sign_in(self, credential: str) -> Any:
        status, found = await self.post("sign-in", Authorization=f"Bearer {credential}")
        assert status == 200, found
        self.cookie = self.set_cookie.split(";")[0]
        return found["operator"]

    async def open(self, project: str = "_console", **headers: str) -> Wire:
        """The socket of the page."""
        own = {"Cookie": self.cookie, "Origin": self.url, **headers}
        given = [(name, value) for name, value in own.items() if value]
        wire = await Wire.open(self.url, path="/console/api/realtime", query={"projectId": project}, headers=given)
        self.opened.append(wire)
        wire.connected = await wire.hear("connected")
        return wire


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def configured(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """`aerostack serve` with a console."""
    place = tmp_path_factory.mktemp("configured")
    config = place / "aerostack.toml"
    config.write_text(f'secret_keys = ["{SERVE_KEY}"]\n{SETTINGS}{RULE}{OPEN_RULE}')
    process = ServerProcess(databases.new(place), place / "server.log", config)
    process.secret_key = SERVE_KEY
    await process.start()
    yield process
    await process.close()


@pytest.fixture
async def console() -> AsyncIterator[Callable[[str], Console]]:
    """The console of the server at an address."""
    made: list[Console] = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:

        def of(url: str) -> Console:
            made.append(Console(http, url))
            return made[-1]

        yield of
        for wire in (each for page in made for each in page.opened):
            wire.drop()


async def audited(server: ServerProcess) -> list[dict[str, Any]]:
    """What the console has done, by the audit log."""
    lines = await asyncio.to_thread(server.log.read_text)
    found = [json.loads(line[line.index("{") :]) for line in lines.splitlines() if '"audit":"console"' in line]
    return [{name: each[name] for name in each if name not in ("audit", "address")} for each in found]


async def test_the_page_has_a_strict_policy_and_dev_offers_its_key(
    node: ServerProcess, console: Callable[[str], Console]
) -> None:
    assert pages.missing() is None, "make install builds the pages"
    async with aiohttp.ClientSession() as http, http.get(f"{node.url}/console") as answer:
        assert answer.url.path == "/console/"
        assert answer.headers["Cache-Control"] == "no-cache"
        policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert f"connect-src 'self' ws://{urlsplit(node.url).netloc} " in policy
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    status, about = await console(node.url).get("about")
    assert (status, about["hint"], about["operator"]) == (200, "ac_secret_dev", None)


async def test_a_key_or_a_claim_signs_in_and_nothing_else_does(
    configured: ServerProcess, console: Callable[[str], Console]
) -> None:
    server = configured
    page = console(server.url)
    assert (await page.get("about"))[1]["hint"] is None
    for credential in (token("carl"), "ac_wrong_key_of_nobody", sign("x" * 40, {"sub": "ann", "exp": FOREVER})):
        status, _ = await page.post("sign-in", Authorization=f"Bearer {credential}")
        assert status in (401, 403)
        assert not page.set_cookie
    assert (await page.get("view/overview"))[0] == 401
    for credential, name, rights in (
        (server.secret_key, "key ", "full"),
        (token("ann", "admin"), "ann", "full"),
        (token("bob", "support"), "bob", "read"),
    ):
        operator = await page.sign_in(credential)
        assert operator["name"].startswith(name)
        assert operator["rights"] == rights
        assert (await page.get("view/overview"))[0] == 200


async def test_other_pages_cannot_use_the_session(node: ServerProcess, console: Callable[[str], Console]) -> None:
    page = console(node.url)
    await page.sign_in(node.secret_key)
    for headers in (
        {"X-Aerostack-Console": ""},
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        status, _ = await page.post("disconnect", {"userId": "ann"}, **headers)
        assert status == 403, headers
        assert (await page.get("view/overview", **headers))[0] == 403
    for origin in ("http://localhost:3000", "https://evil.example", ""):
        with pytest.raises(Refused) as refused:
            await page.open(Origin=origin)
        assert refused.value.status == 403
    with pytest.raises(Refused) as refused:
        await page.open(Cookie="")
    assert refused.value.status == 401


async def test_the_cookie_is_kept_from_scripts_and_other_sites(
    node: ServerProcess, console: Callable[[str], Console]
) -> None:
    page = console(node.url)
    status, _ = await page.post("sign-in", Authorization=f"Bearer {node.secret_key}")
    assert status == 200
    assert {"HttpOnly", "Path=/console", "SameSite=Strict"} <= set(page.set_cookie.split("; "))


async def test_live_data_comes_over_the_protocol_until_sign_out(
    node: ServerProcess, dial: Dial, console: Callable[[str], Console]
) -> None:
    page = console(node.url)
    await page.sign_in(node.secret_key)
    ann = await dial(node, "ann")
    await ann.subscribe("console-live/1")
    wire = await page.open()
    await wire.subscribe("view/channels", slow="latest", presence=False)
    while True:
        event = await wire.hear("event", event="view")
        found = {each["name"]: each["subscribers"] for each in event["data"]["rows"]}
        if found.get("console-live/1") == 1:
            break
    tail = await page.open("default")
    await tail.subscribe("console-live/1", history=5)
    await ann.publish("console-live/1", {"n": 1}, event="said")
    assert (await tail.hear("event", event="said"))["data"] == {"n": 1}
    assert (await tail.ask("publish", topic="console-live/1", event="e", data=1))["code"] == "forbidden"
    assert (await page.post("sign-out"))[0] == 200
    for each in (wire, tail):
        with pytest.raises(Closed) as closed:
            await each.hear("nothing")
        assert closed.value.code == 4401
    assert (await page.get("view/overview"))[0] == 401


async def test_dev_answers_a_refused_subscription_with_its_explanation(
    node: ServerProcess, console: Callable[[str], Console]
) -> None:
    async with Aerostack(node.url, user_id="ann") as sdk:
        with pytest.raises(NotFound, match=r"There is no table .* Why: http://") as refused:
            await sdk.realtime.channel("no_such_table").subscribe()
    address = refused.value.message.partition("Why: ")[2]
    assert address.startswith(f"{node.url}/console/#/explain?")
    page = console(node.url)
    await page.sign_in(node.secret_key)
    status, found = await page.get(f"explain?{address.partition('?')[2]}")
    assert (status, found["code"]) == (200, "no_table")


async def test_a_viewer_looks_and_an_operator_acts_and_both_are_audited(
    configured: ServerProcess, dial: Dial, console: Callable[[str], Console]
) -> None:
    server = configured
    ann = await dial(server, query={"token": token("ann", iat=1)})
    bob = await dial(server, query={"token": token("bob", iat=1)})
    page = console(server.url)
    await page.sign_in(token("vic", "support"))
    rows = (await page.get("view/connections"))[1]["rows"]
    assert {each["user"] for each in rows} >= {"ann", "bob"}
    for path, body in (("disconnect", {"userId": "ann"}), ("revoke", {"userId": "ann"})):
        assert (await page.post(path, body))[0] == 403
    await page.sign_in(token("olga", "admin"))
    assert (await page.post("disconnect", {}))[0] == 400
    connection = ann.connected["connectionId"]
    assert await page.post("disconnect", {"connection": connection}) == (200, {"closed": 1})
    assert await page.post("revoke", {"userId": "bob"}) == (200, {"closed": 1})
    for each in (ann, bob):
        with pytest.raises(Closed) as closed:
            await each.hear("nothing")
        assert closed.value.code == 4403
    status, verdict = await page.get(f"explain?connection={connection}")
    assert (status, verdict["code"]) == (200, "closed")
    found = await audited(server)
    assert {"operator": "vic", "action": "signed in", "rights": "read"} in found
    assert {"operator": "olga", "action": "disconnected", "connection": connection} in found
    assert {"operator": "olga", "action": "revoked", "user": "bob"} in found
    lines = (await page.get("view/log"))[1]["rows"]
    assert any(line["facts"].get("action") == "revoked" for line in lines)


async def test_the_playground_names_what_denies(
    configured: ServerProcess, console: Callable[[str], Console]
) -> None:
    server = configured
    page = console(server.url)
    await page.sign_in(server.secret_key)
    for rooms, allowed in ("[1]", False), ('["7"]', True):
        claims = f'{{"rooms":{rooms}}}'
        status, found = await page.get(f"access?topic=rooms/7&action=subscribe&user=ann&claims={claims}")
        assert (status, found["right"]["allowed"], found["rule"]) == (200, allowed, "rooms/{room}")
    assert (await page.get("access?topic=rooms/7&user=ann&claims=nonsense"))[0] == 400
    assert (await page.get("access?topic=rooms/7&action=fly"))[0] == 400


@pytest.mark.database("postgres")
async def test_the_console_shows_and_acts_on_all_nodes(
    cluster: Cluster, dial: Dial, console: Callable[[str], Console]
) -> None:
    a, b = await cluster.start(2)
    ann, bob = await dial(a, "ann"), await dial(b, "bob")
    await ann.subscribe("rooms/1")
    await bob.subscribe("rooms/1")
    page = console(a.url)
    await page.sign_in(a.secret_key)
    page.url = b.url  # the next call of a load balancer
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len((overview := (await page.get("view/overview"))[1])["nodes"]) < 2:
            pass
    assert sum(each["figures"]["connections"] for each in overview["nodes"]) == 2
    [row] = (await page.get("view/channels"))[1]["rows"]
    assert (row["name"], row["subscribers"]) == ("rooms/1", 2)
    rows = (await page.get("view/connections"))[1]["rows"]
    assert {each["user"] for each in rows} == {"ann", "bob"}
    assert len({each["node"] for each in rows}) == 2
    await ann.publish("rooms/1", 1, id="e1")
    for user in ("ann", "bob"):
        status, found = await page.get(f"explain?topic=rooms/1&event=e1&user={user}")
        assert (status, found["code"], len(found["nodes"])) == (200, "sent", 2)
    assert await page.post("disconnect", {"userId": "ann"}) == (200, {"closed": 1})
    with pytest.raises(Closed):
        await ann.hear("nothing")
