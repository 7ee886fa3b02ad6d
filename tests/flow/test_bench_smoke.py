"""The benchmark in its shortest form: correctness, never speed; and that its generator sees faults."""

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.changes import on_fresh_server, speed
from bench.clusters import CLUSTERS, OURS_PERSISTED
from bench.contenders import OURS
from bench.databases import DATABASES, POSTGRES, Database, started
from bench.generator import Outcome, run_workload
from bench.history import acknowledge, fill, page, run, writes
from bench.load.dialects import DIALECTS
from bench.load.stream import Faults, Payload, Stream
from bench.load.subscriber import Subscriber, subscriber
from bench.load.writer import TABLE
from bench.persisted import saturate
from bench.reconnect import reconnect, report
from bench.servers import Running
from bench.snapshot import filled, on_filled
from bench.steady import steady
from bench.transaction import bulk, large

PING = b"\x89\x00"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with OURS.running() as ours:
        yield ours


@pytest.fixture(scope="module", params=DATABASES)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Each that ours runs on."""
    with started():
        yield DATABASES[request.param]


def assert_all_delivered_in_order(outcome: Outcome) -> None:
    assert outcome.correct, outcome.details
    # Not `deliveries`: a busy machine may give the generator no time at all within the measured half second.
    assert outcome.received == outcome.expected > 0


def test_a_saturating_fan_out_delivers_all_in_order(server: Running) -> None:
    assert_all_delivered_in_order(
        run_workload("aerostack", server, subscribers=50, window=8, warm_s=0.1, measure_s=0.5, settle_s=0.0)
    )


def test_rooms_deliver_all_in_order(server: Running) -> None:
    assert_all_delivered_in_order(
        run_workload(
            "aerostack", server, channels=10, subscribers=5, window=4, warm_s=0.1, measure_s=0.5, settle_s=0.0
        )
    )


def test_a_schedule_delivers_all_in_order_and_measures_each_delivery(server: Running) -> None:
    outcome = run_workload("aerostack", server, subscribers=5, rate=100.0, warm_s=0.1, measure_s=0.5, settle_s=0.0)
    assert_all_delivered_in_order(outcome)
    assert sum(outcome.latency.counts.values()) == 250


def test_two_generator_processes_see_the_same_messages(server: Running) -> None:
    assert_all_delivered_in_order(
        run_workload("aerostack", server, 2, subscribers=20, window=4, warm_s=0.1, measure_s=0.5, settle_s=0.0)
    )


def test_two_nodes_deliver_all_in_order() -> None:
    with started(), CLUSTERS[0].running() as nodes:
        outcome = run_workload(
            "aerostack", nodes, subscribers=10, window=8, warm_s=0.1, measure_s=0.5, settle_s=0.0
        )
    assert_all_delivered_in_order(outcome)


def test_persisted_publishes_on_two_nodes_are_received_and_stored() -> None:
    with started(), OURS_PERSISTED.running() as nodes:
        found = run(saturate(nodes, publishers=4, window=4, seconds=1.5))
    assert found.rate > 0
    assert list(found.cpu_us) == ["nodes", "Redis", "PostgreSQL", "generator"]


@pytest.mark.parametrize("at_once", [0, 8])
def test_clients_reconnect_after_a_restart_without_loss(tmp_path: Path, at_once: int) -> None:
    found = reconnect(30, signal.SIGKILL, tmp_path, at_once=at_once)
    assert (len(found.back), found.gaps) == (30, 0)
    assert "| clients" in report(found)


def test_row_changes_come_to_their_subscriber_live_and_from_a_backlog(database: Database) -> None:
    found = on_fresh_server(partial(speed, subscribers=3, rows=300), database)
    assert (found.subscribers, found.live > 0, found.backlog > 0) == (3, True, True)


def test_a_transaction_comes_whole_to_who_wants_all_of_it_or_one_row(database: Database) -> None:
    found = on_fresh_server(partial(bulk, rows=3_000, filtered=database is POSTGRES), database)
    assert found.memory_peak >= found.memory_before > 0
    assert sum(found.pings.counts.values()) > 0


def test_a_value_too_large_is_a_gap_and_later_ones_are_changes(database: Database) -> None:
    seen = on_fresh_server(partial(large, size=5_000_000), database).seen
    assert seen[:2] == ["a gap", "a gap"]
    assert "bytes" in seen[2]


def test_slow_clients_stay_connected_beside_quick_ones(database: Database) -> None:
    found = on_fresh_server(partial(steady, readers=4, quick=5, rows=3_000, seconds=1.0), database)
    assert (found.closed, found.gaps) == (0, 0)
    assert found.changes > 3_000


def test_a_snapshot_and_the_changes_after_it_are_the_table(database: Database) -> None:
    clients, pause = (3, 0.0) if database is POSTGRES else (1, 0.2)
    with filled(database, 3_000) as place:
        found = on_filled(database, place, clients, pause)
    assert found.changes >= clients
    assert found.memory_peak >= found.memory_before > 0


def test_every_acknowledged_message_is_stored_once(database: Database) -> None:
    with database.running() as server:
        assert run(acknowledge(server, database, warm_s=0.1, measure_s=1.5)).rate > 0


def test_a_filled_history_is_read_by_whole_pages(database: Database) -> None:
    with database.running() as server:
        fill(database, server.database, 1_000)
        pages = run(page(server, 1_000))
    assert sum(pages.newest.counts.values()) == sum(pages.anywhere.counts.values()) > 0


def test_writes_are_priced_by_the_row(database: Database) -> None:
    with database.new() as place:
        database.execute(place, f"CREATE TABLE {TABLE}{database.layout}")
        found = writes(database, place, few=5, many=20)
        assert database.execute(place, f"SELECT count(*), sum(total) FROM {TABLE}") == [(25, 220)]
    assert (found.log is None) == (database is not POSTGRES)


def frames(*numbers: int) -> list[bytes]:
    payload = Payload(100)
    return [b"\x81\x64" + payload(number) for number in numbers]


@pytest.fixture
def pair() -> tuple[Subscriber, Subscriber]:
    """Two subscribers of one channel; the first has received messages 0 to 4."""
    stream = Stream("c0", 2, Payload(100), Faults())
    first, second = (subscriber(DIALECTS["plain"], stream, False) for _ in range(2))
    first.data_received(b"".join(frames(0, 1, 2, 3, 4)))
    return first, second


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param((0, 2, 3), id="a lost message"),
        pytest.param((0, 1, 1, 2), id="a repeated message"),
        pytest.param((0, 2, 1, 3), id="a reordered message"),
        pytest.param((1,), id="a lost first message"),
    ],
)
@pytest.mark.parametrize("size", [1, 50, 102, 1000])
def test_a_wrong_stream_is_seen(pair: tuple[Subscriber, Subscriber], numbers: tuple[int, ...], size: int) -> None:
    _, second = pair
    data = b"".join(frames(*numbers))
    for at in range(0, len(data), size):
        second.data_received(data[at : at + size])
    assert second.broken
    assert second.stream.faults.count == 1


def test_a_message_that_was_never_published_is_seen(pair: tuple[Subscriber, Subscriber]) -> None:
    first, _ = pair
    first.data_received(frames(6)[0])
    assert first.stream.faults.count == 1


@pytest.mark.parametrize("size", [1, 7, 102, 103, 1000])
def test_heartbeats_between_messages_are_no_fault(pair: tuple[Subscriber, Subscriber], size: int) -> None:
    _, second = pair
    data = PING.join([b"", *frames(0, 1, 2, 3, 4, 5, 6), b""])
    for at in range(0, len(data), size):
        second.data_received(data[at : at + size])
    assert not second.stream.faults.count
    assert second.stream.whole(second.position) == 7


@pytest.mark.parametrize("size", [1, 9, 64, 1000])
def test_a_stream_cut_into_frames_at_will_is_put_together(size: int) -> None:
    payload = Payload(100)
    stream = Stream("c0", 1, payload, Faults())
    one = subscriber(DIALECTS["nats"], stream, False)
    content = b"".join(b"MSG c0 1 100\r\n" + payload(number) + b"\r\n" for number in range(5))
    data = b"".join(
        bytes((0x82, len(part))) + part for part in (content[at : at + 77] for at in range(0, len(content), 77))
    )
    for at in range(0, len(data), size):
        one.data_received(data[at : at + size])
    assert not stream.faults.count, stream.faults.details
    assert len(stream.ends) == 5
    assert one.position == len(stream.raw)


def test_a_payload_is_json_of_the_size_asked_for() -> None:
    assert len(Payload(100)(7)) == 100
    assert json.loads(Payload(24)(7)) == {"s": "000000007", "p": ""}
