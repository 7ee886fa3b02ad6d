"""The table before and after: `python -m bench.before COMMIT`, each figure of both versions in turn, in one run.

It measures what the design has a budget for: fan-out, rooms, connections, memory, a publish in one process, row
changes of both databases, and two nodes on one Redis. Without a commit the nodes are compared with a later one,
because the other one has no journal on Redis.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic

from bench import changes, cluster, cluster_faults, clusters, compare, persisted, summary
from bench.contenders import OURS
from bench.databases import POSTGRES, SQLITE, Database, about, started
from bench.fanout import own_cost
from bench.generator import Failed, Outcome, run_workload
from bench.history import run
from bench.machine import LOAD_CORE, ROOT, awake, describe
from bench.report import table
from bench.servers import NotStarted, Plan, Running
from bench.suite import say
from bench.workloads import NATURAL, ONE_TO_ONE, SMALL_ROOMS, Workload, shortened

COMMIT = "95373a3"
"""The last commit before the work on what was slow: 2026-11-25."""
WITH_NODES = "b18b082"
"""An early commit whose nodes share a Redis, for what the other one cannot do: 2026-11-29."""
OF_NODES = ("nodes", "lone", "persisted", "journal", "faults")
ON_LOAD_CORE = ("sqlite", "postgresql", "persisted")
"""In these the process itself is the load generator, or a part of it."""
ONCE = ("hotpath", "journal", "faults")
"""Measured in one round: they take long, or a median of them says nothing."""
_JOURNAL = "25,000/s, one node publishes"
_UNHEARD = "an event that nobody on this node hears"
_A_TO_B = "two nodes, {}publish on A → B, {}p50 ms"
_A_TO_B_P99 = "the same, {}p99 ms"
_ABOVE = "above the generator's own, "
_SATURATED = "two nodes, persisted publishes/s, 256 of each publisher on their way (more is better)"
_WHOLE = "all of it, from the bytes read to 10 writes"

BUDGETS = {
    "1 → 1,000, µs CPU": "no worse",
    "100 × 10, µs CPU": "NATS ÷ 1.3",
    "1,000 × 2, µs CPU": "NATS ÷ 1.5",
    "connect, µs CPU": "≤ 88",
    "memory per connection, KiB": "≤ 4.5",
    "1 → 1,000, 15 messages/s, µs CPU": "no worse",
    "a publish to ten in one process, µs CPU": "≤ 1.03 × before",
    "SQLite row, foreign writer → client, p50 ms": "≤ 0.6",
    "SQLite, idle CPU with a watched table, % of a core": "less",
    "PostgreSQL, CPU of a change while they are written, µs": "≤ 6",
    _A_TO_B.format("", f"{_ABOVE}cores awake, "): "≤ 0.5",
    _A_TO_B_P99.format("cores awake, "): "≤ 3",
    _A_TO_B.format("persisted ", ""): "≤ 2",
    _A_TO_B.format("persisted ", "cores awake, "): "≤ 2",
    _SATURATED: "≥ 20,000",
    "the journal alone, 25,000/s, Redis µs per message": "≤ 3.5",
    f"{_UNHEARD}, µs": "≤ 1.2",
    "a node killed: its members are gone after, s": "≤ 6",
    "a node killed: messages lost without a report": "0",
    "Redis back empty after 1 s: longest silence, s": "≤ 2",
    "Redis back empty: messages lost without a report": "0",
}
"""By the titles of the figures. Those that name NATS are compared in RESULTS.md."""

Figures = dict[str, float]
"""A version's figures by their titles, with their units."""
Measure = Callable[[Path, float], Figures]
"""Measures the version with this source, for some seconds. Raises NotStarted and Failed."""


def with_sources(source: Path, plan: Callable[[Path], Plan]) -> Callable[[Path], Plan]:
    """The same plan with the sources of another version."""

    def made(directory: Path) -> Plan:
        begun = plan(directory)
        command = [*compare.PROGRAM, *begun.command[1:]]
        return replace(begun, command=command, environment={**begun.environment, "PYTHONPATH": str(source)})

    return made


def _workload(workload: Workload, figures: Sequence[tuple[str, compare.Figure]]) -> Measure:
    def measure(source: Path, seconds: float) -> Figures:
        contender = replace(OURS, plan=with_sources(source, OURS.plan))
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

        with replace(OURS, plan=with_sources(source, at)).running() as server:
            yield replace(server, database=place)

    return replace(database, serve=running)


def _hotpath(source: Path, _: float) -> Figures:
    whole = _printed(source, "bench.hotpath")[_WHOLE][0]
    return {"a publish to ten in one process, µs CPU": float(whole)}


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
            f"{name}, idle CPU with a watched table, % of a core": changes.on_fresh_server(changes.idle, served),
        }

    return measure


def _of_version(nodes: clusters.Cluster, source: Path) -> clusters.Cluster:
    """The cluster with the nodes of another version."""

    def plan(directory: Path, engine: clusters.Engine) -> Plan:
        return with_sources(source, lambda place: nodes.plan(place, engine))(directory)

    return replace(nodes, plan=plan)


def _nodes(source: Path, seconds: float) -> Figures:
    ours, persisted = clusters.OURS, clusters.OURS_PERSISTED
    found: Figures = {}
    for nodes, workload, figures in (
        (ours, cluster.FANOUT, [("two nodes, 1 → 500 + 500, µs CPU", _cpu)]),
        (ours, cluster.PAIRS, [("two nodes, 1,000 messages/s, Redis µs per message", _engine)]),
        (
            persisted,
            SMALL_ROOMS,
            [("two nodes, persisted messages/s in 1,000 rooms of two (more is better)", _messages)],
        ),
    ):
        with _of_version(nodes, source).running() as server:
            outcome = run_workload(nodes.dialect, server, **cluster.shortened(workload, seconds).fields)
        found |= _of(outcome, figures)
    return found


def _lone_messages(source: Path, seconds: float) -> Figures:
    """From one node to another, with cores that may sleep and with cores that are kept awake."""
    found: Figures = {}
    fields = cluster.shortened(ONE_TO_ONE, seconds).fields
    for cores, kept in (("", nullcontext(True)), ("cores awake, ", awake())):
        with kept as is_possible:
            if not is_possible:
                continue
            own = own_cost(fields["rate"], fields["measure_s"])
            for nodes, kind in ((clusters.OURS, ""), (clusters.OURS_PERSISTED, "persisted ")):
                with _of_version(nodes, source).running() as server:
                    outcome = run_workload(nodes.dialect, server, **fields)
                found |= _of(outcome, [(_A_TO_B.format(kind, cores), _p50)])
                if not kind:
                    above = outcome.latency.percentile(0.5) - own.percentile(0.5)
                    found[_A_TO_B.format(kind, f"{_ABOVE}{cores}")] = above
                    found[_A_TO_B_P99.format(cores)] = outcome.latency.percentile(0.99) - own.percentile(0.99)
    return found


def _persisted(source: Path, seconds: float) -> Figures:
    publishers, window = persisted.WINDOWS[-1]
    with _of_version(clusters.OURS_PERSISTED, source).running() as server:
        return {_SATURATED: run(persisted.saturate(server, publishers, window, seconds)).rate}


def _journal(source: Path, _: float) -> Figures:
    redis, a, b = _printed(source, "bench.journal", _JOURNAL)[_JOURNAL][1:4]
    unheard = _printed(source, "bench.hotpath")[_UNHEARD][0]
    return {
        "the journal alone, 25,000/s, Redis µs per message": float(redis),
        "the same, both nodes µs per message": float(a) + float(b),
        f"{_UNHEARD}, µs": float(unheard),
    }


def _printed(source: Path, *command: str) -> dict[str, list[str]]:
    """The rows that a version's own benchmark prints, by their first cells."""
    environment = {**os.environ, "PYTHONPATH": f"{source}:{source.parent}"}
    run = [compare.PROGRAM[0], "-m", *command]
    done = subprocess.run(run, cwd=source.parent, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stderr.strip().splitlines()[-1:]}")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    return {row[0]: row[1:] for row in rows if row}


def _faults(source: Path, _: float) -> Figures:
    clusters.SOCKETIO_STREAMS.prepare()  # installs what the clients import
    nodes = _of_version(clusters.OURS, source)
    killed = cluster_faults.suffer(nodes, cluster_faults.FAULTS[0])
    emptied = cluster_faults.suffer(nodes, cluster_faults.FAULTS[-1])
    return {
        "a node killed: its members are gone after, s": killed["gone"],
        "a node killed: messages lost without a report": killed["unreported"],
        "Redis back empty after 1 s: longest silence, s": emptied["silence"],
        "Redis back empty: messages lost without a report": emptied["unreported"],
    }


def _cpu(outcome: Outcome) -> float:
    return outcome.cpu_us


def _engine(outcome: Outcome) -> float:
    return outcome.engine_us


def _p50(outcome: Outcome) -> float:
    return outcome.latency.percentile(0.5)


def _p99(outcome: Outcome) -> float:
    return outcome.latency.percentile(0.99)


def _messages(outcome: Outcome) -> float:
    """Each reaches both of a room."""
    return outcome.rate / 2


MEASURES: dict[str, Measure] = {
    **{name: _workload(workload, figures) for name, (workload, figures) in compare.FIGURES.items()},
    "natural": _workload(NATURAL, [("1 → 1,000, 15 messages/s, µs CPU", _cpu)]),
    "hotpath": _hotpath,
    "sqlite": _row_changes(SQLITE),
    "postgresql": _row_changes(POSTGRES),
    "nodes": _nodes,
    "lone": _lone_messages,
    "persisted": _persisted,
    "journal": _journal,
    "faults": _faults,
}


@contextmanager
def sources(version: str) -> Iterator[Path]:
    """The sources of a commit of this repository, or those of a checkout."""
    if Path(version).is_dir():
        yield Path(version).resolve() / "src"
        return
    command = ["git", "-C", str(ROOT), "archive", version, "src", "bench", "tests"]
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
            except (NotStarted, Failed, changes.Wrong, RuntimeError, TimeoutError) as reason:
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
        cells = ("–" if each is None else f"{each:,.2f}" for each in pair)
        rows.append([title, *cells, ratio, BUDGETS.get(title, "")])
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
    with_nodes = WITH_NODES if chosen.version == COMMIT else chosen.version
    with sources(chosen.version) as before, sources(with_nodes) as nodes_before, started():
        for name in chosen.only or MEASURES:
            os.sched_setaffinity(0, {LOAD_CORE} if name in ON_LOAD_CORE else cores)
            versions = {"before": nodes_before if name in OF_NODES else before, "after": ROOT / "src"}
            rows += measured(name, versions, 1 if name in ONCE else chosen.rounds, chosen.seconds)
    minutes = (monotonic() - began) / 60
    text = table(["", "before", "after", "after / before", "budget"], rows)
    text += f"\n\nBefore is {chosen.version}, and {with_nodes} for the rows of two nodes and of the journal. "
    text += f"(The middle one of {chosen.rounds} rounds each, but one round for the journal and what is killed; "
    text += f"{minutes:.0f} minutes; {'; '.join(machine)}.)"
    print(text)
    if chosen.publish:
        summary.write(summary.PERFORMANCE, "python -m bench.before", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
