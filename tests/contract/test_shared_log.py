"""What clients that resume share, on the log of every backend: it is what each of them alone would get."""

import asyncio

from aerostack_realtime.channels.shared_log import Section, SharedLog
from aerostack_realtime.database.base import Change, Database
from tests.contract.conftest import PATIENCE, Recorder, replay

ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT)"


async def shared_after(shared: SharedLog, since: str) -> tuple[list[Change], bool]:
    """What follows a cursor, in as many steps as it takes, and whether nothing is missing."""
    changes: list[Change] = []
    recovered, is_end = True, False
    while not is_end:
        answer: asyncio.Future[Section] = asyncio.get_running_loop().create_future()
        shared.read("orders", since, answer.set_result, answer.set_exception)
        async with asyncio.timeout(PATIENCE):
            section = await answer
        changes += section.part.changes[section.first :]
        recovered = recovered and section.recovered
        is_end, since = section.part.is_end, section.part.cursor
    return changes, recovered


async def test_each_client_gets_what_it_alone_would_get(database: Database, recorder: Recorder) -> None:
    await database.query(ORDERS)
    await database.changes.watch("orders")
    shared, start = SharedLog(database.changes), database.changes.cursor("orders")
    for first in range(1, 8, 3):
        await database.query(f"INSERT INTO orders VALUES({first}, 'a'), ({first + 1}, 'b'), ({first + 2}, 'c')")
        await recorder.until_changes(first + 2)
        shared.changed("orders")  # as the hub says with every delivery
        for since in (start, *(change.cursor for change in recorder.changes), "nonsense"):
            changes, parts = await replay(database, "orders", since)
            assert await shared_after(shared, since) == (changes, parts[0].recovered)
        assert shared.to_the_end("orders", start) is not None, "it is read already"
    await database.query("UPDATE orders SET state = 'd' WHERE id < 3")
    await recorder.until_changes(11)
    shared.changed("orders")
    changes, recovered = await shared_after(shared, recorder.changes[0].cursor)
    assert ([change.cursor for change in changes], recovered) == (
        [change.cursor for change in recorder.changes[1:]],
        True,
    ), "with the cursors that live clients have"
