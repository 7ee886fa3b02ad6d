"""Our scale curves: `python -m bench.curves` measures them into bench/curves.json and draws docs/images/."""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from bench import changes, history
from bench.contenders import OURS, ensure_python
from bench.generator import run_workload
from bench.machine import BENCH, LOAD_CORE, ROOT, describe
from bench.workloads import FANOUT

DATA = BENCH / "curves.json"
_SUBSCRIBERS = (10, 30, 100, 300, 1000, 3000, 10000)
_STORED = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)

Series = dict[str, Any]


def fan_out() -> Series:
    """CPU per delivery and memory against the number of subscribers of one channel."""
    found: Series = {"subscribers": [], "cpu_us": [], "memory_mib": [], "deliveries_per_s": []}
    for count in _SUBSCRIBERS:
        with OURS.running() as server:
            outcome = run_workload(
                OURS.dialect, server, **{**FANOUT.fields, "subscribers": count, "measure_s": 3.0}
            )
        if not outcome.correct:
            raise RuntimeError(f"{count} subscribers: {outcome.details}")
        found["subscribers"].append(count)
        found["cpu_us"].append(outcome.cpu_us)
        found["memory_mib"].append(outcome.memory / 2**20)
        found["deliveries_per_s"].append(outcome.rate)
    return found


def row_changes() -> Series:
    """Changes per second against the number of filtered subscribers, each change for one."""
    speeds = changes.speeds(changes.SUBSCRIBERS)
    return {
        "subscribers": [each.subscribers for each in speeds],
        "live": [each.live for each in speeds],
        "backlog": [each.backlog for each in speeds],
    }


def history_pages(stored: tuple[int, ...]) -> Series:
    """Milliseconds of a page of 50 against the messages stored in the room."""
    pages = history.pages(stored)
    return {
        "stored": [each.stored for each in pages],
        "newest_p50": [each.newest.percentile(0.5) for each in pages],
        "anywhere_p50": [each.anywhere.percentile(0.5) for each in pages],
        "anywhere_p99": [each.anywhere.percentile(0.99) for each in pages],
    }


def writes() -> Series:
    """µs of a write by another process, by table."""
    found = history.watched_and_not()
    return {
        "table": [name for name, _ in found],
        "single_us": [each.single for _, each in found],
        "bulk_us": [each.bulk for _, each in found],
    }


def main() -> int:
    """Measure and draw."""
    parser = argparse.ArgumentParser(prog="python -m bench.curves", description=__doc__)
    parser.add_argument("--stored", type=int, nargs="*", default=_STORED, help="sizes of the history")
    chosen = parser.parse_args()
    ensure_python("matplotlib", BENCH / "requirements.txt")
    about = describe()
    os.sched_setaffinity(0, {LOAD_CORE})
    measured: dict[str, Any] = {"about": about}
    for name, measure in (
        ("fan_out", fan_out),
        ("row_changes", row_changes),
        ("history_pages", lambda: history_pages(tuple(chosen.stored))),
        ("writes", writes),
    ):
        measured[name] = measure()
        print(f"{name}: {json.dumps(measured[name])}", flush=True)
    DATA.write_text(json.dumps(measured, indent=1) + "\n")
    return subprocess.run([BENCH / ".venv/bin/python", "-m", "bench.plots"], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
