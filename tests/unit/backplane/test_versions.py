"""Nodes of two adjacent versions on one journal: each reads what the other writes."""

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from aerostack_realtime.backplane import items
from tests.unit.backplane import previous_items as previous
from tests.unit.channels.replica_journal import SECOND, Entry, Opening, SharedLog
from tests.unit.channels.replicas import TOPIC, Node, Replicas, events, presence

RECORDED = Path(__file__).parent / "journal_1.txt"
FIRST = 1_000 * SECOND
VALUES: dict[Any, Any] = {bytes: b'{"any":"data"}', str: "text", int: 7, bool: True}


def recorded() -> SharedLog:
    """The journal that two nodes of the previous version wrote."""
    log = SharedLog()
    log.start = FIRST
    log.openings = [Opening(FIRST, FIRST)]
    for line in RECORDED.read_text().splitlines():
        position, blob = line.split()
        batch = items.decode_batch(bytes.fromhex(blob))
        for offset, item in enumerate(batch.items):
            log.entries.append(Entry(int(position) + offset, int(position), batch.node, item))
    return log


@pytest.fixture
def reader() -> Any:
    cluster = Replicas(log=recorded())
    yield cluster.start("new")
    cluster.close()


def test_a_journal_of_the_previous_version_means_the_same_to_this_one(reader: Node) -> None:
    peer = reader.peer(since=f"1.{FIRST}")
    received = peer.take()
    assert received[0]["recovered"] is True
    assert [data for _, data in events(received)] == ["ephemeral", "stored", "behind them", "together"]
    assert presence(received) == []
    assert {each.user_id for each in reader.hub.presence.members(TOPIC)} == {"ann", "cem"}
    assert [each.name for each in reader.hub.nodes()] == ["x"], "the other one said goodbye"


def test_a_repeat_is_known_by_what_the_previous_version_wrote(reader: Node) -> None:
    peer = reader.peer()
    peer.take()
    reader.publish("a repeat", id="first", user_id="ann")
    reader.step()
    assert events(peer.take()) == []


REQUIRED = [kind for kind in get_args(items.AnyItem) if kind not in items.OPTIONAL]


@pytest.mark.parametrize("kind", REQUIRED, ids=lambda kind: kind.__name__)
def test_the_previous_version_reads_the_items_of_this_one(kind: type[items.AnyItem]) -> None:
    item = filled(kind)
    batch = previous.decode_batch(items.encode_batch(items.Batch("node", 3, (item,))))
    assert (batch.node, batch.sequence) == ("node", 3)
    [read] = batch.items
    assert type(read).__name__ == kind.__name__
    for field in msgspec.structs.fields(read):
        assert msgspec.to_builtins(getattr(read, field.name)) == written(item, field.name), field.name


def filled(kind: type[items.AnyItem]) -> items.AnyItem:
    """An item whose fields all have values."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        match field.name:
            case "settlements":
                found[field.name] = (items.Settlement(7, "duplicate", 8, 9),)
            case "members":
                found[field.name] = (items.RosterEntry("topic", "connection", "user", b"{}", 8, 9),)
            case "state" if kind is items.Append:
                found[field.name] = "complete"
            case _:
                options = get_args(field.type) or (field.type,)
                found[field.name] = VALUES[options[0]]
    return kind(**found)


def written(item: items.AnyItem, name: str) -> Any:
    """A field as the previous version knows it: nested arrays without what was added to their end."""
    value = msgspec.to_builtins(getattr(item, name))
    if name == "members":
        return tuple(each[:6] for each in value)
    return value
