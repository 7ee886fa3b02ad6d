"""Hints about writes: which files count, and when the next look for a commit is due."""

import os
import resource
import select
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from aerostack_realtime.database.sqlite.file_events import (
    FOUND_SECONDS,
    PENDING_SECONDS,
    POLL_SECONDS,
    QUIET_POLL_SECONDS,
    QUIET_SECONDS,
    SAFETY_SECONDS,
    SHORTEST_SECONDS,
    FileEvents,
    Pace,
    WatchfulInbox,
    readiness,
)
from aerostack_realtime.database.sqlite.inotify import InotifyEvents
from aerostack_realtime.database.sqlite.kqueue import KqueueEvents
from tests import kqueue


def looks_until(pace: Pace, now: float, end: float) -> list[float]:
    """The times of the looks between two moments when none of them finds anything."""
    times = []
    while (now := now + pace.timeout(now)) < end:
        times.append(now)
        pace.looked(now, committed=False, changed=False)
    return times


def test_without_events_the_pace_is_that_of_polling() -> None:
    pace = Pace(trusted=False, now=0.0)
    assert pace.timeout(1.0) == POLL_SECONDS
    assert pace.timeout(1.0 + QUIET_SECONDS) == QUIET_POLL_SECONDS


def test_an_idle_database_is_looked_at_a_few_times_a_second() -> None:
    assert len(looks_until(Pace(trusted=True, now=0.0), 10.0, 20.0)) == pytest.approx(10 / SAFETY_SECONDS, abs=1)


def test_looks_follow_an_event_at_once_and_then_ever_more_slowly() -> None:
    pace = Pace(trusted=True, now=0.0)
    pace.event(10.0)
    times = looks_until(pace, 10.0, 20.0)
    assert times[0] == pytest.approx(10.0 + SHORTEST_SECONDS)
    slow_fsync = 10.030
    noticed = next(time for time in times if time >= slow_fsync)
    assert noticed - slow_fsync < 0.004
    assert len([time for time in times if time < 10.0 + PENDING_SECONDS]) < 250


def test_looks_end_soon_after_the_commit_was_found() -> None:
    pace = Pace(trusted=True, now=0.0)
    pace.event(10.0)
    pace.looked(10.001, committed=True, changed=True)
    assert pace.timeout(10.002) < 0.001, "the same event may have announced another commit"
    assert pace.timeout(10.001 + FOUND_SECONDS) == SAFETY_SECONDS


def test_commits_without_changes_slow_the_pace_to_that_of_polling() -> None:
    pace = Pace(trusted=True, now=0.0)
    for number in range(20):
        pace.event(10.0 + number)
        pace.looked(10.0 + number, committed=True, changed=False)
    assert pace.timeout(29.0) == POLL_SECONDS
    pace.looked(29.0, committed=True, changed=True)
    assert pace.timeout(29.0) == SHORTEST_SECONDS


def test_a_commit_without_an_event_ends_the_trust_in_events() -> None:
    pace = Pace(trusted=True, now=0.0)
    pace.event(10.0)
    pace.looked(10.5, committed=True, changed=True)
    assert pace.timeout(11.5) == SAFETY_SECONDS, "a slow fsync is not a missing event"
    pace.looked(20.0, committed=True, changed=True)
    assert pace.timeout(20.0) == POLL_SECONDS


Opening = Callable[[Path], AbstractContextManager[FileEvents]]


def open_kqueue(path: Path) -> FileEvents:
    return KqueueEvents(path, kqueue)


@pytest.fixture(params=[InotifyEvents, open_kqueue], ids=["inotify", "kqueue"])
def opening(request: pytest.FixtureRequest) -> Opening:
    return lambda path: closing(request.param(path))


def is_readable(events: FileEvents) -> bool:
    return bool(select.select([events.fileno()], (), (), 0)[0])


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_files_of_the_database_are_events_and_others_are_not(
    tmp_path: Path, opening: Opening, suffix: str
) -> None:
    (tmp_path / "shop.db-wal").write_bytes(b"x")
    with opening(tmp_path / "shop.db") as events:
        (tmp_path / "other.db-wal").write_bytes(b"x")
        (tmp_path / "shop.db-mark").write_bytes(b"x")
        assert not events.read()
        (tmp_path / f"shop.db{suffix}").write_bytes(b"x")
        assert events.read()
        assert not is_readable(events)
        with (tmp_path / f"shop.db{suffix}").open("ab") as file:
            file.write(b"more")
        assert events.read()
        (tmp_path / f"shop.db{suffix}").unlink()
        assert events.read()


def test_a_replaced_wal_is_watched(tmp_path: Path, opening: Opening) -> None:
    wal = tmp_path / "shop.db-wal"
    wal.write_bytes(b"x")
    with opening(tmp_path / "shop.db") as events:
        for _ in range(3):
            wal.unlink()
            wal.write_bytes(b"y")
            assert events.read()
            with wal.open("r+b") as file:
                file.write(b"z")
            assert events.read()
            (tmp_path / "new").write_bytes(b"x")
            (tmp_path / "new").replace(wal)
            assert events.read()


@pytest.mark.parametrize("shorten", [lambda file: file.truncate(0), lambda file: file.write(bytes(28))])
def test_a_journal_that_is_kept_is_an_event(
    tmp_path: Path, opening: Opening, shorten: Callable[[BinaryIO], object]
) -> None:
    journal = tmp_path / "shop.db-journal"
    journal.write_bytes(b"x" * 1000)
    with opening(tmp_path / "shop.db") as events, journal.open("r+b") as file:
        shorten(file)
        file.flush()
        assert events.read()


def test_a_journal_that_came_and_went_is_an_event(tmp_path: Path, opening: Opening) -> None:
    with opening(tmp_path / "shop.db") as events:
        (tmp_path / "shop.db-journal").write_bytes(b"x")
        (tmp_path / "shop.db-journal").unlink()
        assert events.read()


def test_files_are_found_through_a_link_to_the_database(tmp_path: Path, opening: Opening) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "current.db").symlink_to(tmp_path / "data" / "shop.db")
    with opening(tmp_path / "current.db") as events:
        (tmp_path / "data" / "shop.db-wal").write_bytes(b"x")
        assert events.read()


def descriptors(tmp_path: Path) -> list[str]:
    """What this process has open of the directory, and its inotify instances."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing itself
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(link for link in found if link.startswith(str(tmp_path)) or "inotify" in link)


def test_the_descriptors_of_events_are_closed(tmp_path: Path, opening: Opening) -> None:
    before = descriptors(tmp_path)
    with opening(tmp_path / "shop.db") as events:
        (tmp_path / "shop.db-wal").write_bytes(b"x")
        events.read()
        assert descriptors(tmp_path) != before
    with pytest.raises(FileNotFoundError):
        opening(tmp_path / "missing" / "shop.db")
    assert descriptors(tmp_path) == before


def test_kqueue_opens_no_file_that_sqlite_locks(tmp_path: Path) -> None:
    for suffix in ("", "-shm", "-wal", "-journal"):
        (tmp_path / f"shop.db{suffix}").write_bytes(b"x")
    with closing(KqueueEvents(tmp_path / "shop.db", kqueue)):
        opened = {Path(link).name for link in descriptors(tmp_path) if link.startswith(str(tmp_path))}
    assert opened == {tmp_path.name, "shop.db-wal", "shop.db-journal"}


def test_a_write_by_another_process_ends_the_wait(tmp_path: Path) -> None:
    inbox: WatchfulInbox[str] = WatchfulInbox(tmp_path / "shop.db")
    writer = subprocess.Popen(["sh", "-c", f"read go; echo x > {tmp_path}/shop.db"], stdin=subprocess.PIPE)
    assert writer.stdin is not None
    writer.stdin.write(b"go\n")
    writer.stdin.close()
    assert inbox.take(timeout=30.0) == []
    assert inbox.written
    assert writer.wait() == 0
    inbox.dispose()


def test_an_inbox_hands_over_items_and_can_be_roused(tmp_path: Path) -> None:
    inbox: WatchfulInbox[str] = WatchfulInbox(tmp_path / "shop.db")
    inbox.put("a")
    inbox.put("b")
    assert inbox.take(timeout=30.0, limit=1) == ["a"]
    assert inbox.take(timeout=0.0) == ["b"]
    inbox.rouse()
    assert inbox.take(timeout=30.0) == []
    assert not inbox.written
    inbox.close()
    assert inbox.take(timeout=30.0) == []
    assert not inbox.put("c")
    inbox.dispose()
    inbox.rouse()


def test_a_directory_that_cannot_be_watched_has_no_events(tmp_path: Path) -> None:
    inbox: WatchfulInbox[str] = WatchfulInbox(tmp_path / "missing" / "shop.db")
    assert not inbox.has_events
    inbox.put("a")
    assert inbox.take(timeout=30.0) == ["a"]
    inbox.dispose()


def test_descriptors_beyond_those_of_select_are_waited_for() -> None:
    reading, writing = os.pipe()
    high = 2_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, high + 1), hard))
    os.dup2(reading, high)
    try:
        wait = readiness([high])
        assert list(wait(0.0)) == []
        os.write(writing, b"x")
        assert list(wait(30.0)) == [high]
    finally:
        for descriptor in (reading, writing, high):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
