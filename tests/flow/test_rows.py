"""Row changes of a table, as each subscriber's view shows them (docs/protocol.md §4)."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.calls import Http
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess


async def test_each_operation_has_the_rows_of_the_protocol(node: "ServerProcess", dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT)")
    wire = await dial(node)
    subscribed = await wire.subscribe("orders")
    assert subscribed["recovered"] is None
    await http.sql("INSERT INTO orders VALUES (1, 'open')")
    await http.sql("UPDATE orders SET status = 'paid'")
    await http.sql("DELETE FROM orders")
    insert, update, delete = [await wire.hear("db_change") for _ in range(3)]
    before, after = {"id": 1, "status": "open"}, {"id": 1, "status": "paid"}
    assert (insert["operation"], insert["data"], "old" in insert) == ("INSERT", before, False)
    assert (update["operation"], update["data"], update["old"]) == ("UPDATE", after, before)
    assert (delete["operation"], delete["data"], delete["old"]) == ("DELETE", after, after)
    for change in (insert, update, delete):
        assert change["topic"] == "table/orders/default"
        assert isinstance(change["timestamp"], int)
    cursors = [subscribed["cursor"], *(change["cursor"] for change in (insert, update, delete))]
    assert len(set(cursors)) == 4


@pytest.mark.database("sqlite")
async def test_values_are_as_the_protocol_writes_them(node: "ServerProcess", dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE kinds(a)")
    wire = await dial(node)
    await wire.subscribe("kinds")
    written = ["1", "1.5", "9007199254740991", "9007199254740993", "x'00ff'", "NULL", "'\u00e9'"]
    for each in written:
        await http.sql(f"INSERT INTO kinds VALUES ({each})")
    values = [(await wire.hear("db_change"))["data"]["a"] for _ in written]
    assert values == [1, 1.5, 9007199254740991, "9007199254740993", "AP8=", None, "\u00e9"]


@pytest.mark.database("sqlite")
async def test_a_column_without_a_type_is_filtered_by_the_kind_of_each_value(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE untyped(a)")
    wires = {name: await dial(node) for name in ("number", "text", "both")}
    for name, wanted in (("number", 1), ("text", "1"), ("both", {"in": [1, "1"]})):
        await wires[name].subscribe("untyped", filter={"a": wanted})
    await http.sql("INSERT INTO untyped VALUES (1), (1.0), ('1'), (NULL), (2)")
    heard = {name: [(await wire.hear("db_change"))["data"]["a"]] for name, wire in wires.items()}
    for name, wire in wires.items():
        heard[name] += [change["data"]["a"] for change in await wire.settled()]
    assert heard == {"number": [1, 1.0], "text": ["1"], "both": [1, 1.0, "1"]}


async def test_any_other_programs_write_counts(node: "ServerProcess", dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE foreigners(a INTEGER)")
    wire = await dial(node)
    await wire.subscribe("foreigners")
    await node.database.write("INSERT INTO foreigners VALUES (1), (2)")
    assert [(await wire.hear("db_change"))["data"]["a"] for _ in range(2)] == [1, 2]


async def test_a_filter_shows_the_rows_that_enter_and_leave_it(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE views(id INTEGER PRIMARY KEY, status TEXT, room INTEGER)")
    filtered, everything = await dial(node), await dial(node)
    await filtered.subscribe("views", filter={"status": "open", "room": 1})
    await everything.subscribe("views")
    await http.sql("INSERT INTO views VALUES (1, 'open', 2), (2, 'open', 1)")
    await http.sql("UPDATE views SET room = 1 WHERE id = 1")
    await http.sql("UPDATE views SET id = 3 WHERE id = 1")
    await http.sql("UPDATE views SET status = 'paid' WHERE id = 3")
    await http.sql("UPDATE views SET status = 'sent' WHERE id = 3")
    await http.sql("DELETE FROM views WHERE id = 3")
    await http.sql("DELETE FROM views WHERE id = 2")
    assert [(await everything.hear("db_change"))["operation"] for _ in range(8)] == [
        *("INSERT", "INSERT", "UPDATE", "UPDATE", "UPDATE", "UPDATE", "DELETE", "DELETE")
    ]
    seen = [await filtered.hear("db_change") for _ in range(5)]
    assert [(change["operation"], change["data"]["id"]) for change in seen] == [
        *(("INSERT", 2), ("INSERT", 1), ("UPDATE", 3), ("DELETE", 3), ("DELETE", 2))
    ]
    assert seen[3]["data"] == {"id": 3, "status": "open", "room": 1}, "the old row, as it was in the view"
    assert await filtered.settled() == []


@pytest.mark.parametrize(
    ("filter", "shown"),
    [
        ({"number": None}, [None]),
        ({"number": 1}, [1]),
        ({"number": 1.0}, [1]),
        ({"number": "1"}, []),
        ({"number": {"eq": 2}}, [2]),
        ({"number": {"in": [1, "2"]}}, [1]),
        ({"number": {"ne": 1}}, [None, 2, 10]),
        ({"number": {"gt": 1}}, [2, 10]),
        ({"number": {"gt": "1"}}, []),
        ({"half": 1}, [2]),
        ({"half": {"gte": 0.5, "lt": 5}}, [1, 2]),
        ({"word": "1"}, [1]),
        ({"word": 1}, []),
        ({"word": {"lt": "2"}}, [1, 10]),
        ({"word": {"lt": 2}}, []),
        ({}, [None, 1, 2, 10]),
    ],
)
async def test_a_filter_compares_values_by_type(
    node: "ServerProcess", dial: Dial, http: Http, filter: dict[str, Any], shown: list[Any]
) -> None:
    await http.sql("CREATE TABLE IF NOT EXISTS compared(number INTEGER, half DOUBLE PRECISION, word TEXT)")
    wire = await dial(node)
    await wire.subscribe("compared", filter=filter)
    end = await dial(node)
    await end.subscribe("compared", filter={"word": "end"})
    for number in (None, 1, 2, 10):
        half, word = (None, None) if number is None else (number / 2, str(number))
        await http.sql("INSERT INTO compared VALUES (?, ?, ?)", number, half, word)
    await http.sql("INSERT INTO compared VALUES (-1, -1, 'end')")
    await end.hear("db_change")
    seen = [change["data"]["number"] for change in await wire.settled()]
    assert [number for number in seen if number != -1] == shown


@pytest.mark.parametrize(
    "filter",
    [{"nope": 1}, {"a": [1]}, {"a": {"like": "x"}}, {"a": {"in": 1}}, {"a": {"eq": {}}}, {"": 1}, {"A": 1}],
)
async def test_a_filter_that_means_nothing_is_invalid(
    node: "ServerProcess", dial: Dial, http: Http, filter: dict[str, Any]
) -> None:
    await http.sql("CREATE TABLE IF NOT EXISTS unfiltered(a INTEGER)")
    wire = await dial(node)
    refused = await wire.ask("subscribe", topic="unfiltered", filter=filter)
    assert (refused["type"], refused["code"]) == ("error", "invalid_filter")


async def test_a_channel_has_nothing_to_filter(node: "ServerProcess", dial: Dial) -> None:
    wire = await dial(node)
    assert (await wire.ask("subscribe", topic="rows/none", filter={"a": 1}))["type"] == "error"


async def test_subscribing_again_replaces_the_filter(node: "ServerProcess", dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE replaced(a INTEGER)")
    wire = await dial(node)
    await wire.subscribe("replaced", filter={"a": 1})
    await wire.subscribe("replaced", filter={"a": 2})
    await http.sql("INSERT INTO replaced VALUES (1), (2)")
    assert (await wire.hear("db_change"))["data"] == {"a": 2}
    assert await wire.settled() == []


@pytest.mark.parametrize("filter", [None, {"a": 1}])
async def test_subscribing_twice_delivers_once(
    node: "ServerProcess", dial: Dial, http: Http, filter: dict[str, Any] | None
) -> None:
    await http.sql("CREATE TABLE IF NOT EXISTS doubled(a INTEGER)")
    wire = await dial(node)
    for _ in range(2):  # a third would heal what the second broke
        await wire.subscribe("doubled", filter=filter)
    await http.sql("INSERT INTO doubled VALUES (1)")
    assert (await wire.hear("db_change"))["data"] == {"a": 1}
    assert await wire.settled() == []


async def test_unsubscribing_stops_row_changes(node: "ServerProcess", dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE stopped(a INTEGER)")
    gone, stays = await dial(node), await dial(node)
    await gone.subscribe("stopped")
    await stays.subscribe("stopped")
    await gone.ask("unsubscribe", topic="stopped")
    await http.sql("INSERT INTO stopped VALUES (1)")
    await stays.hear("db_change")
    assert await gone.settled() == []


async def test_changes_of_one_transaction_arrive_in_its_order_or_not_at_all(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE together(a INTEGER UNIQUE)")
    wire = await dial(node)
    await wire.subscribe("together")
    failing = [{"sql": "INSERT INTO together VALUES (1)"}, {"sql": "INSERT INTO together VALUES (1)"}]
    status, _ = await http.post("/v1/db/batch", {"queries": failing})
    assert status == 400
    queries = [{"sql": "INSERT INTO together VALUES (?)", "params": [number]} for number in (3, 2, 1)]
    await http.post("/v1/db/batch", {"queries": queries})
    assert [(await wire.hear("db_change"))["data"]["a"] for _ in range(3)] == [3, 2, 1]
    assert await wire.settled() == []


async def test_a_table_is_found_whatever_the_case_it_is_written_in(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    await http.sql('CREATE TABLE "Mixed"(a INTEGER)')
    as_made, as_written = await dial(node), await dial(node)
    await as_made.subscribe("Mixed")
    answer = await as_written.ask("subscribe", topic="mixed")
    await http.sql('INSERT INTO "Mixed" VALUES (1)')
    await as_made.hear("db_change")
    heard = [message["type"] for message in await as_written.settled()]
    assert (answer["type"], heard) in (("subscribed", ["db_change"]), ("error", []))


async def test_a_dropped_table_is_reported_to_its_subscribers(
    node: "ServerProcess", dial: Dial, http: Http
) -> None:
    await http.sql("CREATE TABLE dropped(a INTEGER)")
    wire = await dial(node)
    await wire.subscribe("dropped")
    await http.sql("DROP TABLE dropped")
    assert (await wire.hear("error"))["code"] == "not_found"


async def test_nobody_is_present_on_a_table(node: "ServerProcess", dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE attended(a INTEGER)")
    wire = await dial(node, "ann")
    await wire.subscribe("attended")
    refused = await wire.ask("track", topic="attended", state={"editing": 1})
    assert (refused["type"], refused["code"]) == ("error", "forbidden")
    assert (await wire.ask("presence", topic="attended"))["members"] == []


async def test_what_was_written_while_the_server_was_down_is_replayed(
    server: "ServerProcess", dial: Dial, calls: Any
) -> None:
    await calls(server).sql("CREATE TABLE night(a INTEGER)")
    wire = await dial(server)
    cursor = (await wire.subscribe("night"))["cursor"]
    await server.kill()
    await server.database.write("INSERT INTO night VALUES (1), (2)")
    await server.start()
    back = await dial(server)
    assert (await back.subscribe("night", since=cursor))["recovered"] is True
    await calls(server).sql("INSERT INTO night VALUES (3)")
    assert [(await back.hear("db_change"))["data"]["a"] for _ in range(3)] == [1, 2, 3]
