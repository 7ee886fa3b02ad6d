"""Large transactions that PostgreSQL streams while they are under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from aerostack_realtime.database.postgres.connection.address import parameters
from aerostack_realtime.database.postgres.wal.pgoutput import (
    Commit,
    Decoder,
    Insert,
    Message,
    Relation,
    StreamAbort,
    StreamCommit,
    StreamStart,
    StreamStop,
)
from tests.contract.postgres.published import Log, Make


class Replication:
    """What a walsender sends, also of transactions in progress where it can (from version 14 on)."""

    def __init__(self, log: Log) -> None:
        options = "proto_version '2', streaming 'on'" if log.streams else "proto_version '1'"
        dsn = make_conninfo(log.dsn, options="-c logical_decoding_work_mem=64kB", replication="database")
        self._connection = pq.PGconn.connect(make_conninfo(**parameters(dsn)).encode())
        assert self._connection.status == pq.ConnStatus.OK, self._connection.error_message
        command = f"START_REPLICATION SLOT s LOGICAL 0/0 ({options}, publication_names 'p')"
        result = self._connection.exec_(command.encode())
        assert result.status == pq.ExecStatus.COPY_BOTH, result.error_message
        self._decode = Decoder().decode

    def close(self) -> None:
        self._connection.finish()

    def until(self, last: Callable[[Message], bool]) -> list[Message]:
        """Wait for messages up to one, as long as the test may last."""
        found: list[Message] = []
        while not (found and last(found[-1])):
            length, data = self._connection.get_copy_data(0)
            assert length > 0, self._connection.error_message
            if data[0] == ord("w"):
                found.append(self._decode(data[25:]))
        return found


Live = Callable[[Log], Replication]


@pytest.fixture
def live(log: Make) -> Iterator[Live]:
    made: list[Replication] = []

    def make(log: Log) -> Replication:
        made.append(Replication(log))
        return made[-1]

    yield make
    for each in made:
        each.close()


def committed(messages: list[Message]) -> list[int]:
    """The first column of the inserts that hold, in the order of the commits."""
    found: list[int] = []
    pieces: dict[int, list[Insert]] = {}
    streamed = 0
    for each in messages:
        match each:
            case StreamStart(xid):
                streamed = xid
                pieces.setdefault(xid, [])
            case StreamStop():
                streamed = 0
            case Insert() if streamed:
                pieces[streamed].append(each)
            case StreamAbort(xid, subxid):
                pieces[xid] = [] if xid == subxid else [part for part in pieces[xid] if part.xid != subxid]
            case StreamCommit(xid):
                found += [int(part.new[0]) for part in pieces.pop(xid)]  # type: ignore[arg-type]
            case Insert():
                found.append(int(each.new[0]))  # type: ignore[arg-type]
            case _:
                pass  # not an insert
    return found


def ends(message: Message) -> bool:
    return isinstance(message, Commit | StreamCommit)


def test_a_large_transaction_comes_in_pieces(log: Make) -> None:
    orders = log("CREATE TABLE orders(id int)")
    with orders.connection.transaction():
        orders.execute("INSERT INTO orders SELECT generate_series(1, 5000)")
        xid = int(orders.one("SELECT txid_current()"))
    if orders.streams:
        messages = orders.read(2, streaming="on")
        last = messages[-1]
        assert messages[0] == StreamStart(xid, True)
        assert messages.count(StreamStart(xid, False)) > 2
        assert {each.xid for each in messages if isinstance(each, Relation | Insert)} == {xid}
        assert isinstance(last, StreamCommit)
        assert last.xid == xid
        assert last.commit_lsn < last.end_lsn <= orders.one("SELECT (pg_current_wal_lsn() - '0/0')::int8")
    else:
        with pytest.raises(psycopg.Error, match="proto_version=2"):
            orders.read(2)
        messages = orders.read()
    assert committed(messages) == list(range(1, 5001))


def test_a_rolled_back_streamed_savepoint_is_discarded(log: Make, live: Live) -> None:
    orders = log("CREATE TABLE orders(id int)")
    stream = live(orders)
    orders.execute("BEGIN", "INSERT INTO orders SELECT generate_series(1, 2000)", "SAVEPOINT a")
    orders.execute("INSERT INTO orders SELECT -generate_series(1, 2000)")
    xid = int(orders.one("SELECT txid_current()"))
    messages: list[Message] = []
    inner = set[int]()
    while orders.streams and not inner:
        messages += stream.until(lambda message: isinstance(message, StreamStop))
        inner = {each.xid for each in messages if isinstance(each, Insert)} - {xid}
    orders.execute("ROLLBACK TO a", "INSERT INTO orders VALUES (2001)", "COMMIT")
    messages += stream.until(ends)
    if orders.streams:
        assert [each for each in messages if isinstance(each, StreamAbort)] == [StreamAbort(xid, *inner)]
        assert isinstance(messages[-1], StreamCommit)
    assert committed(messages) == list(range(1, 2002))


def test_a_rolled_back_streamed_transaction_is_discarded(log: Make, live: Live) -> None:
    orders = log("CREATE TABLE orders(id int)")
    stream = live(orders)
    orders.execute("BEGIN", "INSERT INTO orders SELECT -generate_series(1, 2000)")
    xid = int(orders.one("SELECT txid_current()"))
    messages: list[Message] = []
    if orders.streams:
        messages += stream.until(lambda message: isinstance(message, StreamStop))
        assert messages[0] == StreamStart(xid, True)
    orders.execute("ROLLBACK", "INSERT INTO orders VALUES (1)")
    messages += stream.until(ends)
    assert [each for each in messages if isinstance(each, StreamAbort)] == [StreamAbort(xid, xid)] * orders.streams
    assert committed(messages) == [1]
