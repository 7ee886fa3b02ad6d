"""The table of us and the peers, as Markdown; printed and written to RESULTS.md alike."""

from collections.abc import Callable, Sequence

from bench.contenders import Contender
from bench.generator import Outcome
from bench.suite import Results
from bench.workloads import Workload

Cell = Callable[[Outcome, Outcome | None], str]
"""The text for an outcome, given the outcome of the first contender (us) on the same work."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that also reads well as plain text."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join((line(head), line(rule), *(line(row) for row in rows)))


def _cpu(outcome: Outcome, ours: Outcome | None) -> str:
    ratio = f" ({outcome.cpu_us / ours.cpu_us:.1f}×)" if ours and ours is not outcome else ""
    return f"{outcome.cpu_us:.2f} µs{ratio}{_marks(outcome)}"


def _rate(outcome: Outcome, _: Outcome | None) -> str:
    return f"{outcome.rate:,.0f}{_marks(outcome)}"


def _latency(outcome: Outcome, _: Outcome | None) -> str:
    shares = (outcome.latency.percentile(share) for share in (0.5, 0.99, 0.999))
    return " / ".join(f"{value:.2f}" for value in shares) + _marks(outcome)


def _storm(outcome: Outcome, _: Outcome | None) -> str:
    return f"{outcome.connections / outcome.connect_s:,.0f}"


def _storm_cpu(outcome: Outcome, _: Outcome | None) -> str:
    return f"{outcome.connect_cpu_s / outcome.connections * 1e6:.0f} µs"


def _memory(outcome: Outcome, _: Outcome | None) -> str:
    return f"{outcome.memory / outcome.connections / 1024:.1f} KiB"


def _shares(outcome: Outcome, _: Outcome | None) -> str:
    return f"{outcome.server_share:.0%} / {outcome.own_share:.0%}"


def _marks(outcome: Outcome) -> str:
    return ("†" if outcome.bottleneck else "‡" if outcome.idle else "") + ("" if outcome.correct else " ✗")


class Report:
    """Turns results into text."""

    def __init__(self, results: Results, contenders: Sequence[Contender], about: Sequence[str]) -> None:
        self._results = results
        self._contenders = contenders
        self._about = about

    def text(self) -> str:
        """The whole report."""
        by_shape = {
            shape: [each for each in self._results.workloads if each.shape == shape]
            for shape in ("capacity", "latency", "half")
        }
        capacity, latency = by_shape["capacity"], by_shape["latency"] + by_shape["half"]
        parts = ["\n".join(f"- {line}" for line in self._about), self._versions()]
        if capacity:
            parts += [
                "## Server CPU per delivery, the server's core saturated\n\n"
                "User and system time of the whole process tree; in brackets relative to Aerostack Realtime.",
                self._table(capacity, _cpu),
                "## Deliveries per second on one core",
                self._table(capacity, _rate),
            ]
        if latency:
            parts += [
                "## Latency, ms: p50 / p99 / p99.9\n\n"
                "From the time at which a message was due until it reached each subscriber, including the"
                " generator's own cost. The wide workload is about half of what the slowest contender can do.",
                self._table(latency, _latency),
            ]
        if latency and by_shape["half"]:
            parts += ["At that rate, server CPU per delivery:", self._table(by_shape["half"], _cpu)]
        if capacity:
            parts += [self._connections(capacity), self._busy(capacity)]
        parts.append(self._notes())
        return "\n\n".join(part for part in parts if part) + "\n"

    def _versions(self) -> str:
        rows = [(each.name, self._results.versions[each.name]) for each in self._contenders]
        return "\n".join(f"- {name}: {version}" for name, version in rows)

    def _cell(self, workload: Workload, contender: Contender, cell: Cell) -> str:
        outcome = self._results.get(workload, contender)
        if outcome is None:
            return "–"
        return cell(outcome, self._results.get(workload, self._contenders[0]))

    def _table(self, workloads: Sequence[Workload], cell: Cell) -> str:
        head = ["", *(each.title for each in workloads)]
        rows = [
            [contender.name, *(self._cell(workload, contender, cell) for workload in workloads)]
            for contender in self._contenders
        ]
        return table(head, rows)

    def _connections(self, capacity: Sequence[Workload]) -> str:
        widest = max(capacity, key=lambda each: each.fields["channels"] * each.fields["subscribers"])
        head = ["", "connects/s", "server CPU per connect", "memory per connection"]
        rows = [
            [each.name, *(self._cell(widest, each, cell) for cell in (_storm, _storm_cpu, _memory))]
            for each in self._contenders
        ]
        count = widest.fields["channels"] * widest.fields["subscribers"]
        return (
            f"## Connections: a storm of {count:,}, until all are subscribed\n\n"
            "Memory is the growth of the tree's resident memory, per idle subscribed connection.\n\n"
            + table(head, rows)
        )

    def _busy(self, capacity: Sequence[Workload]) -> str:
        return (
            "## How busy the cores were: server / load generator\n\n"
            "† marks a figure that the generator limited (its core busy, the server's not): the rate could"
            " be higher, the CPU per delivery stands. ‡ marks one where neither core was busy with the work:"
            " other processes used them, or the two waited for each other.\n\n" + self._table(capacity, _shares)
        )

    def _notes(self) -> str:
        titles: dict[tuple[str, str], list[str]] = {}
        for (title, name), reason in self._results.reasons.items():
            titles.setdefault((name, reason), []).append(title)
        all_titles = len(self._results.workloads)
        lines = [
            f"- {name}{'' if len(which) == all_titles else ', ' + '; '.join(which)}: {reason}"
            for (name, reason), which in titles.items()
        ]
        wrong = [
            f"- ✗ {name}, {title}: {outcome.received:,} of {outcome.expected:,} delivered; {outcome.details}"
            for (title, name), outcome in self._results.outcomes.items()
            if not outcome.correct
        ]
        if not lines and not wrong:
            return "Every subscriber received every message, once and in order, in all runs."
        return "## Not measured, or not delivered\n\n" + "\n".join(lines + wrong)
