"""Runs workloads on contenders and keeps every outcome, and for what could not be run the reason."""

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.contenders import Contender
from bench.generator import Failed, Outcome, run_workload
from bench.servers import NotStarted
from bench.workloads import Workload


@dataclass
class Results:
    """By workload title and contender name."""

    workloads: list[Workload] = field(default_factory=list)
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def get(self, workload: Workload, contender: Contender) -> Outcome | None:
        """The outcome, None where there is a reason instead."""
        return self.outcomes.get((workload.title, contender.name))


class Suite:
    """A run over `contenders`; each workload is done by all of them in turn, each time by a fresh server.

    With several rounds the one in the middle counts (by CPU per delivery, or by median latency). `omitted` are
    workloads that contenders, by their names, are not measured on.
    """

    def __init__(
        self,
        contenders: Sequence[Contender],
        rounds: int = 1,
        omitted: Mapping[str, Sequence[Workload]] = {},
    ) -> None:
        self._rounds = rounds
        self._omitted = {(each.title, name) for name, workloads in omitted.items() for each in workloads}
        self.contenders = contenders
        self.results = Results()
        for contender in contenders:
            try:
                self.results.versions[contender.name] = contender.prepare()
            except NotStarted as reason:
                self.results.versions[contender.name] = f"not started: {reason}"

    @property
    def correct(self) -> bool:
        """Whether every message was delivered once and in order."""
        return all(each.correct for each in self.results.outcomes.values())

    def run(self, workloads: Iterable[Workload]) -> None:
        """Do each workload."""
        for workload in workloads:
            self.results.workloads.append(workload)
            rounds: dict[str, list[Outcome]] = {}
            for _ in range(self._rounds):
                for contender in self.contenders:
                    outcome = self._once(workload, contender)
                    if outcome is not None:
                        rounds.setdefault(contender.name, []).append(outcome)
            for name, outcomes in rounds.items():
                self.results.outcomes[workload.title, name] = _middle(outcomes)

    def _once(self, workload: Workload, contender: Contender) -> Outcome | None:
        key = workload.title, contender.name
        if key in self.results.reasons or key in self._omitted:
            return None
        say(f"{workload.title}: {contender.name} … ")
        try:
            with contender.running() as server:
                outcome = run_workload(contender.dialect, server, **workload.fields)
        except (NotStarted, Failed) as reason:
            self.results.reasons[key] = str(reason)
            say(f"{reason}\n")
            return None
        say(f"{outcome.rate:,.0f} deliveries/s{'' if outcome.correct else ', NOT ALL DELIVERED IN ORDER'}\n")
        return outcome


def _middle(outcomes: list[Outcome]) -> Outcome:
    closed = outcomes[0].job.window > 0
    figures = [each.cpu_us if closed else each.latency.percentile(0.5) for each in outcomes]
    return outcomes[figures.index(statistics.median_low(figures))]


def say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
