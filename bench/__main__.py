"""`python -m bench`: us and the peers on the same work; writes RESULTS.md. `--quick`: under a minute."""

import argparse
import signal
import sys
from types import FrameType

from bench.contenders import CONTENDERS, OURS, SOCKETIO, WS
from bench.machine import BENCH, describe
from bench.report import Report
from bench.suite import Suite
from bench.workloads import CAPACITY, FANOUT, ONE_TO_ONE, ROOMS, half, shortened

_QUICK_S = 2.0


def main() -> int:
    """Measure, print, write; 1 when a message was lost, repeated or out of order anywhere."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _end)
    about = describe()
    if arguments.quick:
        suite = Suite((OURS, WS, SOCKETIO))
        suite.run(shortened(each, _QUICK_S) for each in (FANOUT, ROOMS, ONE_TO_ONE))
    else:
        chosen = [each for each in CONTENDERS if not arguments.only or each.name in (OURS.name, *arguments.only)]
        suite = Suite(chosen, arguments.rounds)
        suite.run((*CAPACITY, ONE_TO_ONE))
        rates = [each.rate for (title, _), each in suite.results.outcomes.items() if title == FANOUT.title]
        if rates:
            suite.run([half(min(rates))])
    text = Report(suite.results, suite.contenders, about).text()
    print(text)
    if not arguments.quick:
        _write(text)
    return 0 if all(each.correct for each in suite.results.outcomes.values()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ws and Socket.IO only, short, nothing is written")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is done; the middle one counts")
    parser.add_argument("--only", action="append", help="a peer's name (may be repeated)")
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
