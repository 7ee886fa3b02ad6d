"""`python -m tests.outage --seconds 3600`: the line to PostgreSQL is interrupted for as long."""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from tests.outage.run import Kind, Options, Report, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the line is away")
    parser.add_argument(
        "--kind", choices=get_args(Kind), default="closed", help="reset, or swallowed without an end"
    )
    parser.add_argument("--rate", type=float, default=50.0, help="rows written per second")
    parser.add_argument("--burst", type=int, default=250_000, help="rows of one transaction in the midst of it")
    parser.add_argument("--published", type=float, default=0.5, help="messages published per second")
    asked = parser.parse_args()
    options = Options(asked.seconds, asked.kind, asked.rate, asked.burst, asked.published)
    _say(f"the line is {options.kind} for {options.seconds:.0f} s")
    with tempfile.TemporaryDirectory(prefix="outage-") as place:
        report = asyncio.run(run(Path(place), options))
    for line in lines(report):
        _say(line)
    return 1 if report.wrong else 0


def lines(report: Report) -> Iterator[str]:
    """The report in lines."""
    before, during, after = report.before, report.outage, report.after
    yield f"{report.rows} rows, {report.missed} of them while the line was away; {report.messages} messages"
    yield f"asked of the server: {dict(sorted(report.outcomes.items()))}"
    yield f"slowest 'unavailable' after {report.slowest_refusal:.2f} s"
    yield "noticed " + ("never" if report.noticed is None else f"after {report.noticed:.2f} s")
    yield f"caught up {report.caught_up:.1f} s after the line was back"
    yield f"the reader that was away, {report.came_back:.1f} s after its own line was back"
    yield (
        f"server's memory in MiB: {before.memory:.0f} before, at most {report.peak_outage:.0f} meanwhile and "
        f"{report.peak_after:.0f} after it, {after.memory:.0f} at the end"
    )
    yield f"server's CPU: {during.cpu - before.cpu:.1f} s meanwhile, {after.cpu - during.cpu:.1f} s after it"
    yield f"time of ephemeral messages: at most {report.off:.1f} s off"
    yield f"{len(report.said)} lines in the server's log meanwhile:"
    for text, count in Counter(line[24:200] for line in report.said).most_common(10):
        yield f"  {count} × {text}"
    for wrong in report.wrong[:20]:
        yield f"WRONG: {wrong}"
    yield f"{len(report.wrong)} anomalies"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
