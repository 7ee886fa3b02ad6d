"""Tables that a benchmark writes into the pages of the project, each between two comments."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contenders import Contender
from bench.generator import Outcome
from bench.machine import ROOT
from bench.report import table
from bench.suite import Results
from bench.workloads import FANOUT, FANOUT_5000, NATURAL, ROOMS, SMALL_ROOMS, Workload

BEGIN = "<!-- written by `{}` -->"
END = "<!-- end -->"
README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs/performance.md"

Figure = Callable[[Outcome], float]


def _cpu(outcome: Outcome) -> float:
    return outcome.cpu_us


def _memory(outcome: Outcome) -> float:
    return outcome.memory / outcome.connections / 1024


def _connect(outcome: Outcome) -> float:
    return outcome.connect_cpu_s / outcome.connections * 1e6


ROWS: tuple[tuple[str, Workload, Figure, str], ...] = (
    ("1 → 1,000 subscribers, saturated", FANOUT, _cpu, "µs per delivery"),
    ("1 → 1,000 subscribers, 15 messages/s", NATURAL, _cpu, "µs per delivery"),
    ("100 rooms × 10, saturated", ROOMS, _cpu, "µs per delivery"),
    ("1,000 rooms × 2, saturated", SMALL_ROOMS, _cpu, "µs per delivery"),
    ("memory per idle connection", FANOUT_5000, _memory, "KiB"),
    ("CPU of a connect and subscription", FANOUT_5000, _connect, "µs"),
)
_SHORT = {"FastAPI broadcast loop": "FastAPI loop", "NATS over WebSocket": "NATS", "node ws": "node `ws`"}


def _number(value: float) -> str:
    """Two digits, more where the number has them."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def table_of(results: Results, contenders: Sequence[Contender]) -> str:
    """Ours as it is, and the others relative to ours."""
    ours, *others = contenders
    rows = []
    for title, workload, figure, unit in ROWS:
        own = results.get(workload, ours)
        cells = [title, "–" if own is None else f"{_number(figure(own))} {unit}"]
        for each in others:
            outcome = results.get(workload, each)
            cells.append("–" if outcome is None or own is None else _number(figure(outcome) / figure(own)))
        rows.append(cells)
    return table(["", "Aerostack", *(_SHORT.get(each.name, each.name) for each in others)], rows)


def renewed(text: str, command: str, rows: str) -> str:
    """The text with this table in place of the one between the comments of a command."""
    begin = BEGIN.format(command)
    before, _, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    assert end, f"the text has {begin} and {END}"
    return f"{before}{begin}\n\n{rows}\n\n{END}{after}"


def write(page: Path, command: str, rows: str) -> None:
    """Put a command's table into a page."""
    page.write_text(renewed(page.read_text(), command, rows))
