"""Two nodes on one Redis, beside two nodes of the peers: `python -m bench.cluster`.

Both nodes run on the server's core; Redis, PostgreSQL (ours only) and the load generator on the other. Subscribers
are spread over both nodes, and each publisher is on another node than the first subscriber of its channel. Each
workload is done by fresh nodes on a fresh Redis. CPU is that of both nodes, and that of Redis separately. Beside
the latencies stand those of the path without a server (bench.cluster_floor). A lone message is measured twice:
with cores that may sleep, when much of its latency is how soon the machine wakes them, and with cores that are
kept awake. At the end the same clusters lose a node and their Redis (bench.cluster_faults); `--without-faults`
leaves that out.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bench import cluster_faults
from bench.cluster_floor import floors
from bench.clusters import CLUSTERS, OURS, SOCKETIO_STREAMS, Cluster
from bench.databases import started
from bench.generator import Failed, Outcome, run_workload
from bench.load.latency import Histogram
from bench.machine import awake, describe
from bench.report import table
from bench.servers import NotStarted
from bench.suite import say
from bench.workloads import AWAKE, ONE_TO_ONE, ROOMS, SMALL_ROOMS, Workload, capacity

FANOUT = capacity("1 → 500 + 500", 1, 1000, 32)
PAIRS = Workload(
    "1,000 pairs, 1,000 messages/s",
    "half",
    {**SMALL_ROOMS.fields, "window": 0, "rate": 1000.0, "measure_s": 8.0, "warm_s": 2.0},
)
WORK = (
    FANOUT,
    replace(ROOMS, title="100 × 5 + 5"),
    replace(SMALL_ROOMS, title="1,000 × 1 + 1"),
    PAIRS,
    ONE_TO_ONE,
    AWAKE,
)
SHORT = (OURS, CLUSTERS[2], SOCKETIO_STREAMS)
"""Those that recover after a fault."""
SHORT_WORK = (FANOUT, WORK[2], ONE_TO_ONE, AWAKE)

P99_MESSAGES = 1_000
"""A p99 of fewer is one of the few slowest messages: of 200 it is the second slowest."""

Cell = Callable[[Outcome], str]


def _marked(outcome: Outcome, text: str) -> str:
    return text + ("†" if outcome.bottleneck else "‡" if outcome.idle else "") + ("" if outcome.correct else " ✗")


def _latency(latency: Histogram) -> str:
    return " / ".join(f"{latency.percentile(share):.2f}" for share in (0.5, 0.99))


def report(outcomes: dict[tuple[str, str], Outcome], names: Sequence[str], work: Sequence[Workload]) -> str:
    """The tables, as Markdown."""

    def part(title: str, chosen: Sequence[Workload], cell: Cell) -> str:
        rows = [
            [name, *(cell(found) if (found := outcomes.get((each.title, name))) else "–" for each in chosen)]
            for name in names
        ]
        return f"## {title}\n\n{table(['', *(each.title for each in chosen)], rows)}"

    full = [each for each in work if each.shape == "capacity"]
    paced = [each for each in work if each.shape != "capacity"]
    parts = [
        part(
            "CPU of both nodes per delivery", [*full, *paced], lambda each: _marked(each, f"{each.cpu_us:.2f} µs")
        ),
        part("CPU of Redis per message", [*full, *paced], lambda each: f"{each.engine_us:.1f} µs"),
        part("Deliveries per second", full, lambda each: _marked(each, f"{each.rate:,.0f}")),
        part("Latency, ms: p50 / p99", paced, lambda each: _latency(each.latency)),
        _floors(paced),
        part(
            "CPU per connect and subscribe",
            full,
            lambda each: f"{each.connect_cpu_s / each.connections * 1e6:.0f} µs",
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def _floors(work: Sequence[Workload]) -> str:
    """The table of what a latency is without a server."""
    if not work:
        return ""
    found = []
    for each in work:
        with awake() if each.awake else contextlib.nullcontext():
            found.append(floors(each.fields["rate"], each.fields["measure_s"]))
    rows = [[name, *(_latency(each[name]) for each in found)] for name in found[0]]
    return f"Without a server:\n\n{table(['', *(each.title for each in work)], rows)}"


def measure(clusters: Sequence[Cluster], work: Sequence[Workload]) -> dict[tuple[str, str], Outcome]:
    """Each workload by each cluster in turn."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    for workload in work:
        with awake() if workload.awake else contextlib.nullcontext(True) as is_possible:
            for cluster in clusters if is_possible else ():
                outcome = _measured(cluster, workload)
                if outcome is not None:
                    outcomes[workload.title, cluster.name] = outcome
    return outcomes


def _measured(cluster: Cluster, workload: Workload) -> Outcome | None:
    say(f"{workload.title}: {cluster.name} … ")
    try:
        with cluster.running() as server:
            outcome = run_workload(cluster.dialect, server, **workload.fields)
    except (NotStarted, Failed) as reason:
        say(f"{reason}\n")
        return None
    say(f"{outcome.rate:,.0f} deliveries/s{'' if outcome.correct else f', NOT ALL: {outcome.details}'}\n")
    return outcome


def shortened(workload: Workload, seconds: float) -> Workload:
    """The same work for `seconds`, or for as long as a p99 takes."""
    if rate := workload.fields.get("rate"):
        seconds = max(seconds, P99_MESSAGES / rate)
    fields: dict[str, Any] = {**workload.fields, "measure_s": seconds, "warm_s": 0.5}
    return replace(workload, fields=fields)


def main() -> int:
    """Measure and print; 1 when something was lost, repeated or out of order; under faults, lost unreported."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--only", action="append", help="a name of a cluster (may be repeated)")
    parser.add_argument("--seconds", type=float, help="of each measurement; else 5 to 10; a p99 takes longer")
    parser.add_argument("--without-faults", action="store_true", help="only measure what works")
    parser.add_argument("--short", action="store_true", help="one cluster of each server, three workloads")
    chosen = parser.parse_args()
    clusters = [each for each in CLUSTERS if not chosen.only or each.name in chosen.only]
    work: Sequence[Workload] = WORK
    if chosen.short:
        clusters, work = [each for each in clusters if each in SHORT], SHORT_WORK
    work = [shortened(each, chosen.seconds) if chosen.seconds else each for each in work]
    print("\n".join(f"- {line}" for line in describe()))
    for cluster in clusters:
        with contextlib.suppress(NotStarted):
            print(f"- {cluster.name}: {cluster.prepare()}")
    with started():
        outcomes = measure(clusters, work)
    print("\n" + report(outcomes, [each.name for each in clusters], work), flush=True)
    failed = not all(each.correct for each in outcomes.values())
    if not (chosen.without_faults or chosen.short):
        print("\n## Under faults\n")
        failed |= cluster_faults.run(chosen.only or ()) > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
