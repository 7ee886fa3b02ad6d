"""What clients lose while nodes and Redis are killed: `python -m bench.cluster_faults`.

Two nodes on one Redis, as in bench.cluster, which runs this, too, and the contenders' own client libraries behind
a load balancer (peers/cluster_clients.js): forty subscribers of one channel, a publisher with 200 messages/s, and
a member on the node that is killed. Nothing is pinned to a core. A message counts as lost for a subscriber if the
server acknowledged it to the publisher and the subscriber never received it; the loss is reported if the client
library reported any gap, or a recovery that failed, to the subscriber.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from bench.clusters import CENTRIFUGO_WITH_PRESENCE, OURS, SOCKETIO_STREAMS, Cluster
from bench.contenders import PEERS
from bench.databases import started
from bench.machine import describe
from bench.report import table
from bench.servers import NotStarted, Running
from bench.suite import say
from tests.redis import RedisServer

SUBSCRIBERS = 40
RATE = 200
BEFORE_S, AFTER_S = 3.0, 12.0
CONTENDERS = (OURS, CENTRIFUGO_WITH_PRESENCE, SOCKETIO_STREAMS)


@dataclass(frozen=True)
class Fault:
    """`inject` returns when it has passed."""

    name: str
    inject: Callable[[Running, RedisServer], None]


def _kill_node(server: Running, _: RedisServer) -> None:
    os.kill(server.pid, signal.SIGKILL)


def _stop_redis(_: Running, redis: RedisServer) -> None:
    os.kill(redis.pid, signal.SIGSTOP)
    time.sleep(5)
    os.kill(redis.pid, signal.SIGCONT)


def _empty_redis(_: Running, redis: RedisServer) -> None:
    redis.kill()
    time.sleep(1)
    redis.start()


FAULTS = (
    Fault("a node killed", _kill_node),
    Fault("Redis stopped for 5 s", _stop_redis),
    Fault("Redis killed, back empty after 1 s", _empty_redis),
)


def suffer(cluster: Cluster, fault: Fault) -> dict[str, Any]:
    """What the clients report of one fault."""
    with cluster.deployed() as (server, redis):
        ports = [str(server.port), *(str(node.port) for node in server.nodes)]
        command = ["node", "cluster_clients.js", cluster.dialect, *ports, str(SUBSCRIBERS), str(RATE)]
        clients = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            cwd=PEERS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert clients.stdin is not None
        assert clients.stdout is not None
        try:
            if clients.stdout.readline() != "ready\n":
                raise NotStarted("the clients ended")
            time.sleep(BEFORE_S)
            fault.inject(server, redis)
            time.sleep(AFTER_S)
            clients.stdin.write("\n")
            clients.stdin.flush()
            found: dict[str, Any] = json.loads(clients.stdout.readline())
            return found
        finally:
            clients.kill()
            clients.wait()
            clients.stdin.close()
            clients.stdout.close()


def _row(cluster: Cluster, fault: Fault, found: dict[str, Any]) -> list[str]:
    gone = found["gone"] if fault is FAULTS[0] else None
    counts = ("acknowledged", "refused", "unreported", "reported", "repeated")
    return [
        fault.name,
        cluster.name,
        *(f"{found[name]:,}" for name in counts),
        f"{found['silence']:.1f} s",
        "–" if gone is None else f"{gone:.1f} s" if gone >= 0 else f"> {AFTER_S:.0f} s",
    ]


def run(names: Collection[str] = ()) -> int:
    """Measure all contenders, or those named, and print the table; how much our clients lost without a report."""
    rows, losses = [], 0
    with started():
        for fault in FAULTS:
            for cluster in CONTENDERS:
                if names and cluster.name not in names:
                    continue
                say(f"{fault.name}: {cluster.name} … ")
                try:
                    found = suffer(cluster, fault)
                except NotStarted as reason:
                    say(f"{reason}\n")
                    continue
                say(f"{found}\n")
                rows.append(_row(cluster, fault, found))
                losses += found["unreported"] if cluster is OURS else 0
    head = ["fault", "", "acknowledged", "refused", "lost, unreported", "lost, reported", "repeated"]
    print(table([*head, "longest silence", "member gone after"], rows))
    return losses


def main() -> int:
    """Measure and print; 1 when our clients lost something without a report."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster_faults", description=__doc__)
    parser.add_argument("--only", action="append", help="a name of a cluster (may be repeated)")
    chosen = parser.parse_args()
    hardware, _, *software = describe()
    print("\n".join(f"- {line}" for line in (hardware, *software)), end="\n\n")
    return 1 if run(chosen.only or ()) else 0


if __name__ == "__main__":
    sys.exit(main())
