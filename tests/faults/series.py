"""`python -m tests.faults.series`: the published runs of a cluster, one after another, and their sums.

Each run is a process of its own, so the checker's memory is that of one run. Exits with 0 when no run found an
anomaly. With `--publish` each run becomes a row of docs/internals/reliability.md.
"""

import argparse
import re
import subprocess
import sys
import time
from typing import Final

from tests.faults import cable

RUNS: Final = (
    ("743", "--namespaces"),
    ("732", "--namespaces"),
    ("77", "--namespaces"),
    ("21", ""),
    ("801", "--sentinel"),
    ("802", "--sentinel"),
)
"""Seeds, among them those that once found something, and what each run has besides three nodes."""
MESSAGES_PER_SECOND: Final = 800
"""Of each publisher. Two cores carry less while faults happen: then everybody goes as fast as it can."""
ROWS_PER_SECOND: Final = 9_000
_FAULTS: Final = re.compile(r"^(\d+) faults in (\d+) s", re.MULTILINE)
_ACKNOWLEDGED: Final = re.compile(r"^(\d+) acknowledged messages, (\d+) acknowledged row changes", re.MULTILINE)
_ANOMALIES: Final = re.compile(r"^(\d+) anomalies", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.series", description=__doc__)
    parser.add_argument("--seconds", type=float, default=270.0, help="of each run, besides start, end and checker")
    parser.add_argument("--publish", action="store_true", help="add the runs to docs/internals/reliability.md")
    asked = parser.parse_args()
    began = time.monotonic()
    sums = [0, 0, 0, 0]
    broken = 0
    for seed, how in RUNS:
        if how == "--namespaces" and not cable.possible():
            _say("this machine allows no network namespaces: the next run is without them")
            how = ""
        output = _run(seed, how, asked.seconds, publish=asked.publish)
        found = _figures(output)
        if found is None:
            broken += 1
            _say(f"seed {seed} {how}: no result\n{output[-4000:]}")
            continue
        sums = [total + each for total, each in zip(sums, found, strict=True)]
        _say(f"seed {seed} {how}: {_described(found)}")
        if found[3]:
            _say(output)
    _say(f"all: {_described(sums)}, {broken} runs without a result, {(time.monotonic() - began) / 60:.0f} min")
    return 1 if sums[3] or broken else 0


def _run(seed: str, how: str, seconds: float, *, publish: bool) -> str:
    command = [sys.executable, "-m", "tests.faults", "--nodes=3", f"--seed={seed}", f"--seconds={seconds}"]
    command += [f"--published={MESSAGES_PER_SECOND}", f"--written={ROWS_PER_SECOND}"]
    command += [*([how] if how else []), *(["--publish"] if publish else [])]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return run.stdout


def _figures(output: str) -> list[int] | None:
    """Faults, acknowledged messages, acknowledged row changes, anomalies."""
    faults, acknowledged, anomalies = (each.search(output) for each in (_FAULTS, _ACKNOWLEDGED, _ANOMALIES))
    if not (faults and acknowledged and anomalies):
        return None
    return [int(faults[1]), int(acknowledged[1]), int(acknowledged[2]), int(anomalies[1])]


def _described(figures: list[int]) -> str:
    faults, messages, rows, anomalies = figures
    return f"{faults} faults, {messages:,} messages and {rows:,} row changes acknowledged, {anomalies} anomalies"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
