"""`python -m tests.faults.planted`: a run with each planted bug, and what the checker says of it.

Exits with 0 when every bug was found. Each bug is tried with up to three seeds.
"""

import argparse
import subprocess
import sys
import time
from typing import Final

from tests.faults.plants import PLANTS

SEEDS: Final = (1, 2, 3)
FAULTS: Final = 8
SECONDS: Final = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.planted", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PLANTS)}; all when none is given")
    names = parser.parse_args().names or list(PLANTS)
    missed = 0
    _say("| planted bug | found as | seed | seconds |\n|---|---|---|---|")
    for name in names:
        began = time.monotonic()
        for seed in SEEDS:
            anomalies = found(name, seed)
            if anomalies:
                break
        missed += not anomalies
        kinds = ", ".join(sorted(anomalies)) or "**not found**"
        _say(f"| {name} | {kinds} | {seed} | {time.monotonic() - began:.0f} |")
    return 1 if missed else 0


def found(name: str, seed: int) -> set[str]:
    """The kinds of anomalies of a run with this bug. `make faults ARGS="--nodes 3 --plant NAME"` is such a run."""
    command = [sys.executable, "-m", "tests.faults", "--nodes=3", f"--plant={name}", f"--seed={seed}"]
    command += [f"--faults={FAULTS}", f"--seconds={SECONDS}", "--written=600", "--pause=300"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.removeprefix("ANOMALY ") for line in run.stdout.splitlines() if line.startswith("ANOMALY ")]
    kinds = {line.split(" × ")[0] for line in lines}
    if bool(kinds) != (run.returncode == 1):
        sys.stderr.write(run.stdout + run.stderr)
    return kinds


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
