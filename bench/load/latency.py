"""Latencies as counts, so that those of several processes can be added."""

from collections.abc import Iterable


class Histogram:
    """Counts of latencies in µs, kept to three digits (rounded down, an error below 1 %)."""

    def __init__(self, counts: dict[str, int] | None = None) -> None:
        self.counts: dict[int, int] = {int(value): count for value, count in (counts or {}).items()}

    def add(self, seconds: float, count: int = 1) -> None:
        """Record `count` latencies of `seconds`."""
        value = max(0, round(seconds * 1e6))
        scale = 1
        while value >= 1000 * scale:
            scale *= 10
        value = (value // scale) * scale
        self.counts[value] = self.counts.get(value, 0) + count

    def merge(self, others: Iterable["Histogram"]) -> "Histogram":
        """Add what `others` hold."""
        for other in others:
            for value, count in other.counts.items():
                self.counts[value] = self.counts.get(value, 0) + count
        return self

    def percentile(self, share: float) -> float:
        """The latency in ms that `share` (0 … 1) of all stayed within; NaN when there are none."""
        due = share * sum(self.counts.values())
        seen = 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= due:
                return value / 1000
        return float("nan")

    def dump(self) -> dict[str, int]:
        """The form in a report."""
        return {str(value): count for value, count in self.counts.items()}
