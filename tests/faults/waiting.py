"""What the processes of a stuck run do: whether they lack CPU, or wait for one another."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg

from tests.faults.postgres import children

SESSIONS: Final = """
    SELECT pid, state, wait_event_type, wait_event, pg_blocking_pids(pid) AS blocked_by,
           round(extract(epoch FROM clock_timestamp() - state_change)) AS seconds, left(query, 100) AS query
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY state_change
"""
TICKS: Final = os.sysconf("SC_CLK_TCK")


def processes(pids: Iterable[int]) -> Iterator[str]:
    """A line for each process and its descendants: its state (R: ready or running, S: it waits, T: stopped), the
    CPU it has used, and how long it was ready while others ran."""
    for pid in pids:
        with suppress(OSError):
            head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            fields = rest.split()
            used = (int(fields[11]) + int(fields[12])) / TICKS
            ready = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
            name = head.partition("(")[2]
            yield f"process {pid} {name}: {fields[0]}, {used:.1f} s of CPU, {ready:.1f} s ready without a CPU"
            yield from processes(children(pid))


def sessions(dsn: str) -> Iterator[str]:
    """A line for each client of PostgreSQL, the one that has not changed its state for longest first."""
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            for row in connection.execute(SESSIONS).fetchall():
                pid, state, kind, event, blockers, seconds, query = row
                waits = f"waits for {kind}/{event}, blocked by {blockers}"
                yield f"PostgreSQL {pid}: {state} for {seconds} s, {waits}: {query}"
    except psycopg.Error as error:
        yield f"PostgreSQL: {error}"


def report(pids: Iterable[int], dsn: str | None) -> str:
    """What the machine, these processes and the clients of PostgreSQL do now."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return "\n".join([f"load {load}", *processes(pids), *(sessions(dsn) if dsn else ())])
