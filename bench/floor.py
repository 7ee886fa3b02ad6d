"""What a fan-out costs at least: `python -m bench.floor`.

Messages that arrive alone cost a system call for each subscriber. A server in C (bench/floor.c, compiled here with
the system's compiler) does only that, on the same kind of sockets and for the same load: by a loop over send(2),
and by io_uring with all sends of a message in one submission. What is above it is the server's own cost; what is
in it is the kernel's, which includes the receivers' side of loopback TCP. Ours is measured beside it in turn.
"""

import argparse
import dataclasses
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.contenders import OURS, WS, Contender
from bench.generator import Outcome, run_workload
from bench.machine import BENCH, describe
from bench.report import table
from bench.servers import NotStarted, Plan

SUBSCRIBERS = 1_000
RATE = 15.0
"""Messages per second."""
SECONDS = 8.0
ROUNDS = 3


def contenders(directory: Path) -> list[Contender]:
    """The floors, compiled into a directory, and who is measured beside them. Raises NotStarted."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotStarted("no C compiler on PATH")
    binary = directory / "floor"
    subprocess.run([compiler, "-O2", "-o", str(binary), str(BENCH / "floor.c")], check=True)

    def plan(mode: str) -> Callable[[Path], Plan]:
        return lambda place: Plan([str(binary), mode], cwd=place)

    return [
        Contender("floor: send(2) in a loop, C", "plain", lambda: "", plan("send")),
        Contender("floor: io_uring in batches, C", "plain", lambda: "", plan("uring")),
        OURS,
        dataclasses.replace(OURS, name="this server, writes = send", plan=_writing("send")),
        dataclasses.replace(OURS, name="this server, writes = off", plan=_writing("off")),
        WS,
    ]


def _writing(mode: str) -> Callable[[Path], Plan]:
    """How to start this server with a value of `batched_writes`."""
    return lambda place: dataclasses.replace(OURS.plan(place), environment={"AEROSTACK_BATCHED_WRITES": mode})


def measure(contender: Contender, rate: float, subscribers: int, seconds: float) -> Outcome:
    with contender.running() as server:
        return run_workload(
            contender.dialect, server, subscribers=subscribers, rate=rate, warm_s=1.0, measure_s=seconds
        )


def report(rate: float, subscribers: int, seconds: float, rounds: int) -> str:
    """The costs per delivery, the middle one of each, and their ratio to the loop over send."""
    with tempfile.TemporaryDirectory() as directory:
        found = contenders(Path(directory))
        costs: dict[str, list[float]] = {each.name: [] for each in found}
        reasons: dict[str, str] = {}
        for _ in range(rounds):
            for each in found:
                try:
                    outcome = measure(each, rate, subscribers, seconds)
                except NotStarted as reason:
                    reasons[each.name] = str(reason)
                    continue
                if not outcome.correct:
                    reasons[each.name] = f"NO: {outcome.details}"
                costs[each.name].append(outcome.cpu_us)
    floor = median(costs[found[0].name])
    lines = []
    for name, all_costs in costs.items():
        cost = median(all_costs) if all_costs else 0.0
        delivered = reasons.get(name, "all, in order")
        lines.append([name, f"{cost:.2f} µs", f"{cost / floor:.2f}", delivered])
    return table(
        [f"1 → {subscribers:,}, {rate:g} messages/s", "CPU per delivery", "of the floor", "delivered"], lines
    )


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help="messages per second")
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each is measured")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is; the middle one counts")
    arguments = parser.parse_args()
    print("\n".join(describe()), end="\n\n")
    print(report(arguments.rate, arguments.subscribers, arguments.seconds, arguments.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
