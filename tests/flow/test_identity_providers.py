"""Tokens of an identity provider: its key set is fetched, rotated and kept; and rules in the user's own code."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from tests.flow.calls import Http
from tests.flow.wire import Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
AUDIENCE: Final = "this-project"


class Provider:
    """An identity provider with a key set of one key, which can be down."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.kid = "one"
        self.asked = 0
        self.url = ""
        self.down = False

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.down:
            return web.Response(status=503)
        key = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return web.json_response({"keys": [{**key, "kid": self.kid, "use": "sig", "alg": "ES256"}]})

    def token(self, **claims: Any) -> str:
        content = {"sub": "ann", "exp": time.time() + 300, "aud": AUDIENCE, **claims}
        return jwt.encode(content, self.key, algorithm="ES256", headers={"kid": self.kid})

    @property
    def settings(self) -> str:
        return f'[[token_keys]]\njwks = "{self.url}"\nalgorithm = "ES256"\naudience = "{AUDIENCE}"\n'


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    found = Provider()
    app = web.Application()
    app.router.add_get("/jwks.json", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield found
    await runner.cleanup()


async def code_of(server: "ServerProcess", token: str) -> str:
    """`connected`, or the code with which a connection by this token is refused."""
    wire = await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-token.{token}"])
    answer = await wire.next()
    wire.drop()
    return str(answer.get("code", answer["type"]))


async def test_a_key_set_checks_tokens_from_the_first_connection_on(serve: Serve, provider: Provider) -> None:
    server = await serve(provider.settings)
    assert await code_of(server, provider.token()) == "connected"
    assert await code_of(server, provider.token(aud="another-project")) == "unauthorized"
    other = Provider()
    assert await code_of(server, other.token()) == "unauthorized"
    assert provider.asked == 1


async def test_a_provider_that_is_down_keeps_nobody_else_out(serve: Serve, provider: Provider) -> None:
    provider.down = True
    server = await serve(f'token_secret = "{"s" * 40}"\n{provider.settings}')
    assert await code_of(server, provider.token()) == "unavailable"
    own = jwt.encode({"sub": "bob", "exp": time.time() + 60}, "s" * 40, algorithm="HS256")
    assert await code_of(server, own) == "connected"
    assert "cannot refresh the keys" in server.log.read_text()


HOOK: Final = """
import json, pathlib

async def authorize(identity, topic, action):
    if topic == "files/broken":
        raise RuntimeError("the hook fails")
    with (pathlib.Path(__file__).parent / "asked.jsonl").open("a") as log:
        log.write(json.dumps([identity.user_id, topic, action]) + "\\n")
    return identity.user_id == "ann" and action != "history"

def blocking(identity, topic, action):
    return topic.endswith(identity.user_id or "-")
"""
RULES: Final = """
[[channels]]
topic = "files/{name}"
authorize = "flow_hook:authorize"
[[channels]]
topic = "home/**"
authorize = "flow_hook:blocking"
"""


async def test_a_function_decides_and_fails_closed(
    serve: Serve, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flow_hook.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    secret = "t" * 40
    server = await serve(f'token_secret = "{secret}"\n{RULES}')

    async def user(name: str) -> Wire:
        token = jwt.encode({"sub": name, "exp": time.time() + 60}, secret, algorithm="HS256")
        return await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-token.{token}"])

    ann, bob = await user("ann"), await user("bob")
    for _ in range(3):
        assert (await ann.ask("subscribe", topic="files/plan"))["type"] == "subscribed"
        assert (await ann.ask("publish", topic="files/plan", event="e", data=1))["type"] == "ack"
        assert (await bob.ask("subscribe", topic="files/plan"))["code"] == "forbidden"
    assert (await ann.ask("subscribe", topic="files/broken"))["code"] == "forbidden"
    assert (await ann.ask("subscribe", topic="home/of/ann"))["type"] == "subscribed"
    assert (await bob.ask("subscribe", topic="home/of/ann"))["code"] == "forbidden"
    token = jwt.encode({"sub": "ann", "exp": time.time() + 60}, secret, algorithm="HS256")
    assert (await calls(server).get("/api/v1/realtime/presence?topic=files/plan", token))[0] == 200
    assert (await calls(server).get("/api/v1/public/realtime/history?room=files/plan", token))[0] == 403
    asked = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    by_socket = [each for each in asked if each[2] in ("subscribe", "publish")]
    assert by_socket == [
        ["ann", "files/plan", "subscribe"],
        ["ann", "files/plan", "publish"],
        ["bob", "files/plan", "subscribe"],
    ]
    for wire in (ann, bob):
        wire.drop()
