"""Two versions of the server side by side: `python -m bench.compare DIRECTORY`, a checkout of the other one.

They take turns on the same work in one run, `--rounds` times; the median of each counts, and the ratio is the
effect of a change. Nothing has to be installed in the other checkout: its `src` comes first on the path.

Where the load generator is as busy as the server, a faster server waits more often and writes fewer messages at
once, which hides what it saves. `--in-flight 4` offers four times as many messages at once: then the server's core
is the limit.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench.contenders import OURS, Contender
from bench.generator import Outcome
from bench.machine import ROOT, describe
from bench.report import table
from bench.servers import Plan
from bench.suite import Suite
from bench.workloads import (
    FANOUT,
    FANOUT_5000,
    ONE_TO_ONE,
    ROOMS,
    SMALL_ROOMS,
    Workload,
    deepened,
    shortened,
)

Figure = Callable[[Outcome], float]
_PYTHON = ROOT / ".venv/bin/python"
PROGRAM = (str(_PYTHON), "-c", "from aerostack_realtime.cli import main; main()")
"""`aerostack`, with the sources that come first on PYTHONPATH."""


def _version(source: Path) -> Callable[[Path], Plan]:
    """How to start the server whose sources are in `source`."""

    def plan(directory: Path) -> Plan:
        command = [*PROGRAM, "dev", "--port", "0", "--db", str(directory / "bench.db")]
        return Plan(command, cwd=directory, environment={"PYTHONPATH": str(source)})

    return plan


def _connect_us(outcome: Outcome) -> float:
    return outcome.connect_cpu_s / outcome.connections * 1e6


def _kibibytes(outcome: Outcome) -> float:
    return outcome.memory / outcome.connections / 1024


def _p50(outcome: Outcome) -> float:
    return outcome.latency.percentile(0.5)


FIGURES: dict[str, tuple[Workload, tuple[tuple[str, Figure], ...]]] = {
    "fanout": (FANOUT, (("1 → 1,000, µs CPU", lambda each: each.cpu_us),)),
    "rooms": (ROOMS, (("100 × 10, µs CPU", lambda each: each.cpu_us),)),
    "small": (SMALL_ROOMS, (("1,000 × 2, µs CPU", lambda each: each.cpu_us),)),
    "storm": (
        FANOUT_5000,
        (("connect, µs CPU", _connect_us), ("memory per connection, KiB", _kibibytes)),
    ),
    "latency": (ONE_TO_ONE, (("1 → 1, p50 ms", _p50), ("1 → 1, µs CPU", lambda each: each.cpu_us))),
}


def main() -> int:
    """Print the figures of both and their ratio; 1 when anything was lost, repeated or out of order."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("directory", type=Path, help="a checkout of the version before")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is done; the middle one counts")
    parser.add_argument("--only", action="append", choices=FIGURES, help="a workload (may be repeated)")
    parser.add_argument("--in-flight", type=int, default=1, help="factor for the messages offered at once")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is measured")
    chosen = parser.parse_args()
    before, after = (
        Contender(name, OURS.dialect, OURS.prepare, _version(source.resolve() / "src"))
        for name, source in (("before", chosen.directory), ("after", ROOT))
    )
    suite = Suite((before, after), chosen.rounds)
    picked = [FIGURES[name] for name in chosen.only or FIGURES]
    print("\n".join(describe()), end="\n\n", flush=True)
    suite.run(deepened(shortened(workload, chosen.seconds), chosen.in_flight) for workload, _ in picked)
    if suite.results.reasons:
        sys.exit(str(suite.results.reasons))
    rows = []
    for workload, figures in picked:
        pair = [suite.results.outcomes[workload.title, each.name] for each in (before, after)]
        for title, figure in figures:
            old, new = (figure(each) for each in pair)
            shares = " / ".join(f"{each.server_share:.0%}" for each in pair)
            rows.append([title, f"{old:.2f}", f"{new:.2f}", f"{new / old:.2f}", shares])
    print(table(["", "before", "after", "ratio", "server's core busy"], rows))
    return 0 if all(each.correct for each in suite.results.outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
