"""`python -m tests.faults`: a run of the fault suite; `make faults` is the same."""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import cast

from tests.faults import cable, report
from tests.faults.plan import DATABASES, FAULTS, FaultKind
from tests.faults.plants import PLANTS
from tests.faults.run import Options, Result, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="repeats a run's faults")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults last at most")
    parser.add_argument("--faults", type=int, default=500, help="how many there are at most")
    parser.add_argument("--database", choices=DATABASES, default="sqlite", help="what the server runs on")
    parser.add_argument("--pause", type=float, default=1_500.0, help="events between two faults, in the mean")
    parser.add_argument("--published", type=float, default=200.0, help="messages per second of each publisher")
    parser.add_argument("--written", type=float, default=1_000.0, help="row changes per second")
    parser.add_argument("--source", type=Path, help="take the server from this directory, to try the suite itself")
    parser.add_argument("--only", action="append", choices=FAULTS, help="this kind of fault; may be repeated")
    parser.add_argument("--keep", action="store_true", help="leave the records where they are")
    parser.add_argument("--publish", action="store_true", help="add the run to docs/internals/reliability.md")
    parser.add_argument("--nodes", type=int, default=1, help="how many; several run on PostgreSQL and Redis")
    parser.add_argument("--sentinel", action="store_true", help="nodes on a Redis that Sentinels watch")
    parser.add_argument(
        "--namespaces", action="store_true", help="nodes on hosts of their own, to cut their cables"
    )
    parser.add_argument("--plant", choices=PLANTS, help="give the nodes this bug, to try the suite itself")
    asked = parser.parse_args()
    if asked.sentinel:
        asked.nodes = max(3, asked.nodes)
    if asked.namespaces and asked.nodes == 1:
        parser.error("--namespaces needs several nodes")
    if asked.namespaces and not cable.possible():
        parser.error("--namespaces needs root, unshare, nsenter and ip, and a kernel that allows them")
    if asked.nodes > 1:
        asked.database = "postgres"
    only = asked.only or (PLANTS[asked.plant].kinds if asked.plant else FAULTS)
    kinds = frozenset(cast("list[FaultKind]", only))
    cable.isolated("tests.faults", sys.argv[1:])
    options = Options(
        asked.seed,
        asked.faults,
        asked.seconds,
        asked.published,
        asked.written,
        database=asked.database,
        pause=asked.pause,
        source=asked.source,
        keep=asked.keep,
        kinds=kinds,
        nodes=asked.nodes,
        sentinel=asked.sentinel,
        namespaces=asked.namespaces,
        plant=asked.plant or "",
        overlap=True,
    )
    _say(f"{options.database}, seed {options.seed}: up to {options.faults} faults in {options.seconds:.0f} s")
    try:
        result = asyncio.run(_run(options))
    except asyncio.CancelledError:
        _say("killed; there is no result")
        return 1
    _tell(result)
    if asked.publish:
        report.publish(result, " ".join(["python -m tests.faults", *sys.argv[1:]]))
    return 1 if result.anomalies else 0


async def _run(options: Options) -> Result:
    """A run that cleans up when it is killed, too."""
    task = asyncio.current_task()
    assert task is not None, "asyncio.run makes one"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options)


def _tell(result: Result) -> None:
    _say(f"{result.faults.total()} faults in {result.seconds:.0f} s: {dict(result.faults.most_common())}")
    _say(f"{result.messages} acknowledged messages, {result.changes} acknowledged row changes")
    _say(f"{result.handled} events handled, {result.gaps} gaps reported on channels")
    if result.not_run:
        _say(f"not possible on this machine: {', '.join(result.not_run)}")
    for anomaly in result.anomalies:
        _say(f"ANOMALY {anomaly.kind} × {anomaly.count}, {anomaly.where}: {anomaly.detail}")
    if result.anomalies:
        _say(f"the records are in {result.place}")
    _say(f"{len(result.anomalies)} anomalies")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
