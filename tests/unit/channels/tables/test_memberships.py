"""Live memberships, over a real database: who is admitted, and who is evicted as soon as a row is deleted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerostack_realtime.access.verdicts import Membership
from aerostack_realtime.channels.tables.memberships import Memberships
from aerostack_realtime.database.base import Change, Database
from aerostack_realtime.database.sqlite import SqliteDatabase
from aerostack_realtime.protocol.errors import NotFound, Unavailable

PATIENCE = 60.0
"""Seconds after which what a test waits for is not going to come."""
COLUMNS = ("room_id", "user_id")
TABLE = "CREATE TABLE room_members(room_id TEXT, user_id TEXT, note TEXT)"


def member(room: str, user: str) -> Membership:
    return Membership("room_members", COLUMNS, (room, user))


class Feed:
    """The change feed's listener: hands on what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self.memberships: Memberships | None = None
        self.heard = 0
        self._event = asyncio.Event()

    def changed(self, changes: Sequence[Change]) -> None:
        if self.memberships is not None:
            self.memberships.changed(changes)
        self.heard += len(changes)
        self._event.set()

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        if self.memberships is not None:
            self.memberships.interrupted(table, cursor, present)
        self._event.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.heard < count:
                self._event.clear()
                await self._event.wait()


class Held:
    """A connection that records its evictions."""

    def __init__(self) -> None:
        self.evicted: list[str] = []
        self.event = asyncio.Event()

    def evict(self, topic: str) -> None:
        self.evicted.append(topic)
        self.event.set()


@asynccontextmanager
async def followed(path: Path) -> AsyncIterator[tuple[Database, Memberships, Feed]]:
    feed = Feed()
    database = await SqliteDatabase.open(path / f"{uuid4()}.db", feed)
    try:
        await database.query(TABLE)
        feed.memberships = Memberships([("room_members", COLUMNS)], database)
        yield database, feed.memberships, feed
    finally:
        await database.close()


async def settled(database: Database, memberships: Memberships) -> None:
    """Everything written until now has arrived: a last row has come and gone."""
    await memberships.load()
    last = Held()
    memberships.hold(member("last", "one"), last, "")
    await database.query("INSERT INTO room_members VALUES('last', 'one', '')")
    await database.query("DELETE FROM room_members WHERE room_id = 'last'")
    await asyncio.wait_for(last.event.wait(), PATIENCE)


async def test_nobody_is_let_in_before_the_table_is_read(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, _):
        await database.query("INSERT INTO room_members VALUES('1', 'ann', '')")
        with pytest.raises(Unavailable):
            memberships.holds(member("1", "ann"))
        await memberships.load()
        assert memberships.holds(member("1", "ann"))
        assert not memberships.holds(member("1", "bob"))


async def test_a_row_that_comes_lets_in_and_one_that_goes_puts_out(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, feed):
        await memberships.load()
        await database.query("INSERT INTO room_members VALUES('1', 'ann', ''), ('2', 'ann', '')")
        await feed.until(2)
        ann = Held()
        for room in ("1", "2"):
            assert memberships.holds(member(room, "ann"))
            memberships.hold(member(room, "ann"), ann, f"rooms/{room}")
        await database.query("DELETE FROM room_members WHERE room_id = '1'")
        await feed.until(3)
        assert ann.evicted == ["rooms/1"]
        assert not memberships.holds(member("1", "ann"))
        assert memberships.holds(member("2", "ann"))


async def test_a_holder_that_left_is_not_evicted(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, feed):
        await memberships.load()
        await database.query("INSERT INTO room_members VALUES('1', 'ann', '')")
        await feed.until(1)
        ann = Held()
        memberships.hold(member("1", "ann"), ann, "rooms/1")
        memberships.release(member("1", "ann"), ann, "rooms/1")
        await database.query("DELETE FROM room_members")
        await feed.until(2)
        assert ann.evicted == []


async def test_a_membership_that_is_there_twice_goes_with_its_last_row(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, feed):
        await memberships.load()
        await database.query("INSERT INTO room_members VALUES('1', 'ann', 'a'), ('1', 'ann', 'b')")
        await feed.until(2)
        ann = Held()
        memberships.hold(member("1", "ann"), ann, "rooms/1")
        await database.query("DELETE FROM room_members WHERE note = 'a'")
        await feed.until(3)
        assert ann.evicted == []
        await database.query("DELETE FROM room_members WHERE note = 'b'")
        await feed.until(4)
        assert ann.evicted == ["rooms/1"]


async def test_an_update_moves_a_membership_and_one_beside_it_does_not(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, feed):
        await memberships.load()
        await database.query("INSERT INTO room_members VALUES('1', 'ann', '')")
        await database.query("UPDATE room_members SET note = 'x'")
        await feed.until(2)
        ann = Held()
        memberships.hold(member("1", "ann"), ann, "rooms/1")
        await database.batch(
            [("DELETE FROM room_members", []), ("INSERT INTO room_members VALUES('1', 'ann', 'again')", [])]
        )
        await feed.until(4)
        assert memberships.holds(member("1", "ann"))
        await database.query("UPDATE room_members SET user_id = 'bob'")
        await feed.until(5)
        assert ann.evicted[-1:] == ["rooms/1"]
        assert memberships.holds(member("1", "bob"))


async def test_a_bulk_delete_puts_out_everyone_it_concerns(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, feed):
        await memberships.load()
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        await database.query(f"INSERT INTO room_members {numbers} SELECT i % 2, 'u' || i, '' FROM n")
        await feed.until(2000)
        held = {number: Held() for number in range(1, 2001)}
        for number, each in held.items():
            memberships.hold(member(str(number % 2), f"u{number}"), each, "rooms/x")
        await database.query("DELETE FROM room_members WHERE room_id = '0'")
        await feed.until(3000)
        assert {number for number, each in held.items() if each.evicted} == set(range(2, 2001, 2))


async def test_a_dropped_table_evicts_everyone_until_it_is_read_again(
    tmp_path: Path,
) -> None:
    async with followed(tmp_path) as (database, memberships, feed):
        await memberships.load()
        keeper = asyncio.create_task(memberships.keep())
        await database.query("INSERT INTO room_members VALUES('1', 'ann', '')")
        await feed.until(1)
        ann = Held()
        memberships.hold(member("1", "ann"), ann, "rooms/1")
        await database.query("DROP TABLE room_members")
        await asyncio.wait_for(ann.event.wait(), PATIENCE)
        with pytest.raises(Unavailable):
            memberships.holds(member("1", "ann"))
        await database.query(TABLE)
        await database.query("INSERT INTO room_members VALUES('1', 'bob', '')")
        keeper.cancel()
        await settled(database, memberships)
        assert memberships.holds(member("1", "bob"))
        assert not memberships.holds(member("1", "ann"))


async def test_an_interruption_admits_nobody_and_evicts_former_members(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, feed):
        await database.query("INSERT INTO room_members VALUES('1', 'ann', ''), ('1', 'bob', '')")
        await memberships.load()
        ann, bob = Held(), Held()
        memberships.hold(member("1", "ann"), ann, "rooms/1")
        memberships.hold(member("1", "bob"), bob, "rooms/1")
        feed.memberships = None  # what happens now is not reported, as when a database is restored from a backup
        heard = feed.heard
        await database.query("DELETE FROM room_members WHERE user_id = 'ann'")
        await feed.until(heard + 1)
        feed.memberships = memberships
        memberships.interrupted("room_members", "", present=True)
        with pytest.raises(Unavailable):
            memberships.holds(member("1", "bob"))
        await memberships.load()
        assert (ann.evicted, bob.evicted) == (["rooms/1"], [])
        assert memberships.holds(member("1", "bob"))


async def test_a_table_that_is_not_there_is_an_error_and_lets_nobody_in(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, _):
        await database.query("DROP TABLE room_members")
        with pytest.raises(NotFound):
            await memberships.load()
        with pytest.raises(Unavailable):
            memberships.holds(member("1", "ann"))


async def test_numbers_in_a_column_meet_the_words_of_a_topic(tmp_path: Path) -> None:
    async with followed(tmp_path) as (database, memberships, _):
        await database.query("DROP TABLE room_members")
        await database.query("CREATE TABLE room_members(room_id INTEGER, user_id)")
        await database.query("INSERT INTO room_members VALUES(7, 'ann'), (8, NULL)")
        await memberships.load()
        assert memberships.holds(member("7", "ann"))
        assert not memberships.holds(member("8", ""))
        assert not memberships.holds(member("8", "None"))


steps = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "move", "interrupt"]), st.integers(0, 2), st.integers(0, 2)),
    max_size=12,
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
async def test_any_history_read_at_any_moment_leads_to_the_rows_that_are_there(
    tmp_path: Path, history: list[tuple[str, int, int]]
) -> None:
    """Writes continue while the table is read, and the feed is interrupted in the midst of it."""
    async with followed(tmp_path) as (database, memberships, _):
        loading = asyncio.create_task(memberships.load())
        for what, one, two in history:
            if what == "insert":
                await database.query("INSERT INTO room_members VALUES(?, ?, '')", [one, two])
            elif what == "delete":
                await database.query("DELETE FROM room_members WHERE room_id = ? AND user_id = ?", [one, two])
            elif what == "move":
                await database.query("UPDATE room_members SET user_id = ? WHERE user_id = ?", [one, two])
            else:
                memberships.interrupted("room_members", "", present=True)
        result = await database.query("SELECT room_id, user_id FROM room_members")
        await loading
        await settled(database, memberships)
        there = {(str(row["room_id"]), str(row["user_id"])) for row in result.rows}
        rooms = [(str(one), str(two)) for one in range(3) for two in range(3)]
        assert {each for each in rooms if memberships.holds(member(*each))} == there
