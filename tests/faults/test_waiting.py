"""The report of a stuck run names what each process does, and who blocks whom in PostgreSQL."""

import os
import signal
import subprocess

import psycopg

from tests.faults.waiting import report
from tests.postgres import PostgresServer, psql


def test_a_stopped_process_is_reported_as_stopped() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            assert f"process {process.pid} sleep: T" in report([os.getpid()], None)
        finally:
            process.kill()


def test_the_session_that_blocks_another_is_reported(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.dsn()
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT pg_advisory_lock(2202)")
        with subprocess.Popen([psql(), "-X", "-c", "SELECT pg_advisory_lock(2202)", dsn]) as waiting:
            try:
                while f"blocked by [{holder.info.backend_pid}]" not in report([waiting.pid], dsn):
                    assert waiting.poll() is None, "it waits for the lock"
            finally:
                waiting.kill()
