"""The table before and after: `python -m bench.before COMMIT`, each figure of both versions in turn, in one run.

It measures what the design has a budget for: fan-out, rooms, connections, memory, row changes of both databases,
and two nodes on one Redis where the earlier version can be one.
"""

import argparse
import asyncio
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic

from bench import changes, cluster, clusters, compare, proctree, summary
from bench.contenders import OURS
from bench.databases import POSTGRES, SQLITE, Database, about, started
from bench.generator import Failed, Outcome, run_workload
from bench.machine import LOAD_CORE, ROOT, describe
from bench.report import table
from bench.servers import NotStarted, Plan, Running
from bench.suite import say
from bench.workloads import NATURAL, ONE_TO_ONE, Workload, shortened

COMMIT = "95373a3"
"""The last commit before the work on what was slow: 2026-11-25."""
_IDLE_S = 5.0

Figures = dict[str, float]
"""A version's figures by their titles, with their units."""
Measure = Callable[[Path, float], Figures]
"""Measures the version with this source, for some seconds. Raises NotStarted and Failed."""


def _plan(source: Path, plan: Callable[[Path], Plan]) -> Callable[[Path], Plan]:
    """The same plan with the sources of another version."""

    def made(directory: Path) -> Plan:
        begun = plan(directory)
        command = [*compare.PROGRAM, *begun.command[1:]]
        return replace(begun, command=command, environment={**begun.environment, "PYTHONPATH": str(source)})

    return made


def _workload(workload: Workload, figures: Sequence[tuple[str, compare.Figure]]) -> Measure:
    def measure(source: Path, seconds: float) -> Figures:
        contender = replace(OURS, plan=_plan(source, OURS.plan))
        with contender.running() as server:
            outcome = run_workload(OURS.dialect, server, **shortened(workload, seconds).fields)
        return _of(outcome, figures)

    return measure


def _of(outcome: Outcome, figures: Sequence[tuple[str, compare.Figure]]) -> Figures:
    if not outcome.correct:
        raise Failed(f"not all was delivered once and in order: {outcome.details}")
    return {title: figure(outcome) for title, figure in figures}


def _database(database: Database, source: Path) -> Database:
    """The database with a server of another version."""

    @contextmanager
    def running(place: str) -> Iterator[Running]:
        def at(directory: Path) -> Plan:
            begun = OURS.plan(directory)
            position = begun.command.index("--db") + 1
            return replace(begun, command=[*begun.command[:position], place, *begun.command[position + 1 :]])

        with replace(OURS, plan=_plan(source, at)).running() as server:
            yield replace(server, database=place)

    return replace(database, serve=running)


def _row_changes(database: Database) -> Measure:
    def measure(source: Path, seconds: float) -> Figures:
        name, rows = database.title, round(20_000 * seconds)
        served = _database(database, source)
        found = changes.on_fresh_server(changes.by_foreign_process, served)
        speed = changes.on_fresh_server(partial(changes.speed, subscribers=1, rows=rows), served)
        return {
            f"{name} row, foreign writer → client, p50 ms": found.percentile(0.5),
            f"{name}, CPU of a change while they are written, µs": speed.live_cpu_us,
            f"{name}, CPU of a change from a backlog, µs": speed.backlog_cpu_us,
            f"{name}, idle CPU with a watched table, % of a core": changes.on_fresh_server(_idle, served),
        }

    return measure


async def _idle(server: Running) -> float:
    """The share of a core in percent while nothing happens."""
    listener = await changes.listen_to_all(server)
    await asyncio.sleep(1.0)
    began, cpu = monotonic(), proctree.cpu_seconds(server.pid)
    await asyncio.sleep(_IDLE_S)
    share = (proctree.cpu_seconds(server.pid) - cpu) / (monotonic() - began)
    listener.close()
    return share * 100


def _nodes(source: Path, seconds: float) -> Figures:
    nodes = clusters.OURS

    def plan(directory: Path, engine: clusters.Engine) -> Plan:
        return _plan(source, lambda place: nodes.plan(place, engine))(directory)

    made = replace(nodes, plan=plan)
    found: Figures = {}
    for workload, figures in (
        (cluster.FANOUT, [("two nodes, 1 → 500 + 500, µs CPU", _cpu)]),
        (cluster.PAIRS, [("two nodes, 1,000 messages/s, Redis µs per message", _engine)]),
        (ONE_TO_ONE, [("two nodes, publish on A → B, p50 ms", _p50), ("the same, p99 ms", _p99)]),
    ):
        with made.running() as server:
            outcome = run_workload(OURS.dialect, server, **shortened(workload, seconds).fields)
        found |= _of(outcome, figures)
    return found


def _cpu(outcome: Outcome) -> float:
    return outcome.cpu_us


def _engine(outcome: Outcome) -> float:
    return outcome.engine_us


def _p50(outcome: Outcome) -> float:
    return outcome.latency.percentile(0.5)


def _p99(outcome: Outcome) -> float:
    return outcome.latency.percentile(0.99)


MEASURES: dict[str, Measure] = {
    **{name: _workload(workload, figures) for name, (workload, figures) in compare.FIGURES.items()},
    "natural": _workload(NATURAL, [("1 → 1,000, 15 messages/s, µs CPU", _cpu)]),
    "sqlite": _row_changes(SQLITE),
    "postgresql": _row_changes(POSTGRES),
    "nodes": _nodes,
}


@contextmanager
def sources(version: str) -> Iterator[Path]:
    """The sources of a commit of this repository, or those of a checkout."""
    if Path(version).is_dir():
        yield Path(version).resolve() / "src"
        return
    command = ["git", "-C", str(ROOT), "archive", version, "src"]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(directory, filter="data")
        yield Path(directory) / "src"


def measured(name: str, versions: dict[str, Path], rounds: int, seconds: float) -> list[list[str]]:
    """The rows of one measure: both versions in turn, the middle one of each figure."""
    found: dict[str, list[Figures]] = {version: [] for version in versions}
    reasons: dict[str, str] = {}
    for _ in range(rounds):
        for version, source in versions.items():
            say(f"{name}, {version} … ")
            try:
                found[version].append(MEASURES[name](source, seconds))
                say("done\n")
            except (NotStarted, Failed, changes.Wrong, TimeoutError) as reason:
                reasons[version] = str(reason) or "it took too long"
                say(f"{reasons[version]}\n")
    middle = {
        version: {title: median(each[title] for each in all_rounds) for title in all_rounds[0]}
        for version, all_rounds in found.items()
        if all_rounds
    }
    old, new = (middle.get(version, {}) for version in versions)
    rows = []
    for title in new or old:
        pair = old.get(title), new.get(title)
        ratio = f"{pair[1] / pair[0]:.2f}" if pair[0] and pair[1] is not None else "–"
        rows.append([title, *("–" if each is None else f"{each:.2f}" for each in pair), ratio])
    return rows


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.before", description=__doc__)
    parser.add_argument("version", nargs="?", default=COMMIT, help="a commit, or the directory of a checkout")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is done; the middle one counts")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each is measured")
    parser.add_argument("--only", action="append", choices=MEASURES, help="a measure (may be repeated)")
    parser.add_argument("--publish", action="store_true", help="write the table into docs/performance.md")
    chosen = parser.parse_args()
    machine = [*describe(), *about(["postgresql"])]
    print("\n".join(machine), end="\n\n", flush=True)
    began, rows = monotonic(), []
    cores = os.sched_getaffinity(0)
    with sources(chosen.version) as before, started():
        versions = {f"before ({chosen.version})": before, "after": ROOT / "src"}
        for name in chosen.only or MEASURES:
            os.sched_setaffinity(0, {LOAD_CORE} if name in ("sqlite", "postgresql") else cores)
            rows += measured(name, versions, chosen.rounds, chosen.seconds)
    minutes = (monotonic() - began) / 60
    text = table(["", *versions, "after / before"], rows)
    text += f"\n\n(The middle one of {chosen.rounds} rounds each, {minutes:.0f} minutes; {'; '.join(machine)}.)"
    print(text)
    if chosen.publish:
        summary.write(summary.PERFORMANCE, "python -m bench.before", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
