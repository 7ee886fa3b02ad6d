"""The board and the alerts of deploy/ on a real Prometheus that scrapes a server under load."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest

from tests.flow.calls import Http
from tests.flow.wire import Closed, Dial
from tests.ports import free_port
from tests.redis import RedisServer

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.databases import Database

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
ALERTS: Final = DEPLOY / "prometheus" / "alerts.yml"
RUNBOOKS: Final = Path(__file__).parents[2] / "docs" / "runbooks"
SETTINGS: Final = """
anonymous = true
metrics_port = 0
[[channels]]
topic = "chat/{room}"
subscribe = "anyone"
publish = "anyone"
presence = "anyone"
history = "anyone"
[[tables]]
name = "orders"
subscribe = "anyone"
"""


def queries(boards: str) -> Iterator[tuple[str, str]]:
    """Each query of each panel with the panel's title."""
    for path in sorted((DEPLOY / "grafana").glob(boards)):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"].replace("$__rate_interval", "10s")


async def promtool(*arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "promtool",
        *arguments,
        cwd=ALERTS.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


class Prometheus:
    """Asks a Prometheus by HTTP."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer, once Prometheus listens."""
        while True:
            try:
                async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as answer:
                    if answer.status == 503:
                        continue  # it is starting
                    body = await answer.json()
                    assert body["status"] == "success", body
                    return body["data"]
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0)


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Prometheus]]]:
    """Run Prometheus with our alerts on a target: `await prometheus("127.0.0.1:9187")`."""
    started: list[asyncio.subprocess.Process] = []
    async with aiohttp.ClientSession() as session:

        async def run(target: str) -> Prometheus:
            config = tmp_path / "prometheus.yml"
            config.write_text(
                "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms}\n"
                f"rule_files: [{ALERTS}]\n"
                f"scrape_configs: [{{job_name: aerostack, static_configs: [{{targets: ['{target}']}}]}}]\n"
            )
            port = free_port()
            process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                stderr=asyncio.subprocess.DEVNULL,
            )
            started.append(process)
            return Prometheus(f"http://127.0.0.1:{port}", session)

        yield run
    for process in started:
        process.kill()
        await process.wait()


async def load(server: "ServerProcess", dial: Dial, http: Http, shell: Shell) -> None:
    """Do everything that a panel shows."""
    ann = await dial(server)
    await ann.subscribe("chat/1")
    await ann.subscribe("orders", snapshot=True)
    await ann.publish("chat/1", 1, id="a")
    await ann.publish("chat/1", 1, id="b", persist=True)
    await ann.ask("track", topic="chat/1", state={}, id="t")
    await ann.ask("publish", topic="elsewhere/1", event="e", data=1, id="refused")
    await shell("INSERT INTO orders VALUES (1)")
    await ann.hear("db_change")
    await http.history("chat/1")
    await http.get("/api/v1/realtime/channels", "ac_secret_that_is_wrong")
    other = await dial(server)
    await other.close()
    with pytest.raises(Closed):
        await dial(server, query={"token": "no.valid.token"})


async def test_every_query_of_board_and_alerts_works_on_a_loaded_server(
    serve: Serve,
    calls: Calls,
    dial: Dial,
    shell: Shell,
    prometheus: Callable[[str], Awaitable[Prometheus]],
    database: "Database",
    redis: RedisServer,
) -> None:
    """On PostgreSQL as a node of a cluster, so that the board of the cluster has data as well."""
    await shell("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    clustered = database.kind == "postgres"
    backplane = f'backplane = "redis://127.0.0.1:{redis.port}"\n' if clustered else ""
    server = await serve(backplane + SETTINGS)
    [target] = re.findall(r"metrics: http://(\S+)/metrics", server.log.read_text())
    await load(server, dial, calls(server), shell)
    asked = await prometheus(target)
    waiting = list(queries("*.json" if clustered else "aerostack.json"))
    assert len(waiting) > 20
    while waiting:
        _, query = waiting[0]
        if (await asked.get("query", query=query))["result"]:
            waiting.pop(0)
    rules: list[dict[str, Any]] = []
    while not rules or any(rule["health"] == "unknown" for rule in rules):
        rules = [rule for group in (await asked.get("rules"))["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


async def test_promtool_accepts_the_alerts_and_their_tests_pass() -> None:
    assert shutil.which("promtool"), "`make test` installs Prometheus"
    code, out = await promtool("check", "rules", "alerts.yml")
    assert code == 0, out
    code, out = await promtool("test", "rules", "alerts_test.yml")
    assert code == 0, out


async def test_promtool_accepts_the_configuration_of_compose(tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus.yml").read_text()
    rules, secrets = tmp_path / "rules", tmp_path / "secrets"
    shutil.copytree(ALERTS.parent, rules)
    secrets.mkdir()
    (secrets / "aerostack_key").write_text("ac_secret_of_a_test")
    config = tmp_path / "prometheus.yml"
    config.write_text(text.replace("/etc/prometheus/rules", str(rules)).replace("/run/secrets", str(secrets)))
    code, out = await promtool("check", "config", str(config))
    assert code == 0, out
    assert "1 rule files found" in out


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS.read_text()))
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == alerts
    named = set(re.findall(r"runbook: docs/runbooks/(\w+)\.md", ALERTS.read_text()))
    assert named == alerts
    for name in alerts:
        assert f"[{name}]({name}.md)" in (RUNBOOKS / "README.md").read_text()
