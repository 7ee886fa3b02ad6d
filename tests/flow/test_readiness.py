"""`/readyz` names the part that is not ready."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.flow.calls import Http

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]
Shell = Callable[[str], Awaitable[str]]

MEMBERS = """anonymous = true
[[channels]]
topic = "chat/{room}"
subscribe = "anyone"
members = { table = "seats", room = "{room}" }
"""


async def test_a_missing_membership_table_is_named_until_it_exists(
    serve: Serve, calls: Calls, shell: Shell
) -> None:
    server = await serve(MEMBERS)
    http = calls(server)
    status, body = await http.get("/readyz", "")
    assert (status, body["status"]) == (503, "not ready")
    assert body["parts"]["memberships"] == "The rows of seats are not known yet."
    assert body["parts"]["database"] == "ready"
    await shell("CREATE TABLE seats (room TEXT)")
    while status == 503:
        status, body = await http.get("/readyz", "")
    assert set(body["parts"].values()) == {"ready"}


@pytest.mark.database("postgres")
async def test_an_interrupted_stream_makes_the_changes_part_not_ready(
    serve: Serve, calls: Calls, shell: Shell
) -> None:
    server = await serve("anonymous = true")
    http = calls(server)
    assert (await http.get("/readyz", ""))[0] == 200
    name = (await shell("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")).strip()
    await shell(f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{name}'")
    status, body = await http.get("/readyz", "")
    while status == 200:
        await shell(
            f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{name}'"
        )
        status, body = await http.get("/readyz", "")
    assert body["parts"]["changes"] != "ready"
    assert body["parts"]["database"] == "ready"
    while status == 503:
        status, body = await http.get("/readyz", "")
    assert (await http.get("/healthz", ""))[0] == 200
