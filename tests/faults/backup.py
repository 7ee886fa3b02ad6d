"""Backups of the database, their restoration, and what that undoes; and the table of truth, kept in files."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apsw

from aerostack_realtime.database.sqlite import changelog
from aerostack_realtime.database.sqlite.message_table import MESSAGES
from tests.faults.child import TOPICS
from tests.faults.journal import Journal
from tests.faults.plan import WRITERS, FaultKind
from tests.faults.writer import gate, gate_of

BUSY_SECONDS = 20.0


class Vault:
    """The newest backup, and the records of every restoration."""

    def __init__(self, place: Path, database: Path) -> None:
        self._place = place
        self._database = database
        self._backup = place / "backup.db"
        self._epochs = Journal(place / "epochs")
        self._times = 0
        self._stopped = 0

    def prepare(self) -> None:
        """Triggers keep the truth."""
        self.note_epochs()

    def note_epochs(self) -> None:
        """Write down which epoch the database is in: only a restoration changes it."""
        with opened(self._database) as connection:
            self._epochs.add(changelog.meta(connection, "epoch"), self._times, self._stopped)

    def take(self) -> None:
        """Make a backup of the running database."""
        self.write_truth()
        self._backup.unlink(missing_ok=True)
        with opened(self._database) as source, opened(self._backup, create=True) as copy:
            _copy(copy, source)
            copy.execute("PRAGMA journal_mode = WAL")

    def aged(self) -> bool:
        """Whether the backup is older than the server's newest mark, by which it knows a restored one."""
        with opened(self._backup) as copy, opened(self._database) as database:
            return changelog.high_water(copy) < changelog.high_water(database)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Between these nobody writes rows but the server."""
        with ExitStack() as gates:
            for writer in WRITERS:
                gates.enter_context(gate(gate_of(self._place, writer)))
            yield

    def restore(self, kind: FaultKind, *, running: bool) -> str:
        """Put the copy where the database is: as `cp` does ("restore in place"), as `mv` does, or as the shell's
        `.restore` when the server is `running`. Gives the copy's epoch.
        """
        self.write_truth()
        if running:
            with opened(self._backup) as source, opened(self._database) as database:
                _copy(database, source)
        else:
            self._stopped += 1
            self._replace(in_place=kind == "restore in place")
        self._forget_truth()
        return self._epoch()

    def _replace(self, *, in_place: bool) -> None:
        for suffix in ("-wal", "-shm"):
            self._database.with_name(self._database.name + suffix).unlink(missing_ok=True)
        if in_place:
            shutil.copyfile(self._backup, self._database)
        else:
            fresh = self._database.with_suffix(".restored")
            shutil.copyfile(self._backup, fresh)
            os.replace(fresh, self._database)

    def restored(self, cursor: str) -> None:
        """Record what the last restoration undid, now that the logs of custom channels continue at `cursor`."""
        self.note_epochs()
        before = self._epoch()
        with opened(self._backup) as copy:
            rows = copy.execute(f"SELECT topic, max(position) FROM {MESSAGES} GROUP BY topic").fetchall()
            newest = {str(topic): position for topic, position in rows}
        journal = Journal(self._place / "restorations")
        for topic in TOPICS.values():
            canonical = f"{topic}/default"
            journal.add("U", f"{before}.{newest.get(canonical, 0)}", cursor, canonical)
        journal.close()

    def write_truth(self) -> None:
        """Move the table of truth into the file of the time since the last restoration."""
        with opened(self._database) as connection:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute("SELECT seq, id, old_n, old_grp, new_n, new_grp FROM truth ORDER BY seq")
            with (self._place / f"truth.{self._times}").open("a") as file:
                for row in rows:
                    file.write(" ".join("-" if value is None else str(value) for value in row) + "\n")
            connection.execute("DELETE FROM truth; COMMIT")

    def _epoch(self) -> str:
        with opened(self._backup) as copy:
            return str(changelog.meta(copy, "epoch"))

    def _forget_truth(self) -> None:
        """What the backup has of it stands in the files already."""
        self._times += 1
        with opened(self._database) as connection:
            connection.execute("DELETE FROM truth")


@contextmanager
def opened(path: Path, *, create: bool = False) -> Iterator[apsw.Connection]:
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
    try:
        yield connection
    finally:
        connection.close(force=True)


def _copy(target: apsw.Connection, source: apsw.Connection) -> None:
    """All pages at once; a locked database is waited for."""
    until = time.monotonic() + BUSY_SECONDS
    with target.backup("main", source, "main") as backup:
        while True:
            try:
                backup.step(-1)
                return
            except (apsw.BusyError, apsw.LockedError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)
