"""Backups of a PostgreSQL server, their restoration, and what that undoes.

A backup is what a snapshot of a disk is: all files at one moment, from which PostgreSQL recovers as after a crash.
Replication slots are in it, as the log was then. What a base backup restores has none: they are left out for that.
"""

import shutil
import signal
import subprocess
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tests.faults import decoded
from tests.faults.child import TOPICS
from tests.faults.journal import Journal
from tests.faults.plan import FaultKind
from tests.faults.postgres import Postgres

_MARK = "SELECT value::bigint FROM aerostack.meta WHERE key = 'high_water'"


class PostgresVault:
    """The newest backup, and the records of every restoration. See backup.py for SQLite's."""

    def __init__(self, place: Path, postgres: Postgres) -> None:
        self._place = place
        self._postgres = postgres
        self._backup = place / "backup"
        self._mark = 0
        self._epochs = Journal(place / "epochs")
        self._times = 0
        self._stopped = 0
        self._undone: list[tuple[str, str]] = []

    def prepare(self) -> None:
        """Keep the truth from now on."""
        with self._postgres.connected() as connection:
            decoded.make_slot(connection)

    def note_epochs(self) -> None:
        """Write down which runs the server has begun."""
        with self._postgres.connected() as connection:
            for (run,) in connection.execute("SELECT id FROM aerostack.epochs ORDER BY lsn").fetchall():
                self._epochs.add(run, self._times, self._stopped)

    def take(self) -> None:
        """Make a backup of the running server."""
        self.write_truth()
        shutil.rmtree(self._backup, ignore_errors=True)
        with self._postgres.frozen():
            _copy(self._postgres.server.data, self._backup)
        self._mark = self._postgres.ask(_MARK) or 0

    def aged(self) -> bool:
        """Whether the backup is older than the server's newest mark, by which it knows a restored one."""
        return self._mark < (self._postgres.ask(_MARK) or 0)

    def held(self) -> AbstractContextManager[None]:
        """Nobody has to wait: a restoration stops PostgreSQL."""
        return nullcontext()

    def restore(self, kind: FaultKind, *, running: bool) -> str:
        """Stop PostgreSQL, put the backup in the place of its files and start it. Gives the backup's last run.

        `running`: the server of the run is, too.
        """
        server = self._postgres.server
        how = signal.SIGQUIT if self._times % 2 else signal.SIGINT
        self._postgres.restart(how, alone=True)  # now nothing more is committed
        self.note_epochs()
        self.write_truth()
        server.stop()
        shutil.rmtree(server.data)
        _copy(self._backup, server.data)
        if kind == "restore without slots":
            for slot in (server.data / "pg_replslot").iterdir():
                shutil.rmtree(slot)
        server.start(alone=True)
        with self._postgres.connected() as connection:
            end = connection.execute("SELECT redo_lsn - '0/0' FROM pg_control_checkpoint()").fetchone()
            assert end is not None, "recovery ended with a checkpoint"
            Journal(self._place / f"kept.{self._times}").add(int(end[0]) << decoded.INDEX_BITS)
            self._times += 1
            self._stopped += not running
            decoded.forget(connection)
            newest = dict(
                connection.execute("SELECT topic, max(position) FROM aerostack.messages GROUP BY topic").fetchall()
            )
            run = connection.execute("SELECT id FROM aerostack.epochs ORDER BY lsn DESC LIMIT 1").fetchone()
        assert run is not None, "the server ran before the backup was made"
        self._undone = [
            (f"{run[0]}.{newest.get(f'{topic}/default', 0)}", f"{topic}/default") for topic in TOPICS.values()
        ]
        self._postgres.restart(signal.SIGINT)
        return str(run[0])

    def restored(self, cursor: str) -> None:
        """Record what the last restoration undid, now that the logs of custom channels continue at `cursor`."""
        self.note_epochs()
        journal = Journal(self._place / "restorations")
        for after, topic in self._undone:
            journal.add("U", after, cursor, topic)
        journal.close()

    def write_truth(self) -> None:
        """Add what was committed to the file of the time since the last restoration."""
        with self._postgres.connected() as connection, (self._place / f"truth.{self._times}").open("a") as file:
            for change in decoded.read(connection):
                file.write(" ".join("-" if value is None else str(value) for value in change) + "\n")

    def seam(self, begin: int, end: int) -> None:
        """Between these places of the log the subscribers receive a gap."""
        journal = Journal(self._place / f"seams.{self._times}")
        journal.add(begin << decoded.INDEX_BITS, end << decoded.INDEX_BITS)
        journal.close()


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
    (target / "postmaster.pid").unlink(missing_ok=True)
