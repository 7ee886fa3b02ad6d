"""Tables of PostgreSQL that are altered, dropped, renamed, or truncated while they are watched."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.flow.calls import Http
from tests.flow.conftest import ServerProcess
from tests.flow.typed_tables import RULES, UUID, entered
from tests.flow.wire import Dial

pytestmark = pytest.mark.database("postgres")


async def test_truncate_is_a_gap(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE emptied(id INTEGER PRIMARY KEY)")
    wire = await dial(node)
    await wire.subscribe("emptied")
    await http.sql("INSERT INTO emptied VALUES (1)")
    before = (await wire.hear("db_change"))["cursor"]
    await node.database.write("TRUNCATE emptied")
    gap = await wire.hear("subscribed")
    assert (gap["recovered"], gap.get("id")) == (False, None)
    await http.sql("INSERT INTO emptied VALUES (2)")
    assert (await wire.hear("db_change"))["data"] == {"id": 2}
    assert (await wire.subscribe("emptied", since=before))["recovered"] is False
    assert [each["data"] for each in await wire.settled()] == [{"id": 2}]
    assert (await wire.subscribe("emptied", since=gap["cursor"]))["recovered"] is True
    assert (await wire.hear("db_change"))["data"] == {"id": 2}


async def test_a_table_altered_under_load_continues_with_its_new_columns(
    node: ServerProcess, dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE altered(id INTEGER PRIMARY KEY, n INTEGER)")
    wire = await dial(node)
    await wire.subscribe("altered")
    stop = asyncio.Event()

    async def load() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            await http.sql("INSERT INTO altered VALUES (?, ?)", number, number)
        return number

    loading = asyncio.create_task(load())
    await wire.hear("db_change")
    await node.database.write("ALTER TABLE altered ADD COLUMN note TEXT DEFAULT 'new'")
    assert (await wire.hear("subscribed"))["recovered"] is False
    while "note" not in (change := await wire.hear("db_change"))["data"]:
        pass
    assert change["data"]["note"] == "new"
    await node.database.write("ALTER TABLE altered RENAME COLUMN n TO m")
    assert (await wire.hear("subscribed"))["recovered"] is False
    while "m" not in (change := await wire.hear("db_change"))["data"]:
        pass
    await node.database.write("ALTER TABLE altered ALTER COLUMN m TYPE TEXT")
    assert (await wire.hear("subscribed"))["recovered"] is False
    while not isinstance((change := await wire.hear("db_change"))["data"].get("m"), str):
        pass
    stop.set()
    last = await loading
    while change["data"]["id"] != last:
        change = await wire.hear("db_change")
    assert change["data"] == {"id": last, "m": str(last), "note": "new"}


async def test_filters_and_row_rules_follow_a_columns_new_type(
    serve: Callable[[str], Awaitable[ServerProcess]], calls: Callable[[ServerProcess], Http], dial: Dial
) -> None:
    node = await serve(RULES)
    http = calls(node)
    await http.sql("CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id TEXT, price TEXT)")
    wire = await entered(dial, node, account="7")
    await wire.subscribe("orders", filter={"price": {"gt": 9.5}})
    await node.database.write("ALTER TABLE orders ALTER COLUMN price TYPE NUMERIC USING price::NUMERIC")
    assert (await wire.hear("subscribed"))["recovered"] is False
    await node.database.write("ALTER TABLE orders ALTER COLUMN user_id TYPE NUMERIC USING user_id::NUMERIC")
    assert (await wire.hear("subscribed"))["recovered"] is False
    await http.sql("INSERT INTO orders VALUES (1, 7, 9), (2, 8, 10), (3, 7.0, 10)")
    assert (await wire.hear("db_change"))["data"] == {"id": 3, "user_id": "7.0", "price": "10"}


async def test_an_altered_composite_is_a_gap_and_never_text(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql("CREATE TYPE size AS (width INTEGER)")
    await http.sql("CREATE TABLE parts(id INTEGER PRIMARY KEY, size size)")
    wire = await dial(node)
    await wire.subscribe("parts")
    await http.sql("INSERT INTO parts VALUES (1, ROW(1))")
    assert (await wire.hear("db_change"))["data"] == {"id": 1, "size": {"width": 1}}
    await node.database.write("ALTER TYPE size ADD ATTRIBUTE height INTEGER")
    await http.sql("INSERT INTO parts VALUES (2, ROW(1, 2))")
    frames = {frame["type"]: frame for frame in [await wire.next(), await wire.next()]}
    assert frames["subscribed"]["recovered"] is False
    change = frames["db_change"]
    assert change["data"] == {"id": 2, "size": {"width": 1, "height": 2}}
    await wire.subscribe("parts", snapshot=True)
    (first, second) = (await wire.hear("snapshot"))["rows"]
    assert (first["size"], second) == ({"width": 1, "height": None}, change["data"])


@pytest.mark.parametrize(
    ("table", "gone"), [("again", "DROP TABLE again"), ("renewed", "ALTER TABLE renewed RENAME TO archived")]
)
async def test_a_dropped_or_renamed_and_recreated_table_continues(
    node: ServerProcess, dial: Dial, http: Http, table: str, gone: str
) -> None:
    await http.sql(f"CREATE TABLE {table}(id INTEGER CONSTRAINT {table}_first PRIMARY KEY)")
    wire = await dial(node)
    await wire.subscribe(table)
    await node.database.write(gone)
    error = await wire.hear("error")
    assert (error["code"], "was dropped, renamed" in error["message"]) == ("not_found", True)
    await node.database.write(f"CREATE TABLE {table}(id INTEGER PRIMARY KEY, other TEXT)")
    back = await wire.hear("subscribed")
    assert back["recovered"] is False
    await http.sql(f"INSERT INTO {table} VALUES (1, 'x')")
    assert (await wire.hear("db_change"))["data"] == {"id": 1, "other": "x"}


@pytest.mark.parametrize(
    ("type", "value", "same", "others"),
    [
        ("NUMERIC(6,2)", "7", ["7", "7.0", "7.00"], ["7.01", "70", "x"]),
        ("UUID", UUID, [UUID, UUID.upper()], [UUID.replace("0b", "0c"), UUID[:-1]]),
        ("INTEGER", "7", ["7"], ["07", "7.0", "+7"]),
        ("BIGINT", "9007199254740993", ["9007199254740993"], ["9007199254740992"]),
        ("DOUBLE PRECISION", "7", ["7"], ["7.5"]),
        ("TEXT", "1.0", ["1.0"], ["1", "1.00"]),
    ],
)
async def test_membership_compares_by_column_type(
    serve: Callable[[str], Awaitable[ServerProcess]],
    shell: Callable[[str], Awaitable[str]],
    calls: Callable[[ServerProcess], Http],
    dial: Dial,
    type: str,
    value: str,
    same: list[str],
    others: list[str],
) -> None:
    await shell(f"CREATE TABLE room_members(room_id {type}, user_id UUID)")
    await shell(f"INSERT INTO room_members VALUES ('{value}', '{UUID}')")
    server = await serve(RULES)
    wire = await entered(dial, server)
    for room in same:
        while (answer := await wire.ask("subscribe", topic=f"rooms/{room}"))["type"] != "subscribed":
            assert answer["code"] == "unavailable", answer  # while the members are being read
    for room in others:
        assert (await wire.ask("subscribe", topic=f"rooms/{room}"))["code"] in ("forbidden", "invalid_topic")
    await calls(server).sql("DELETE FROM room_members")
    put_out = {(await wire.hear("unsubscribed"))["topic"] for _ in same}
    assert put_out == {f"rooms/{room}/default" for room in same}


async def test_members_stay_when_the_columns_type_changes(
    serve: Callable[[str], Awaitable[ServerProcess]],
    shell: Callable[[str], Awaitable[str]],
    calls: Callable[[ServerProcess], Http],
    dial: Dial,
) -> None:
    await shell("CREATE TABLE room_members(room_id TEXT, user_id UUID)")
    await shell(f"INSERT INTO room_members VALUES ('7', '{UUID}')")
    server = await serve(RULES)
    http = calls(server)
    wire = await entered(dial, server)
    await wire.subscribe("rooms/7")
    await wire.subscribe("room_members")
    await http.sql("ALTER TABLE room_members ALTER COLUMN room_id TYPE NUMERIC(6,2) USING room_id::NUMERIC")
    assert (await wire.hear("subscribed", topic="table/room_members/default"))["recovered"] is False
    await wire.ask("unsubscribe", topic="room_members")
    while (answer := await wire.ask("subscribe", topic="rooms/7.0"))["type"] != "subscribed":
        assert answer["code"] == "unavailable", "the members are being read again"
    meanwhile = [each["type"] for each in await wire.settled() if each["topic"].startswith("rooms/")]
    assert meanwhile == [], "no one was evicted"
    await http.sql("DELETE FROM room_members")
    put_out = {(await wire.hear("unsubscribed"))["topic"] for _ in range(2)}
    assert put_out == {"rooms/7/default", "rooms/7.0/default"}
