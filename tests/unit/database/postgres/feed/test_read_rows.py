"""Rows that are read many at once are those that come one by one."""

import random
from collections import deque

import pytest

from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.transactions import ROWS, ROWS_BYTES, Item, Transactions
from aerostack_realtime.database.postgres.types.types import Layout
from aerostack_realtime.database.postgres.types.values import text
from aerostack_realtime.database.postgres.wal.pgoutput import MalformedMessage
from aerostack_realtime.database.postgres.wal.stream import Keepalive, Received
from tests.unit.database.postgres.feed.test_transactions import Writer, begin, commit

START = Position(0, 0)
PLAIN = Writer()
ALTERABLE = Layout([("id", text)], composites=[0])


class Stream:
    """What a stream has brought, then nothing."""

    def __init__(self, messages: list[Received]) -> None:
        self._messages = deque(messages)

    def receive(self) -> Received:
        return self._messages.popleft() if self._messages else None


def in_runs(messages: list[Received], after: Position = START) -> list[Item]:
    """The items of messages that are read as the WAL consumer does, those up to `after` left out."""
    stream, transactions = Stream(messages), Transactions()
    found: list[Item] = []
    while True:
        entries: list[Entry] = []
        message, _ = transactions.read_rows(stream.receive, entries, after)
        found += entries
        if message is None:
            return found
        if not isinstance(message, Keepalive):
            found += transactions.feed(message)


def one_by_one(messages: list[Received]) -> list[Item]:
    transactions = Transactions()
    return [item for each in messages if isinstance(each, bytes | memoryview) for item in transactions.feed(each)]


def brief(items: list[Item]) -> list[object]:
    """Items as values: a described table is another object each time, and a size is an estimate."""
    return [
        (each.position, each.xid, each.timestamp, each.table.oid, each.operation, *each.values(), each.end)
        if isinstance(each, Entry)
        else each.oid
        if isinstance(each, LoggedTable)
        else each
        for each in items
    ]


def some_transactions(chance: random.Random) -> list[Received]:
    made: list[Received] = [begin(5, 1), PLAIN.relation(), PLAIN.relation(oid=8), commit(5)]
    for number in range(10, 40, 2):
        made.append(begin(number, number))
        for _ in range(chance.choice((0, 1, 2, 30))):
            some: list[Received] = [
                *[PLAIN.insert("a")] * 3,
                PLAIN.insert("é" * 300, oid=8),
                *[PLAIN.update("a", "b")] * 3,
                PLAIN.update(None, "b"),
                PLAIN.update("a", "b", b"K"),
                PLAIN.delete("b", b"K"),
                *[PLAIN.delete("b")] * 3,
                PLAIN.truncate(),
                PLAIN.logical(b"said"),
                PLAIN.relation(),
                Keepalive(number, reply=False),
                memoryview(PLAIN.insert("c")),
            ]
            made.append(chance.choice(some))
        made.append(commit(number))
    return made


@pytest.mark.parametrize("seed", range(20))
def test_runs_give_the_items_of_single_messages(seed: int) -> None:
    messages = some_transactions(random.Random(seed))
    assert brief(in_runs(messages)) == brief(one_by_one(messages))


def test_a_run_ends_after_its_number_of_rows_and_of_bytes() -> None:
    for row, most in ((PLAIN.insert("a"), ROWS), (PLAIN.insert("x" * 400_000), ROWS_BYTES // 400_000 + 1)):
        transactions = Transactions()
        for each in (begin(5, 1), PLAIN.relation()):
            list(transactions.feed(each))
        stream, entries = Stream([row] * (ROWS + 10)), list[Entry]()
        message, size = transactions.read_rows(stream.receive, entries, START)
        assert message == row, "the first message that does not belong to the run"
        assert len(entries) == most - 1, "the last row is held back until it is known whether it is the last"
        assert size > len(row) * most


def test_a_run_counts_the_rows_that_wait_from_the_transaction_before() -> None:
    transactions, entries = Transactions(), list[Entry]()
    for lsn, first in ((5, 4), (9, 20)):
        for each in (begin(lsn, 1), PLAIN.relation()):
            list(transactions.feed(each))
        transactions.read_rows(Stream([PLAIN.insert("a")] * first).receive, entries, START, 7)
        entries += [each for each in transactions.feed(commit(lsn)) if isinstance(each, Entry)]
    assert len(entries) == 7


def test_rows_that_were_handed_on_before_are_left_to_the_careful_way() -> None:
    rows = [PLAIN.insert(str(number)) for number in range(6)]
    transactions = Transactions()
    for each in (begin(5, 1), PLAIN.relation()):
        list(transactions.feed(each))
    stream, entries = Stream([*rows]), list[Entry]()
    seen = Position(5, 3)
    for _ in range(4):
        message, size = transactions.read_rows(stream.receive, entries, seen)
        assert (entries, size) == ([], 0)
        assert isinstance(message, bytes)
        list(transactions.feed(message))
    assert transactions.read_rows(stream.receive, entries, seen)[0] is None
    assert [each.position for each in entries] == [Position(5, 4), Position(5, 5)]


def test_rows_of_types_that_can_be_altered_are_left_to_the_careful_way() -> None:
    transactions = Transactions()
    list(transactions.feed(begin(5, 1)))
    [table] = transactions.feed(PLAIN.relation())
    assert isinstance(table, LoggedTable)
    table.layout = ALTERABLE
    entries = list[Entry]()
    row = PLAIN.insert("a")
    assert transactions.read_rows(Stream([row]).receive, entries, START) == (row, 0)
    list(transactions.feed(row))
    table.layout = Layout([("id", text)])
    assert transactions.read_rows(Stream([row, row]).receive, entries, START)[0] is None
    assert len(entries) == 2


@pytest.mark.parametrize("damage", [b"", b"I", b"U", b"?", b"I" + PLAIN.update("a", "b")[1:]])
def test_a_malformed_message_is_reported_after_the_rows_before_it(damage: bytes) -> None:
    transactions, entries = Transactions(), list[Entry]()
    for each in (begin(5, 1), PLAIN.relation()):
        list(transactions.feed(each))
    stream = Stream([PLAIN.insert("a"), PLAIN.insert("b"), damage])
    message, _ = transactions.read_rows(stream.receive, entries, START)
    assert message == damage
    assert [each.values() for each in entries] == [((b"a",), None)]
    with pytest.raises(MalformedMessage):
        transactions.feed(damage)
