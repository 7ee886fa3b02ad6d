"""Foreign commits in every journal mode: which ones the platform's file events announce, and that all arrive."""

import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from aerostack_realtime.database.sqlite import file_events
from aerostack_realtime.database.sqlite.file_events import FileEvents
from aerostack_realtime.database.sqlite.inotify import InotifyEvents
from aerostack_realtime.database.sqlite.kqueue import KqueueEvents
from tests import kqueue
from tests.contract.conftest import Recorder, SqliteBackend

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)"


def kqueue_events(path: Path) -> KqueueEvents:
    return KqueueEvents(path, kqueue)


@pytest.fixture(params=[InotifyEvents, kqueue_events], ids=["inotify", "kqueue"])
def opening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], FileEvents]:
    """The server's source of events, and a function that opens one more."""
    monkeypatch.setattr(file_events, "open_events", request.param)
    opening: Callable[[Path], FileEvents] = request.param
    return opening


@pytest.mark.usefixtures("opening")
@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_an_existing_database_keeps_its_journal_mode(
    backend: SqliteBackend, recorder: Recorder, mode: str
) -> None:
    backend.write(f"PRAGMA journal_mode={mode}", TABLE)
    async with backend.open(recorder) as database:
        assert (await database.query("PRAGMA journal_mode")).rows == [{"journal_mode": mode}]
        await database.changes.watch("t")
        for number in range(5):
            backend.write(f"INSERT INTO t VALUES({number}, 'shell')")
            await database.query("UPDATE t SET a = 'ours' WHERE id = ?", [number])
        changes = await recorder.until_changes(10)
        assert [change.data["id"] for change in changes] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "wal"])
async def test_each_foreign_commit_is_an_event(
    backend: SqliteBackend, recorder: Recorder, opening: Callable[[Path], FileEvents], mode: str
) -> None:
    setting = f"PRAGMA journal_mode={mode}"
    backend.write(setting, TABLE)
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        with closing(opening(backend.path)) as events:
            for number in range(5):
                backend.write(setting, f"INSERT INTO t VALUES({number}, 'shell')")
                assert events.read()
        await recorder.until_changes(5)


def nothing(_events: FileEvents) -> bool:
    return False


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "memory", "off", "wal"])
async def test_foreign_commits_arrive_where_no_file_events_do(
    backend: SqliteBackend, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(InotifyEvents, "read", nothing)
    setting = f"PRAGMA journal_mode={mode}"
    backend.write(setting, TABLE)
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        for number in range(3):
            backend.write(setting, f"INSERT INTO t VALUES({number}, 'shell')")
            await recorder.until_changes(number + 1)


@pytest.mark.parametrize("mode", ["memory", "off"])
async def test_commits_that_kqueue_does_not_report_arrive(
    backend: SqliteBackend, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(file_events, "open_events", kqueue_events)
    backend.write("PRAGMA journal_mode=delete", TABLE)
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        for number in range(3):
            backend.write(f"PRAGMA journal_mode={mode}", f"INSERT INTO t VALUES({number}, 'shell')")
            await recorder.until_changes(number + 1)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_events_leave_the_locks_of_sqlite_in_place(
    backend: SqliteBackend, opening: Callable[[Path], FileEvents], mode: str
) -> None:
    backend.write(f"PRAGMA journal_mode={mode}", TABLE)
    with closing(apsw.Connection(str(backend.path))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES(1, 'ours')")
        with closing(opening(backend.path)) as events:
            events.read()
        foreign = subprocess.run(["sqlite3", backend.path, "BEGIN IMMEDIATE"], capture_output=True, text=True)
        assert "database is locked" in foreign.stderr
        connection.execute("COMMIT")
