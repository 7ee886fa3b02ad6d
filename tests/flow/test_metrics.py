"""`/metrics` of a real server: the figures of what clients did, and who may read them."""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.flow.calls import Http
from tests.flow.databases import SqliteFile
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
SETTINGS: Final = """
anonymous = true
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


async def scrape(url: str, key: str | None, accept: str = "text/plain") -> tuple[int, str, str]:
    headers = {"Accept": accept, **({"Authorization": f"Bearer {key}"} if key else {})}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics", headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.text()


class Figures:
    """The samples of one scrape."""

    def __init__(self, families: list[Metric]) -> None:
        self._samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels."""
        found = [
            sample.value
            for sample in self._samples
            if sample.name == f"aerostack_{name}" and labels.items() <= sample.labels.items()
        ]
        assert found, f"no sample of {name} {labels}"
        return sum(found)


async def figures(server: "ServerProcess") -> Figures:
    status, _, text = await scrape(server.url, server.secret_key)
    assert status == 200
    return Figures(list(parse_text(text)))


async def test_metrics_count_what_clients_did(serve: Serve, calls: Calls, dial: Dial, shell: Shell) -> None:
    await shell("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER)")
    server = await serve(SETTINGS)
    ann, bob = await dial(server), await dial(server)
    await ann.subscribe("chat/1")
    await bob.subscribe("chat/1")
    await ann.subscribe("orders")
    cursor = (await ann.publish("chat/1", "hello", id="a"))["cursor"]
    await ann.publish("chat/1", "stored", id="b", persist=True)
    await bob.ask("track", topic="chat/1", state={}, id="t")
    await shell("INSERT INTO orders VALUES (1, 5)")
    await ann.hear("db_change")
    await ann.subscribe("chat/1", since=cursor)
    await ann.ask("subscribe", topic="forbidden/1", id="f")
    await calls(server).history("chat/1")

    found = await figures(server)
    assert found("connections") == 2
    assert found("subscriptions") == 3
    assert (found("channels", kind="custom"), found("channels", kind="table")) == (1, 1)
    assert found("members") == 1
    assert (found("commands_total", type="publish"), found("commands_total", type="track")) == (2, 1)
    assert found("events_total", rule="chat/{room}", kind="event") == 2
    assert found("deliveries_total", rule="chat/{room}", kind="event") == 4
    assert found("deliveries_total", rule="chat/{room}", kind="presence") == 2
    assert found("deliveries_total", rule="orders", kind="change") == 1
    assert found("acks_total") == 2
    assert found("resumes_total", rule="chat/{room}", source="log") == 1
    assert found("errors_total", code="forbidden") == 1
    assert found("publish_ack_seconds_count", persist="true") == 1
    assert found("publish_ack_seconds_count", persist="false") == 1
    assert found("change_delivery_seconds_count") == 1
    assert found("history_page_seconds_count") == 1
    assert found("http_request_seconds_count", route="/api/v1/public/realtime/history", status="200") == 1
    assert found("event_loop_lag_seconds_count") >= 0
    assert found("channel_log_bytes") > 0
    assert found("build_info") == 1
    assert found("database_up") == 1
    assert found("journal_lag_seconds") == 0
    own = "change_feed_lag_changes" if isinstance(server.database, SqliteFile) else "change_feed_lag_bytes"
    assert found(own) >= 0
    assert found("received_bytes_total") > 0 < found("sent_bytes_total", kind="reply")


@pytest.mark.database("sqlite")
async def test_no_label_contains_what_a_client_chose(serve: Serve, calls: Calls, dial: Dial) -> None:
    server = await serve(SETTINGS)
    ann = await dial(server, "needle-user")
    await ann.subscribe("chat/needle-room")
    await ann.publish("chat/needle-room", "needle-data", event="needle-event")
    await ann.ask("subscribe", topic="needle/other", id="needle-id")
    http = calls(server)
    await http.get("/needle-path", needle="needle")
    await http.post("/needle-path", {})
    await ann.close(4999)
    _, _, text = await scrape(server.url, server.secret_key)
    assert "needle" not in text
    assert 'code="4999"' not in text
    assert "127.0.0.1" not in text


@pytest.mark.database("sqlite")
async def test_both_formats_are_served_by_accept(serve: Serve) -> None:
    server = await serve(SETTINGS)
    _, plain, text = await scrape(server.url, server.secret_key)
    assert plain.startswith("text/plain")
    _, modern, openmetrics = await scrape(server.url, server.secret_key, OPENMETRICS)
    assert modern.startswith("application/openmetrics-text")
    families = parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call]
    assert {family.name for family in families} >= {"aerostack_connections"}
    assert {family.name for family in parse_text(text)} >= {"aerostack_connections"}


@pytest.mark.database("sqlite")
async def test_metrics_need_the_secret_key(serve: Serve) -> None:
    server = await serve(SETTINGS)
    assert (await scrape(server.url, None))[0] == 401
    assert (await scrape(server.url, "ac_secret_of_someone_else"))[0] == 401


@pytest.mark.database("sqlite")
async def test_metrics_port_serves_metrics_alone_without_a_key(serve: Serve) -> None:
    server = await serve(f"metrics_port = 0\n{SETTINGS}")
    [own] = re.findall(r"metrics: (http://\S+)/metrics", server.log.read_text())
    assert (await scrape(own, None))[0] == 200
    assert (await scrape(server.url, server.secret_key))[0] == 404
    async with aiohttp.ClientSession() as session, session.get(f"{own}/healthz") as answer:
        assert answer.status == 404
