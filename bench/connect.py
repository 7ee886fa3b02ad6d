"""What a connection costs: `python -m bench.connect`, a storm of connections, each with a subscription.

Ours is measured without a token, with one JWT for all, and with a JWT for each, beside NATS and Centrifugo, which
let everyone in here. CPU is the server's per connection, from its first byte until all are subscribed.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.contenders import CENTRIFUGO, NATS, OURS, Contender
from bench.generator import Failed, Outcome, run_workload
from bench.load.dialects import TOKEN_SECRET
from bench.machine import describe
from bench.report import table
from bench.servers import NotStarted, Plan
from tests.flow.conftest import SERVE_KEY

CONNECTIONS = 5_000
ROUNDS = 3
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


CONTENDERS = (
    OURS,
    Contender(f"{OURS.name}, one JWT for all", "aerostack, one token", OURS.prepare, _with_tokens),
    Contender(f"{OURS.name}, a JWT each", "aerostack, a token each", OURS.prepare, _with_tokens),
    NATS,
    CENTRIFUGO,
)


def storm(contender: Contender, connections: int) -> Outcome:
    """Connect and subscribe. Raises NotStarted and Failed."""
    with contender.running() as server:
        return run_workload(
            contender.dialect, server, subscribers=connections, rate=1.0, warm_s=0.1, measure_s=0.5
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
            rows.append([name, "–", "–", "–"])
            continue
        costs = [each.connect_cpu_s / each.connections * 1e6 for each in outcomes]
        rates = [each.connections / each.connect_s for each in outcomes]
        memory = [each.memory / each.connections / 1024 for each in outcomes]
        rows.append([name, f"{median(costs):.0f} µs", f"{median(rates):,.0f}", f"{median(memory):.1f} KiB"])
    notes = "".join(f"\n\n{name}: {reason}" for name, reason in reasons.items())
    return table([f"{connections:,} connections", "CPU each", "connects/s", "memory each"], rows) + notes


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.connect", description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each is done; the middle one counts")
    chosen = parser.parse_args()
    print("\n".join(describe()), end="\n\n", flush=True)
    print(report(chosen.connections, chosen.rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
