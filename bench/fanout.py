"""Ours alone, `python -m bench.fanout`: 1 → 1,000 and 100 rooms × 10, latency, memory per connection."""

import subprocess
import sys

import msgspec

from bench.contenders import OURS
from bench.generator import Outcome, run_workload
from bench.load.latency import Histogram
from bench.machine import LOAD_CORE, ROOT, describe
from bench.report import table
from bench.workloads import FANOUT, ONE_TO_ONE, ROOMS, Workload

_BUDGETS = {FANOUT.title: 1.0, ROOMS.title: 2.5}
"""µs of server CPU per delivery."""

_PACED = {FANOUT.title: 100.0, ROOMS.title: 1000.0}
"""Messages per second of the latency runs: 100 to a thousand subscribers, 10 in each of a hundred rooms."""


def own_cost(rate: float, seconds: float) -> Histogram:
    """What the generator itself adds to a latency at `rate` messages a second."""
    command = [sys.executable, "-m", "bench.load.baseline", str(rate), str(seconds), str(LOAD_CORE)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return Histogram(msgspec.json.decode(output, type=dict[str, int]))


def measure(workload: Workload) -> tuple[Outcome, Outcome]:
    """The capacity, then the latencies at a fixed rate, each on a fresh server."""
    with OURS.running() as server:
        full = run_workload(OURS.dialect, server, **workload.fields)
    with OURS.running() as server:
        fields = {**workload.fields, "window": 0, "rate": _PACED[workload.title]}
        return full, run_workload(OURS.dialect, server, **fields)


def _row(title: str, full: Outcome, paced: Outcome) -> list[str]:
    return [
        title,
        f"{full.rate:,.0f}",
        f"{full.cpu_us:.2f} µs",
        f"{_BUDGETS[title]:.1f} µs",
        f"{paced.job.rate:,.0f}",
        f"{paced.cpu_us:.2f} µs",
        *(f"{paced.latency.percentile(share):.2f} ms" for share in (0.5, 0.99)),
        f"{full.memory / full.connections / 1024:.1f} KiB",
        f"{full.server_share:.0%} / {full.own_share:.0%}",
        "all, in order" if full.correct and paced.correct else f"NO: {full.details + paced.details}",
    ]


def main() -> int:
    """Print the figures; 1 when anything was lost, repeated or out of order."""
    print("\n".join(describe()), end="\n\n")
    head = ["", "deliveries/s", "CPU each", "budget", "paced: messages/s", "CPU each", "p50", "p99"]
    head += ["memory/connection", "cores busy: server / generator", "delivered"]
    outcomes = {workload.title: measure(workload) for workload in (FANOUT, ROOMS)}
    print(table(head, [_row(title, *pair) for title, pair in outcomes.items()]), end="\n\n")
    with OURS.running() as server:
        single = run_workload(OURS.dialect, server, **ONE_TO_ONE.fields)
    own = own_cost(ONE_TO_ONE.fields["rate"], 5.0)
    rows = [
        [name, *(f"{latency.percentile(share):.3f} ms" for share in (0.5, 0.99, 0.999))]
        for name, latency in (("publish → received", single.latency), ("the generator's own part", own))
    ]
    print(table([ONE_TO_ONE.title, "p50", "p99", "p99.9"], rows))
    return 0 if all(each.correct for pair in outcomes.values() for each in (*pair, single)) else 1


if __name__ == "__main__":
    sys.exit(main())
