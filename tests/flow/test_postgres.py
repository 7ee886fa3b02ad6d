"""What only PostgreSQL has: its types, its names and schemas, TRUNCATE, and tables that are altered meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aerostack_realtime import Aerostack
from tests.flow.calls import Http
from tests.flow.conftest import ServerProcess
from tests.flow.typed_tables import ROWS, RULES, TYPES, UUID, entered
from tests.flow.wire import Dial

pytestmark = pytest.mark.database("postgres")


async def test_values_are_as_the_protocol_writes_them(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql(TYPES.replace("types", "values_"))
    wire = await dial(node)
    await wire.subscribe("values_")
    for row in ROWS:
        await http.sql(row.replace("types", "values_"))
    first, second, third, _ = [(await wire.hear("db_change"))["data"] for _ in ROWS]
    assert first == {
        "id": 1,
        "price": "9.50",
        "big": 1,
        "at": "2026-01-01T12:00:00+00:00",
        "day": "2026-01-01",
        "done": True,
        "key": UUID,
        "tags": ["a", "b"],
        "info": {"n": 1},
        "mood": "é",
        "ratio": 1.5,
    }
    assert (second["big"], second["at"], second["info"]) == ("9007199254740993", "2026-01-01T12:00:00.5+00:00", 3)
    assert (second["ratio"], third["ratio"]) == ("Infinity", "NaN")
    assert await http.sql("SELECT * FROM values_ WHERE id = 1") == [first]
    await wire.subscribe("values_", snapshot=True)
    assert (await wire.hear("snapshot"))["rows"][:3] == [first, second, third]


@pytest.mark.parametrize(
    ("filter", "shown"),
    [
        ({"price": "9.50"}, [1]),
        ({"price": 9.5}, [1]),
        ({"price": 10}, [2]),
        ({"price": "10"}, [2]),
        ({"price": {"gt": 9.5}}, [2, 3]),
        ({"price": {"gte": "9.5", "lt": "100"}}, [1, 2]),
        ({"price": {"in": [10, "100.00"]}}, [2, 3]),
        ({"price": {"ne": 10}}, [1, 3, 4]),
        ({"big": {"gt": 0}}, [1, 2]),
        ({"big": {"lt": 0}}, [3]),
        ({"big": "9007199254740993"}, [2]),
        ({"big": 9007199254740993}, [2]),
        ({"big": {"gt": "9007199254740992"}}, [2]),
        ({"at": "2026-01-01T12:00:00+00:00"}, [1]),
        ({"at": "2026-01-01T12:00:00.000Z"}, [1]),
        ({"at": {"gte": "2026-01-01T12:00:00.000Z"}}, [1, 2, 3]),
        ({"at": {"gt": "2026-01-01T14:00:00.000+02:00"}}, [2, 3]),
        ({"day": {"gt": "2026-01-15"}}, [2]),
        ({"done": True}, [1]),
        ({"done": {"ne": True}}, [2, 3, 4]),
        ({"done": {"in": [False, None]}}, [2, 3, 4]),
        ({"key": UUID}, [1]),
        ({"key": UUID.upper()}, [1]),
        ({"tags": None}, [2, 4]),
        ({"tags": "a"}, []),
        ({"tags": {"ne": None}}, [1, 3]),
        ({"info": 3}, [2]),
        ({"info": None}, [3, 4]),
        ({"mood": {"gte": "a"}}, [1, 3]),
        ({"ratio": {"gt": 1}}, [1, 2]),
        ({"ratio": "NaN"}, [3]),
    ],
    ids=str,
)
async def test_a_filter_compares_values_as_their_type_does(
    node: ServerProcess, dial: Dial, http: Http, filter: dict[str, Any], shown: list[int]
) -> None:
    """Changes and snapshots alike."""
    await http.sql(TYPES)
    await http.sql("DELETE FROM types")
    wire = await dial(node)
    await wire.subscribe("types", filter=filter)
    end = await dial(node)
    await end.subscribe("types", filter={"id": 5})
    for row in ROWS:
        await http.sql(row)
    await http.sql("INSERT INTO types (id) VALUES (5)")
    await end.hear("db_change", operation="INSERT")
    inserts = [change["data"]["id"] for change in await wire.settled() if change["operation"] == "INSERT"]
    assert [id for id in inserts if id < 5] == shown
    await wire.subscribe("types", filter=filter, snapshot={"order": "id", "limit": 100})
    rows = (await wire.hear("snapshot"))["rows"]
    assert [row["id"] for row in rows if row["id"] < 5] == shown


async def test_a_filtering_client_receives_its_column_types(
    serve: Callable[[str], Awaitable[ServerProcess]], calls: Callable[[ServerProcess], Http], dial: Dial
) -> None:
    node = await serve(RULES)
    http = calls(node)
    await http.sql("CREATE TABLE typed(id INTEGER PRIMARY KEY, price NUMERIC, secret BIGINT, at TIMESTAMPTZ)")
    kinds = {"price": "decimal", "at": "instant"}
    wire = await entered(dial, node)
    answer = await wire.subscribe("typed")
    assert answer["columnTypes"] == kinds
    assert (await wire.subscribe("typed", since=answer["cursor"]))["columnTypes"] == kinds
    await node.database.write("ALTER TABLE typed ALTER COLUMN price TYPE TEXT, ALTER COLUMN at TYPE TEXT")
    assert (await wire.hear("subscribed"))["columnTypes"] == {}, "there are none any more"
    assert "columnTypes" not in await wire.subscribe("typed")


async def test_a_live_table_orders_numbers_by_value(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE prices(id BIGINT PRIMARY KEY, price NUMERIC(12, 2))")
    for number in range(1, 41):
        await http.sql("INSERT INTO prices VALUES (?, ?)", 9007199254740980 + number, number)
    async with Aerostack(node.url, api_key=node.secret_key) as sdk:

        async def shown(order: str, limit: int | None = None) -> list[str]:
            changed = asyncio.Event()
            async with sdk.realtime.table("prices", order=order, limit=limit) as table:
                table.on_change(lambda _: changed.set())
                await http.sql("INSERT INTO prices VALUES (1, 9.5)")
                await changed.wait()
                found = [row["price"] for row in table.values()]
                changed.clear()
                await http.sql("DELETE FROM prices WHERE id = 1")
                await changed.wait()
            return found

        assert (await shown("price", 11))[8:] == ["9.00", "9.50", "10.00"]
        assert await shown("-price") == [f"{each}.00" for each in range(40, 9, -1)] + ["9.50"] + [
            f"{each}.00" for each in range(9, 0, -1)
        ]
        assert await shown("id", 2) == ["9.50", "1.00"]
        assert (await shown("-id"))[:2] == ["40.00", "39.00"]


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        ("price", [4, 1, 2, 3]),
        ("-price", [3, 2, 1, 4]),
        ("big", [4, 3, 1, 2]),
        ("at", [4, 1, 2, 3]),
        ("mood", [4, 2, 3, 1]),
        ("-done", [1, 2, 3, 4]),
    ],
)
async def test_a_snapshot_is_in_the_order_of_the_type(
    node: ServerProcess, dial: Dial, http: Http, order: str, ids: list[int]
) -> None:
    await http.sql(TYPES.replace("types", "ordered"))
    await http.sql("DELETE FROM ordered")
    for row in ROWS:
        await http.sql(row.replace("types", "ordered"))
    wire = await dial(node)
    await wire.subscribe("ordered", snapshot={"order": order})
    assert [row["id"] for row in (await wire.hear("snapshot"))["rows"]] == ids


async def test_rules_and_memberships_find_the_values_of_typed_columns(
    serve: Callable[[str], Awaitable[ServerProcess]],
    shell: Callable[[str], Awaitable[str]],
    calls: Callable[[ServerProcess], Http],
    dial: Dial,
) -> None:
    large, other = 9007199254740993, "00000000-0000-0000-0000-000000000000"
    await shell("CREATE TABLE room_members(room_id BIGINT, user_id UUID)")
    server = await serve(RULES)
    http = calls(server)
    await http.sql("CREATE TABLE notes(id INTEGER PRIMARY KEY, owner UUID)")
    await http.sql("CREATE TABLE orders(id INTEGER PRIMARY KEY, user_id BIGINT)")
    await http.sql("CREATE TABLE bids(id INTEGER PRIMARY KEY, owner UUID, amount NUMERIC)")
    wire = await entered(dial, server, account=str(large))
    for table in ("notes", "orders", "bids"):
        await wire.subscribe(table)
    await http.sql("INSERT INTO notes VALUES (1, ?), (2, ?), (3, NULL)", other, UUID)
    await http.sql("INSERT INTO orders VALUES (1, 5), (2, ?), (3, ?)", large, large + 1)
    await http.sql("INSERT INTO bids VALUES (1, ?, 9.5), (2, ?, 10.00), (3, ?, 100)", UUID, UUID, other)
    changes = [await wire.hear("db_change") for _ in range(3)]
    assert [(each["topic"], each["data"]["id"]) for each in changes] == [
        (f"table/{table}/default", 2) for table in ("notes", "orders", "bids")
    ]
    for table in ("notes", "orders", "bids"):
        answer = await wire.subscribe(table, snapshot=True)
        assert [row["id"] for row in (await wire.hear("snapshot", id=answer["id"]))["rows"]] == [2]
    assert (await wire.ask("subscribe", topic=f"rooms/{large}"))["code"] == "forbidden"
    await http.sql("INSERT INTO room_members VALUES (?, ?)", large, UUID)
    while (answer := await wire.ask("subscribe", topic=f"rooms/{large}"))["type"] != "subscribed":
        assert answer["code"] == "forbidden"
    await http.sql("DELETE FROM room_members")
    assert (await wire.hear("unsubscribed"))["topic"] == f"rooms/{large}/default"


async def test_a_table_of_a_schema_and_the_same_by_its_short_name(
    node: ServerProcess, dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE places(id INTEGER PRIMARY KEY)")
    await http.sql("CREATE SCHEMA sales")
    await http.sql("CREATE TABLE sales.places(id INTEGER PRIMARY KEY)")
    short, long, other = [await dial(node) for _ in range(3)]
    topics = {"places": short, "public.places": long, "sales.places": other}
    for topic, wire in topics.items():
        await wire.subscribe(topic)
    await http.sql("INSERT INTO places VALUES (1)")
    await http.sql("INSERT INTO sales.places VALUES (2)")
    for topic, wire in topics.items():
        change = await wire.hear("db_change")
        assert (change["topic"], change["data"]["id"]) == (f"table/{topic}/default", 2 if wire is other else 1)
        assert await wire.settled() == []


async def test_quoted_names_keep_their_case(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql('CREATE TABLE "OrderItems"("itemId" INTEGER PRIMARY KEY, "Total" NUMERIC)')
    wire = await dial(node)
    assert (await wire.ask("subscribe", topic="orderitems"))["code"] == "not_found"
    await wire.subscribe("OrderItems", filter={"itemId": {"gt": 0}}, snapshot={"order": "-Total", "limit": 5})
    assert (await wire.hear("snapshot"))["rows"] == []
    await http.sql('INSERT INTO "OrderItems" VALUES (1, 2.5)')
    assert (await wire.hear("db_change"))["data"] == {"itemId": 1, "Total": "2.5"}


async def test_a_table_without_a_primary_key_has_changes_with_whole_rows(
    node: ServerProcess, dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE keyless(a INTEGER, b TEXT)")
    await http.sql("INSERT INTO keyless VALUES (1, 'x'), (1, 'x')")
    wire = await dial(node)
    await wire.subscribe("keyless", snapshot=True)
    assert (await wire.hear("snapshot"))["rows"] == [{"a": 1, "b": "x"}] * 2
    await http.sql("UPDATE keyless SET b = 'y'")
    await http.sql("DELETE FROM keyless")
    changes = [await wire.hear("db_change") for _ in range(4)]
    assert [(each["operation"], each["data"], each["old"]) for each in changes] == [
        *[("UPDATE", {"a": 1, "b": "y"}, {"a": 1, "b": "x"})] * 2,
        *[("DELETE", {"a": 1, "b": "y"}, {"a": 1, "b": "y"})] * 2,
    ]


async def test_many_rows_in_one_statement_are_single_changes(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE many(id INTEGER PRIMARY KEY, n INTEGER)")
    wire = await dial(node)
    await wire.subscribe("many", filter={"n": {"lt": 2}})
    for sql in (
        "INSERT INTO many SELECT i, 0 FROM generate_series(1, 5000) i",
        "UPDATE many SET n = id % 4",
        "DELETE FROM many",
    ):
        await http.sql(sql)
    changes = [await wire.hear("db_change") for _ in range(5000 + 5000 + 2500)]
    counts = {name: sum(each["operation"] == name for each in changes) for name in ("INSERT", "UPDATE", "DELETE")}
    assert counts == {"INSERT": 5000, "UPDATE": 2500, "DELETE": 5000}
    assert len({each["commit"] for each in changes}) == 3
    assert await wire.settled() == []
