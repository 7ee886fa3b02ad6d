"""A database that is another one than it was a moment ago: restored from a backup while it is followed."""

from tests.contract.conftest import PostgresBackend, Recorder

CUT = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()"


async def test_a_restored_backup_is_told_once_and_not_at_every_connection_after_it(
    postgres_dsn: str, recorder: Recorder
) -> None:
    backend = PostgresBackend(postgres_dsn)
    backend.write("CREATE TABLE t(id int PRIMARY KEY)")
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        await database.messages.raise_high_water(1_000)
        backend.write("UPDATE aerostack.meta SET value = '900' WHERE key = 'high_water'", CUT)
        await recorder.until_interruptions(1)
        backend.write("INSERT INTO t VALUES(1)")
        await recorder.until_changes(1)
        assert await database.messages.high_water() == 1_000
        backend.write(CUT, "INSERT INTO t VALUES(2)")
        await recorder.until_changes(2)
    assert len(recorder.interruptions) == 1
