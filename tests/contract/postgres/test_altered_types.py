"""Types that are altered while tables with columns of them are written to: a gap, then values by the new type."""

import asyncio
import os
import signal
from collections.abc import Awaitable
from typing import Any

import psycopg
import pytest

from aerostack_realtime.database.base import Change, Selection
from aerostack_realtime.database.postgres.feed.changes import PostgresChangeFeed
from aerostack_realtime.database.postgres.feed.log import Entry
from aerostack_realtime.database.postgres.types.types import Types
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.shop import Shop, opened
from tests.contract.test_snapshot import everything, rows_of

PLACES = (
    "CREATE TYPE point2 AS (x int, y int)",
    "CREATE TABLE places(id int PRIMARY KEY, at point2, path point2[])",
)


def insert(id: int, *numbers: int) -> str:
    row = f"ROW({', '.join(map(str, numbers))})::point2"
    return f"INSERT INTO places VALUES ({id}, {row}, ARRAY[{row}])"


def seen(changes: list[Change]) -> dict[Any, Any]:
    for change in changes:
        assert change.data["path"] == [change.data["at"]]
    return {change.data["id"]: change.data["at"] for change in changes}


async def gap(recorder: Recorder, count: int) -> None:
    assert (await recorder.until_interruptions(count))[count - 1][::2] == ("places", True)


async def caught_up(recorder: Recorder, count: int) -> None:
    await recorder.until(lambda: len(recorder.changes) >= count)


async def test_altered_attributes_are_right_from_the_first_change_on(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*PLACES)
    async with opened(shop, recorder) as database:
        await database.changes.watch("places")
        shop.execute(insert(1, 1, 2), "ALTER TYPE point2 ADD ATTRIBUTE z text", insert(2, 1, 2, 3))
        await recorder.until_changes(2)
        shop.execute("ALTER TYPE point2 DROP ATTRIBUTE x", insert(3, 2, 3))
        await recorder.until_changes(3)
        await gap(recorder, 2)
        shop.execute("ALTER TYPE point2 RENAME ATTRIBUTE y TO why")
        await gap(recorder, 3)
        shop.execute(insert(4, 2, 3))
        await recorder.until_changes(4)
        expected = {
            1: {"x": 1, "y": 2},
            2: {"x": 1, "y": 2, "z": "3"},
            3: {"y": 2, "z": "3"},
            4: {"why": 2, "z": "3"},
        }
        assert seen(recorder.changes) == expected


async def test_a_change_that_arrives_while_its_type_is_read_is_delivered(
    shop: Shop, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed before the catalogs were read, and arrives before the types are known."""
    load, types_changed = Types.load, PostgresChangeFeed.types_changed
    loading, resumed, asked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def load_later(types: Types, *args: Any) -> bool:
        loading.set()
        await resumed.wait()
        return await load(types, *args)

    def ask(feed: PostgresChangeFeed, entry: Entry) -> Awaitable[bool]:
        asked.set()
        return types_changed(feed, entry)

    shop.execute(*PLACES)
    async with opened(shop, recorder) as database:
        await database.changes.watch("places")
        shop.execute(insert(1, 1, 2))
        await recorder.until_changes(1)
        sender = shop.active_pid()
        os.kill(sender, signal.SIGSTOP)
        try:
            shop.execute("ALTER TYPE point2 ADD ATTRIBUTE z text", insert(2, 1, 2, 3))
            monkeypatch.setattr(Types, "load", load_later)
            monkeypatch.setattr(PostgresChangeFeed, "types_changed", ask)
            async with asyncio.timeout(PATIENCE):
                await loading.wait()
        finally:
            os.kill(sender, signal.SIGCONT)
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
        resumed.set()
        await recorder.until_changes(2)
        await gap(recorder, 1)
        assert seen(recorder.changes) == {1: {"x": 1, "y": 2}, 2: {"x": 1, "y": 2, "z": "3"}}


async def test_changes_before_an_altered_type_are_covered_by_its_gap(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*PLACES)
    async with opened(shop, recorder) as database:
        await database.changes.watch("places")
        since = database.changes.cursor("places")
        shop.execute(insert(1, 1, 2), "ALTER TYPE point2 ADD ATTRIBUTE z int")
        await gap(recorder, 1)
        # As many attributes as at first, of the same types.
        shop.execute(insert(2, 1, 2, 3), "ALTER TYPE point2 DROP ATTRIBUTE x")
        await gap(recorder, 2)
        shop.execute(insert(3, 2, 3))
        await recorder.until_changes(3)
        third = {3: {"y": 2, "z": 3}}
        changes, parts = await replay(database, "places", since)
        assert (seen(changes), parts[0].recovered) == (third, False)
        changes, parts = await replay(database, "places", recorder.interruptions[-1][1])
        assert (seen(changes), parts[0].recovered) == (third, True)
    async with opened(shop, Recorder()) as database:
        changes, parts = await replay(database, "places", since)
        assert (seen(changes), parts[0].recovered) == (third, False)


async def test_a_type_altered_while_no_server_runs_is_a_gap(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*PLACES)
    async with opened(shop, recorder) as database:
        await database.changes.watch("places")
        since = database.changes.cursor("places")
    shop.execute(insert(1, 1, 2), "ALTER TYPE point2 ADD ATTRIBUTE z int", insert(2, 1, 2, 3))
    later = Recorder()
    async with opened(shop, later) as database:
        changes, parts = await replay(database, "places", since)
        assert (changes, parts[0].recovered) == ([], False)
        shop.execute(insert(3, 1, 2, 3))
        await later.until_changes(1)
        assert seen(later.changes) == {3: {"x": 1, "y": 2, "z": 3}}


async def test_a_transaction_that_spans_an_altered_type_is_a_gap(shop: Shop, recorder: Recorder) -> None:
    """Its rows were written with the old type and are committed after the gap that the new type made."""
    shop.execute(*PLACES)
    async with opened(shop, recorder) as database:
        await database.changes.watch("places")
        with psycopg.connect(shop.dsn()) as writer:
            writer.execute(insert(1, 1, 2).encode())
            await asyncio.to_thread(shop.execute, "ALTER TYPE point2 ADD ATTRIBUTE z int")
            await gap(recorder, 1)
        await gap(recorder, 2)
        shop.execute(insert(2, 1, 2, 3))
        await recorder.until_changes(1)
        assert seen(recorder.changes) == {2: {"x": 1, "y": 2, "z": 3}}
        cursor = database.changes.cursor("places")
        changes, parts = await replay(database, "places", cursor)
        assert (changes, parts[0].recovered) == ([], True)


async def test_a_type_that_is_dropped_and_created_again_is_converted_anew(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*PLACES)
    async with opened(shop, recorder) as database:
        await database.changes.watch("places")
        since = database.changes.cursor("places")
        shop.execute(
            insert(1, 1, 2),
            "DROP TYPE point2 CASCADE",
            "CREATE TYPE point2 AS (lat int, lon int, z int)",
            "ALTER TABLE places ADD COLUMN at point2, ADD COLUMN path point2[]",
            insert(2, 3, 4, 5),
        )
        await recorder.until_changes(2)
        expected = {1: {"x": 1, "y": 2}, 2: {"lat": 3, "lon": 4, "z": 5}}
        assert seen(recorder.changes) == expected
    async with opened(shop, Recorder()) as database:
        (first, second), parts = await replay(database, "places", since)
        assert not parts[0].recovered, "a dropped column is a gap"
        assert first.data["at"] == "(1,2)", "nothing is known about the first type any more: text"
        assert seen([second]) == {2: expected[2]}


async def test_a_snapshot_converts_rows_by_the_type_as_it_is_then(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*PLACES, f"INSERT INTO places SELECT i, p, ARRAY[p] FROM {MANY}, (SELECT {POINT} AS p) one")
    async with opened(shop, recorder) as database:
        await database.changes.watch("places")
        async with database.snapshot("places", Selection(everything)) as snapshot:
            chunks = aiter(snapshot)
            before = await anext(chunks)
            await asyncio.to_thread(shop.execute, "ALTER TYPE point2 ADD ATTRIBUTE z int")
            after = [row async for chunk in chunks for row in chunk]
        old, new = {"x": 1, "y": 2}, {"x": 1, "y": 2, "z": None}
        assert all(row["at"] == old for row in before)
        assert all(row["at"] in (old, new) for row in after), "as soon as PostgreSQL's session hears of it"
        rows, _ = await rows_of(database, "places", Selection(everything))
        assert all(row["path"] == [new] for row in rows)


MANY = "generate_series(1, 2000) i"
POINT = "ROW(1, 2)::point2"


async def test_a_query_converts_an_altered_type_as_it_is(shop: Shop, recorder: Recorder) -> None:
    shop.execute("CREATE TYPE pair AS (a int)")
    async with opened(shop, recorder) as database:
        assert (await database.query("SELECT ROW(1)::pair p")).rows == [{"p": {"a": 1}}]
        shop.execute("ALTER TYPE pair ADD ATTRIBUTE b int")
        assert (await database.query("SELECT ROW(1, 2)::pair p")).rows == [{"p": {"a": 1, "b": 2}}]


async def test_a_renamed_label_is_a_gap_and_an_added_one_is_not(shop: Shop, recorder: Recorder) -> None:
    shop.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')", "CREATE TABLE moods(id int, mood mood)")
    async with opened(shop, recorder) as database:
        await database.changes.watch("moods")
        shop.execute("ALTER TYPE mood ADD VALUE 'bored' BEFORE 'glad'", "INSERT INTO moods VALUES (1, 'bored')")
        await recorder.until_changes(1)
        shop.execute("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "INSERT INTO moods VALUES (2, 'blue')")
        await recorder.until_interruptions(1)
        await recorder.until_changes(2)
        assert [change.data["mood"] for change in recorder.changes] == ["bored", "blue"]
        assert len(recorder.interruptions) == 1


@pytest.mark.parametrize(
    ("type", "others"),
    [
        ("integer", ["integer USING n * 10", "integer USING n * 10"]),
        ("numeric(6,3)", ["numeric(6,2)", "numeric(6,1)"]),
    ],
)
async def test_rewritten_rows_are_a_gap_and_rewritten_files_are_not(
    shop: Shop, recorder: Recorder, type: str, others: list[str]
) -> None:
    shop.execute(f"CREATE TABLE moods(id int, n {type})", "INSERT INTO moods VALUES (1, 2)")
    async with opened(shop, recorder) as database:
        await database.changes.watch("moods")
        since = database.changes.cursor("moods")
        shop.execute("VACUUM FULL moods", "ALTER TABLE moods ALTER COLUMN n SET DEFAULT 3")
        assert (await replay(database, "moods", since))[1][0].recovered
        shop.execute(f"ALTER TABLE moods ALTER COLUMN n TYPE {others[0]}")
        await recorder.until_interruptions(1)
        later = database.changes.cursor("moods")
    shop.execute("INSERT INTO moods VALUES (2, 2)", f"ALTER TABLE moods ALTER COLUMN n TYPE {others[1]}")
    async with opened(shop, Recorder()) as database:
        for cursor in (since, later):
            _, parts = await replay(database, "moods", cursor)
            assert not parts[0].recovered, "also rows rewritten while no server ran"


async def test_values_are_right_while_writers_and_alterations_overlap(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*PLACES)
    async with opened(shop, recorder, log_bytes=20_000) as database:
        await database.changes.watch("places")
        since = database.changes.cursor("places")
        writers = [asyncio.to_thread(write, shop, first) for first in (0, 1_000_000)]
        written = asyncio.gather(*writers)
        await caught_up(recorder, 20)
        changes = ("ADD ATTRIBUTE z int", "ADD ATTRIBUTE u int", "DROP ATTRIBUTE x", "DROP ATTRIBUTE z")
        for number, change in enumerate(changes, 1):
            await asyncio.to_thread(shop.execute, f"ALTER TYPE point2 {change}")
            await gap(recorder, number)
            await caught_up(recorder, len(recorder.changes) + 20)
        shop.execute("CREATE TABLE enough()")
        count = sum(await written)
        await recorder.until_changes(count)
        values = {"x": 1, "y": 2, "z": 3, "u": 4}
        expected = list(seen(recorder.changes).values())
        assert len(expected) == count
        # NULL, when the row was made just before the attribute was.
        wrong = [at for at in expected if any(at[name] not in (values[name], None) for name in at)]
        assert wrong == [], "each value by its name"
        assert {"".join(at) for at in expected} == {"xy", "xyz", "xyzu", "yzu", "yu"}
        again, _ = await replay(database, "places", since)
        assert again == recorder.changes[-len(again) :], "and a replay gives the same"


ANY_POINT = """SELECT json_populate_record(NULL::point2, '{"x": 1, "y": 2, "z": 3, "u": 4}') AS p"""


def write(shop: Shop, first: int) -> int:
    """Insert rows until there is a table `enough`, and return how many."""
    with psycopg.connect(shop.dsn(), autocommit=True) as connection:
        number = first
        while connection.execute("SELECT to_regclass('enough')").fetchone() == (None,):
            connection.execute(f"INSERT INTO places SELECT {number}, p, ARRAY[p] FROM ({ANY_POINT}) one".encode())
            number += 1
        return number - first
