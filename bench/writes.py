"""The ways in which this server writes frames, beside its peers: `python -m bench.writes`.

The server runs with each value of `batched_writes` (docs/decisions/018-batched-writes.md), in turn with the peers,
on rooms, natural rates, saturated fan-out and connects. `auto` is io_uring where the kernel allows it; without the
package in native/ all values measure the same.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.compare import FIGURES, Figure
from bench.contenders import CENTRIFUGO, NATS, OURS, Contender
from bench.floor import RATE, SUBSCRIBERS
from bench.machine import describe
from bench.report import table
from bench.servers import Plan
from bench.suite import Results, Suite
from bench.workloads import Workload, shortened

NATURAL = Workload(
    f"1 → {SUBSCRIBERS:,}, {RATE:g} messages/s", "half", {"subscribers": SUBSCRIBERS, "rate": RATE, "warm_s": 0.5}
)

NATURAL_FIGURES: tuple[tuple[str, Figure], ...] = ((f"{NATURAL.title}, µs CPU", lambda each: each.cpu_us),)


def writing(mode: str) -> Contender:
    """This server with a value of `batched_writes`."""
    return dataclasses.replace(OURS, name=f"ours, {mode}", plan=_plan(mode))


def _plan(mode: str) -> Callable[[Path], Plan]:
    return lambda place: dataclasses.replace(OURS.plan(place), environment={"AEROSTACK_BATCHED_WRITES": mode})


def _rows(results: Results, contenders: Sequence[Contender]) -> list[list[str]]:
    rows = []
    for workload, figures in (*FIGURES.values(), (NATURAL, NATURAL_FIGURES)):
        found = [results.outcomes.get((workload.title, each.name)) for each in contenders]
        if any(found):
            rows += [
                [title, *("–" if each is None else f"{figure(each):.2f}" for each in found)]
                for title, figure in figures
            ]
    return rows


def main() -> int:
    """Print the figures; 1 when anything was lost, repeated or out of order."""
    parser = argparse.ArgumentParser(prog="python -m bench.writes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is done; the middle one counts")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is measured")
    chosen = parser.parse_args()
    contenders = (*map(writing, ("auto", "send", "off")), NATS, CENTRIFUGO)
    suite = Suite(contenders, chosen.rounds)
    print("\n".join(describe()), end="\n\n", flush=True)
    measured = [FIGURES[name][0] for name in ("rooms", "small", "fanout", "storm")]
    suite.run(shortened(each, chosen.seconds) for each in (*measured, NATURAL))
    print(table(["", *(each.name for each in contenders)], _rows(suite.results, contenders)))
    return 0 if all(each.correct for each in suite.results.outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
