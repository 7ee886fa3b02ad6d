"""`python -m bench`: us and the peers on the same work, then the shorter benchmarks.

It writes RESULTS.md and, unless peers are left out, README's table. `--quick`: under a minute, and nothing is
written.
"""

import argparse
import signal
import sys
from time import monotonic
from types import FrameType

from bench import parts, summary
from bench.contenders import CONTENDERS, FASTAPI, OURS, PYTHON_SOCKETIO, SOCKETIO, WS
from bench.machine import BENCH, describe
from bench.report import Report
from bench.suite import Suite
from bench.workloads import CAPACITY, FANOUT, KILOBYTE, LARGE, NATURAL, ONE_TO_ONE, ROOMS, shortened

_QUICK_S = 2.0
_CAPACITY_S = 3.0
_LATENCY_S = 5.0
BUDGET_S = 870.0
"""For everything: parts that would begin later are left out."""
_LARGER = (KILOBYTE, LARGE)
"""Left out for contenders that are far behind in all other workloads."""


def main() -> int:
    """Measure, print, write; 1 when a message was lost, repeated or out of order anywhere."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _end)
    about, began = describe(), monotonic()
    if arguments.quick:
        suite = Suite((OURS, WS, SOCKETIO))
        suite.run(shortened(each, _QUICK_S) for each in (FANOUT, ROOMS, ONE_TO_ONE))
        print(Report(suite.results, suite.contenders, about).text())
        return 0 if suite.correct else 1
    chosen = [each for each in CONTENDERS if not arguments.only or each.name in (OURS.name, *arguments.only)]
    far_behind = (SOCKETIO, PYTHON_SOCKETIO, FASTAPI)
    suite = Suite(chosen, arguments.rounds, {each.name: _LARGER for each in far_behind})
    suite.run(shortened(each, _CAPACITY_S) for each in CAPACITY)
    suite.run(shortened(each, _LATENCY_S) for each in (ONE_TO_ONE, NATURAL))
    budget = arguments.minutes * 60
    found = parts.run(parts.PARTS, began + budget) if arguments.parts else []
    text = Report(suite.results, suite.contenders, about).text()
    text += f"\n{parts.report(found)}\n\nThe whole run took {(monotonic() - began) / 60:.1f} minutes.\n"
    print(text)
    _write(text)
    if chosen == list(CONTENDERS):
        summary.write(summary.README, "make bench", summary.table_of(suite.results, suite.contenders))
    return 0 if suite.correct else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ws and Socket.IO only, short, nothing is written")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is done; the middle one counts")
    parser.add_argument("--only", action="append", help="a peer's name (may be repeated)")
    parser.add_argument(
        "--minutes", type=float, default=BUDGET_S / 60, help="parts that would begin later are left out"
    )
    parser.add_argument("--no-parts", dest="parts", action="store_false", help="the peers' workloads alone")
    return parser.parse_args()


def _write(text: str) -> None:
    head = "# Measured side by side\n\nWritten by `make bench`; the method is in [README.md](README.md).\n\n"
    (BENCH / "RESULTS.md").write_text(head + text)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
