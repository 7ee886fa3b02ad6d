"""What a connection costs: `python -m bench.connect`, a storm of connections, each with a subscription.

Ours is measured without a token, with one JWT for all, and with a JWT for each, beside NATS and Centrifugo, which
let everyone in here. CPU is the server's per connection: of a connect, from its first byte until all are
subscribed, and of an end, when all of them end at once. Tokens are signed beforehand.

`python -m bench.connect --before COMMIT` compares ours with an earlier commit or with another checkout, in turn.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from msgspec import Struct

from bench.before import COMMIT, sources, with_sources
from bench.contenders import CENTRIFUGO, NATS, OURS, Contender
from bench.generator import Failed, Outcome, run_workload
from bench.load.dialects import TOKEN_SECRET
from bench.machine import ROOT, describe
from bench.report import table
from bench.servers import NotStarted, Plan
from tests.flow.conftest import SERVE_KEY

CONNECTIONS = 5_000
ROUNDS = 3
LEAVE_S = 1.5
"""For how long the server's CPU is measured after all connections have ended."""
SETTINGS = f"""secret_keys = ["{SERVE_KEY}"]
token_secret = "{TOKEN_SECRET}"
[[channels]]
topic = "bench/**"
subscribe = "anyone"
publish = "anyone"
[limits]
connections_per_address = 0
connections_per_user = 0
connects_per_second = 0
"""


def _with_tokens(directory: Path) -> Plan:
    config = directory / "aerostack.toml"
    config.write_text(SETTINGS)
    begun = OURS.plan(directory)
    environment = {"AEROSTACK_PORT": "0", "AEROSTACK_DATABASE": str(directory / "bench.db")}
    return replace(begun, command=[begun.command[0], "serve", "--config", str(config)], environment=environment)


OF_OURS = (
    OURS,
    Contender(f"{OURS.name}, one JWT for all", "aerostack, one token", OURS.prepare, _with_tokens),
    Contender(f"{OURS.name}, a JWT each", "aerostack, a token each", OURS.prepare, _with_tokens),
)
CONTENDERS = (*OF_OURS, NATS, CENTRIFUGO)


class Costs(Struct, frozen=True):
    """CPU in µs, memory in KiB, each per connection; the middle ones of several storms."""

    connect: float
    rate: float
    end: float
    memory: float

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Costs":
        return cls(
            median(each.connect_cpu_s / each.connections * 1e6 for each in outcomes),
            median(each.connections / each.connect_s for each in outcomes),
            median(each.leave_cpu_s / each.connections * 1e6 for each in outcomes),
            median(each.memory / each.connections / 1024 for each in outcomes),
        )


def storm(contender: Contender, connections: int) -> Outcome:
    """Connect, subscribe and end. Raises NotStarted and Failed."""
    with contender.running() as server:
        return run_workload(
            contender.dialect,
            server,
            subscribers=connections,
            rate=1.0,
            warm_s=0.1,
            measure_s=0.5,
            leave_s=LEAVE_S,
        )


def report(connections: int, rounds: int) -> str:
    """The costs, the middle one of each, as a table."""
    found: dict[str, list[Outcome]] = {each.name: [] for each in CONTENDERS}
    reasons: dict[str, str] = {}
    for _ in range(rounds):
        for contender in CONTENDERS:
            try:
                found[contender.name].append(storm(contender, connections))
            except (NotStarted, Failed) as reason:
                reasons[contender.name] = str(reason)
    rows = []
    for name, outcomes in found.items():
        if not outcomes:
            rows.append([name, *"––––"])
            continue
        costs = Costs.of(outcomes)
        rows.append(
            [
                name,
                f"{costs.connect:.0f} µs",
                f"{costs.rate:,.0f}",
                f"{costs.end:.0f} µs",
                f"{costs.memory:.1f} KiB",
            ]
        )
    notes = "".join(f"\n\n{name}: {reason}" for name, reason in reasons.items())
    head = [f"{connections:,} connections", "CPU of a connect", "connects/s", "CPU of an end", "memory each"]
    return table(head, rows) + notes


def comparison(version: str, connections: int, rounds: int) -> str:
    """The costs of an earlier version of this server, those of this one, and their ratios, as a table.

    Raises NotStarted and Failed.
    """
    rows = []
    with sources(version) as before:
        for ours in OF_OURS:
            storms: tuple[list[Outcome], list[Outcome]] = ([], [])
            for _ in range(rounds):
                for outcomes, source in zip(storms, (before, ROOT / "src"), strict=True):
                    outcomes.append(storm(replace(ours, plan=with_sources(source, ours.plan)), connections))
            old, new = map(Costs.of, storms)
            for title, was, now in (
                ("CPU of a connect, µs", old.connect, new.connect),
                ("connects/s", old.rate, new.rate),
                ("CPU of an end, µs", old.end, new.end),
                ("memory, KiB", old.memory, new.memory),
            ):
                ratio = f"{now / was:.2f}" if was else "–"
                rows.append([f"{ours.name}: {title}", f"{was:,.1f}", f"{now:,.1f}", ratio])
    return table([f"{connections:,} connections", version, "now", "now / before"], rows)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.connect", description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is done; the middle one counts")
    parser.add_argument("--before", nargs="?", const=COMMIT, help="a commit, or the directory of a checkout")
    chosen = parser.parse_args()
    print("\n".join(describe()), end="\n\n", flush=True)
    if chosen.before is None:
        print(report(chosen.connections, chosen.rounds))
    else:
        print(comparison(chosen.before, chosen.connections, chosen.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
