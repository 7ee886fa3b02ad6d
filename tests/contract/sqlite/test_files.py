"""The file: journal modes, what cannot be opened, what is replaced while it is open, bulk and locks."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import Raw

from aerostack_realtime.database.base import Change, DatabaseUnusable
from aerostack_realtime.database.message_store import NewMessage, Stored
from aerostack_realtime.database.sqlite import SqliteDatabase
from aerostack_realtime.database.sqlite.reader import BATCH_ROWS
from aerostack_realtime.protocol.errors import AerostackError, Unavailable
from tests.contract.conftest import PATIENCE, Recorder, SqliteBackend, replay

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)"


@pytest.fixture
async def watched(backend: SqliteBackend, database: SqliteDatabase) -> SqliteDatabase:
    backend.write(TABLE)
    await database.changes.watch("t")
    return database


async def test_a_new_database_is_in_wal(database: SqliteDatabase) -> None:
    assert (await database.query("PRAGMA journal_mode")).rows == [{"journal_mode": "wal"}]


async def test_a_file_of_another_kind_is_named_with_what_to_do(backend: SqliteBackend, recorder: Recorder) -> None:
    backend.path.write_bytes(b"this is no database, it is a letter to my mother" * 100)
    with pytest.raises(DatabaseUnusable, match=r"user\.db is not a SQLite database"):
        await SqliteDatabase.open(backend.path, recorder)


async def test_a_corrupt_database_is_reported(backend: SqliteBackend, recorder: Recorder) -> None:
    backend.write("PRAGMA page_size=1024", TABLE)
    content = bytearray(backend.path.read_bytes())
    content[100:140] = b"\xff" * 40
    backend.path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=r"user\.db"):
        await SqliteDatabase.open(backend.path, recorder)


@pytest.mark.parametrize(("place", "says"), [(".", "directory"), ("missing/user.db", "create the directory")])
async def test_a_path_that_cannot_hold_a_database(
    tmp_path: Path, recorder: Recorder, place: str, says: str
) -> None:
    with pytest.raises(DatabaseUnusable, match=says):
        await SqliteDatabase.open(tmp_path / place, recorder)


async def test_a_locked_database_is_unavailable_until_it_is_released(
    backend: SqliteBackend, recorder: Recorder
) -> None:
    async with backend.open(recorder, busy_seconds=0.2) as database:
        await database.query(TABLE)
        with Lock(backend.path):
            with pytest.raises(Unavailable, match="locked"):
                await database.query("INSERT INTO t VALUES(1, 'x')")
            with pytest.raises(Unavailable, match="locked"):
                await database.changes.watch("t")
            outcomes: asyncio.Queue[Stored | AerostackError] = asyncio.Queue()
            database.messages.append(NewMessage("a/p", "1", "u", "e", Raw(b"1"), 1), outcomes.put_nowait)
            assert isinstance(await outcomes.get(), Unavailable)
            assert (await database.query("SELECT * FROM t")).rows == []
        await database.changes.watch("t")
        await database.query("INSERT INTO t VALUES(1, 'x')")
        await recorder.until_changes(1)


class Lock:
    """Another process in the midst of a write transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            ["sqlite3", self._path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("BEGIN IMMEDIATE;\nSELECT 'locked';\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "locked\n"

    def __exit__(self, *_: object) -> None:
        self._process.communicate("ROLLBACK;\n")


async def test_two_writers_at_once(watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder) -> None:
    other = asyncio.create_task(
        asyncio.to_thread(backend.write, *(f"INSERT INTO t VALUES({1000 + n}, 'shell')" for n in range(200)))
    )
    for number in range(200):
        await watched.query("INSERT INTO t VALUES(?, 'ours')", [number])
    await other
    changes = await recorder.until_changes(400)
    ids = [int(str(change.data["id"])) for change in changes]
    assert [number for number in ids if number < 1000] == list(range(200))
    assert [number for number in ids if number >= 1000] == list(range(1000, 1200))


async def test_a_file_moved_over_the_open_one(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder, tmp_path: Path
) -> None:
    epoch = watched.epoch
    cursor = watched.changes.cursor("t")
    other = SqliteBackend(tmp_path / "restored.db")
    other.write(TABLE, "INSERT INTO t VALUES(7, 'restored')")
    await watched.query("INSERT INTO t VALUES(1, 'lost')")
    await recorder.until_changes(1)
    os.replace(other.path, backend.path)
    ((table, _, present),) = await recorder.until_interruptions(1)
    assert (table, present) == ("t", True)
    assert watched.epoch != epoch
    assert (await watched.query("SELECT * FROM t")).rows == [{"id": 7, "a": "restored"}]
    _, parts = await replay(watched, "t", cursor)
    assert not parts[0].recovered
    backend.write("INSERT INTO t VALUES(8, 'shell')")
    await recorder.until_changes(2)
    outcomes: asyncio.Queue[Stored | AerostackError] = asyncio.Queue()
    watched.messages.append(NewMessage("a/p", "1", "u", "e", Raw(b"1"), 1), outcomes.put_nowait)
    assert isinstance(await outcomes.get(), Stored)
    assert backend.write("SELECT count(*) FROM _aerostack_messages", "PRAGMA integrity_check") == "1\nok\n"


async def test_a_backup_restored_into_the_open_file(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder, tmp_path: Path
) -> None:
    await watched.query("INSERT INTO t VALUES(1, 'kept')")
    backend.write(f".backup '{tmp_path / 'backup.db'}'\nSELECT 1")
    await watched.query("INSERT INTO t VALUES(2, 'lost')")
    await recorder.until_changes(2)
    epoch = watched.epoch
    cursor = watched.changes.cursor("t")
    backend.write(f".restore '{tmp_path / 'backup.db'}'\nSELECT 1")
    await recorder.until_interruptions(1)
    assert watched.epoch != epoch
    assert not (await replay(watched, "t", cursor))[1][0].recovered
    backend.write("INSERT INTO t VALUES(3, 'after')")
    await recorder.until(lambda: recorder.changes[-1].data["a"] == "after")


async def test_a_backup_restored_into_the_open_file_is_detected_after_writes(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder, tmp_path: Path
) -> None:
    backend.write(f".backup '{tmp_path / 'backup.db'}'\nSELECT 1")
    await watched.messages.raise_high_water(1_000)
    await watched.query("INSERT INTO t VALUES(1, 'lost')")
    await recorder.until_changes(1)
    cursor = watched.changes.cursor("t")
    copy = tmp_path / "restored.db"
    shutil.copy(tmp_path / "backup.db", copy)
    SqliteBackend(copy).write("INSERT INTO t VALUES(1, 'other'), (2, 'more')")
    backend.write(f".restore '{copy}'\nSELECT 1")
    await recorder.until_interruptions(1)
    assert not (await replay(watched, "t", cursor))[1][0].recovered
    async with asyncio.timeout(PATIENCE):
        while await watched.messages.high_water() < 1_000:
            pass


async def _refused_or_known(database: SqliteDatabase, epoch: str, call: Awaitable[object]) -> None:
    """A call after a backup was restored fails, unless the reader has seen the file change before."""
    with suppress(Unavailable):
        await call
        assert database.epoch != epoch


async def test_raising_the_mark_does_not_hide_a_restored_backup(
    backend: SqliteBackend, recorder: Recorder
) -> None:
    async with backend.open(recorder) as database:  # watches nothing, so that the reader seldom looks
        await database.messages.raise_high_water(1_000)
        epoch = database.epoch
        backend.write("UPDATE _aerostack_meta SET value = 900 WHERE key = 'high_water'")
        await _refused_or_known(database, epoch, database.messages.raise_high_water(1_100))
        async with asyncio.timeout(PATIENCE):
            while await database.messages.high_water() < 1_000:
                pass
        await database.messages.raise_high_water(1_100)
        assert await database.messages.high_water() == 1_100
        assert database.epoch != epoch


async def test_messages_of_a_restored_backup_are_not_served_as_complete(
    backend: SqliteBackend, recorder: Recorder
) -> None:
    async with backend.open(recorder) as database:
        await database.messages.raise_high_water(1_000)
        epoch = database.epoch
        backend.write("UPDATE _aerostack_meta SET value = 900 WHERE key = 'high_water'")
        await _refused_or_known(database, epoch, database.messages.after("chat/x", 0, 1_000, 10))


async def test_a_backup_copied_into_the_file_while_nobody_looked_is_known(
    backend: SqliteBackend, recorder: Recorder, tmp_path: Path
) -> None:
    backend.write(TABLE)
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        await database.query("INSERT INTO t VALUES(9, 'told')")
        await recorder.until_changes(1)
    shutil.copy(backend.path, tmp_path / "backup.db")
    async with backend.open(recorder) as database:
        await database.messages.raise_high_water(1_000)
        await database.query("INSERT INTO t VALUES(1, 'lost')")
        await recorder.until_changes(2)
        cursor = database.changes.cursor("t")
    shutil.copyfile(tmp_path / "backup.db", backend.path)
    backend.write("INSERT INTO t VALUES(1, 'other'), (2, 'more')")
    async with backend.open(recorder) as database:
        changes, parts = await replay(database, "t", cursor)
        assert (changes, parts[0].recovered) == ([], False), "a gap, and nothing twice"
        assert await database.messages.high_water() == 1_000
        epoch = database.epoch
    async with backend.open(recorder) as database:
        assert database.epoch == epoch, "once"


async def test_a_file_that_is_gone_and_put_back(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder, tmp_path: Path
) -> None:
    backend.write("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = tmp_path / "copy.db"
    shutil.copy(backend.path, copy)
    backend.path.unlink()
    ((table, _, present),) = await recorder.until_interruptions(1)
    assert (table, present) == ("t", False)
    with pytest.raises(Unavailable, match="gone"):
        await watched.query("SELECT 1")
    os.replace(copy, backend.path)
    await recorder.until_interruptions(2)
    assert recorder.interruptions[1][2]
    assert (await watched.query("SELECT * FROM t")).rows == []


async def test_a_copy_of_the_file_has_another_epoch(
    backend: SqliteBackend, recorder: Recorder, tmp_path: Path
) -> None:
    async with backend.open(recorder) as database:
        epoch = database.epoch
    copy = SqliteBackend(tmp_path / "copy.db")
    shutil.copy(backend.path, copy.path)
    async with copy.open(recorder) as database:
        assert database.epoch != epoch


async def test_a_cursor_in_the_pruned_part_of_the_log_is_a_gap(backend: SqliteBackend, recorder: Recorder) -> None:
    async with backend.open(recorder, log_max_changes=10, prune_seconds=0.01) as database:
        await database.query(TABLE)
        await database.changes.watch("t")
        since = database.changes.cursor("t")
        for number in range(30):
            await database.query("INSERT INTO t VALUES(?, 'x')", [number])
        changes = list(await recorder.until_changes(30))
        async with asyncio.timeout(PATIENCE):
            while [status.changes for status in await database.tables()] != [10]:
                pass
        replayed, parts = await replay(database, "t", since)
        assert (replayed, parts[0].recovered) == (changes[20:], False)
        replayed, parts = await replay(database, "t", changes[19].cursor)
        assert (replayed, parts[0].recovered) == (changes[20:], True)
    async with backend.open(recorder, log_max_age_seconds=-1, prune_seconds=0.01) as database:
        async with asyncio.timeout(PATIENCE):
            while [status.changes for status in await database.tables()] != [0]:
                pass
        replayed, parts = await replay(database, "t", changes[29].cursor)
        assert (replayed, parts[0].recovered) == ([], True)


class Counter(Recorder):
    """Counts instead of keeping."""

    count = 0
    largest = 0
    """Changes that were delivered in one step of the event loop."""

    def changed(self, changes: Sequence[Change]) -> None:
        self.count += len(changes)
        self.largest = max(self.largest, len(changes))
        self._heard.set()


async def test_a_bulk_write_keeps_the_loop_responsive(backend: SqliteBackend) -> None:
    """20,000 rows here; the million of the README is measured by bench/."""
    counter = Counter()
    async with backend.open(counter) as database:
        await database.query(TABLE)
        await database.changes.watch("t")
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
        writing = asyncio.create_task(
            asyncio.to_thread(backend.write, f"{rows} INSERT INTO t SELECT i, 'x' FROM n")
        )
        await counter.until(lambda: counter.count >= 20_000)
        await writing
        assert counter.count == 20_000
        assert counter.largest <= BATCH_ROWS


async def test_a_query_that_never_ends_is_ended_by_close(backend: SqliteBackend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        endless = asyncio.create_task(
            database.query(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
            )
        )
        await database.messages.high_water()
    with pytest.raises(Unavailable):
        await endless


async def test_a_closed_feed_answers_that_it_is_closing(backend: SqliteBackend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        feed = database.changes
    with pytest.raises(Unavailable, match="closing"):
        await feed.watch("t")


async def test_a_thread_that_dies_is_reported(backend: SqliteBackend, recorder: Recorder) -> None:
    class Broken(BaseException):
        pass

    def clock() -> int:
        raise Broken

    async with backend.open(recorder, now=clock) as database:
        database.messages.append(NewMessage("a/p", "1", "u", "e", Raw(b"1"), 1), lambda _: None)
        async with asyncio.timeout(PATIENCE):
            assert isinstance(await database.failed(), Broken)
