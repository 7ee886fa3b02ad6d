"""How far the feed is behind PostgreSQL, and how much WAL is retained for it."""

from aerostack_realtime.database.base import DatabaseStatus
from aerostack_realtime.database.postgres.feed.wal_consumer import WalConsumer
from aerostack_realtime.database.postgres.wal.slot import Slot


async def read_status(slot: Slot, consumer: WalConsumer) -> DatabaseStatus:
    """See `Database.status`."""
    state = await slot.state()
    if state is None:
        return DatabaseStatus(f"The replication slot {slot.name} does not exist.", {})
    return DatabaseStatus(
        None if consumer.is_streaming else "The write-ahead log is not being received; the log has the reason.",
        {
            "change_feed_lag_bytes": float(max(0, state.wal_end - consumer.position.lsn)),
            "replication_slot_lag_bytes": float(state.wal_end - state.confirmed),
            "retained_wal_bytes": float(state.wal_end - state.restart),
        },
    )
