"""Writes a run into the table of docs/internals/reliability.md, between its markers."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import apsw

from tests.faults.run import Result
from tests.postgres import binaries

PAGE: Final = Path(__file__).parents[2] / "docs" / "internals" / "reliability.md"
BEGIN: Final = "<!-- runs: written by `python -m tests.faults --publish` -->"
END: Final = "<!-- end of runs -->"
HEAD: Final = (
    "| date | database, seed | faults | acknowledged messages | acknowledged row changes | handled | anomalies "
    "| time |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def publish(result: Result, command: str) -> None:
    """Add a row for the run."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    rows = [line for line in table.splitlines() if line.startswith("| 20")]
    PAGE.write_text(f"{before}{BEGIN}\n{HEAD}" + "\n".join([*rows, _row(result, command)]) + f"\n{END}{after}")


def _row(result: Result, command: str) -> str:
    kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(result.faults.items()))
    missing = f"; not run: {', '.join(result.not_run)}" if result.not_run else ""
    anomalies = "; ".join(f"{each.kind} × {each.count} ({each.where})" for each in result.anomalies) or "0"
    machine = (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"Node {_node()}, commit {_commit()}"
    )
    return (
        f"| {time.strftime('%Y-%m-%d')} | {_database(result)}, {result.options.seed}: `{command}` ({machine}) "
        f"| {result.faults.total()}: {kinds}{missing} | {result.messages:,} | {result.changes:,} "
        f"| {result.handled:,} | {anomalies} | {result.seconds / 60:.1f} min |"
    )


def _database(result: Result) -> str:
    if result.options.database == "sqlite":
        return f"SQLite {apsw.sqlite_lib_version()}"
    said = subprocess.run(
        [binaries() / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    redis = "Redis with Sentinels" if result.options.sentinel else "Redis"
    nodes = "" if result.options.nodes == 1 else f", {result.options.nodes} nodes on {redis}"
    return f"PostgreSQL {said.split()[2]}{nodes}"


def _node() -> str:
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _commit() -> str:
    command = ["git", "-C", str(PAGE.parent), "rev-parse", "--short", "HEAD"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return said or f"unknown, at {sys.prefix}"
