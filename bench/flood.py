"""A client that behaves beside one that floods, `python -m bench.flood`: its latency, flood by flood.

The server is `aerostack serve` with the limits it has by default. The client publishes a hundred messages a
second on one connection and hears them on another; what counts is the time from when a message was due to when
it was heard. Before each flood the same is measured without one, on the same server.
"""

import argparse
import asyncio
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import msgspec
import uvloop
from msgspec import Struct

from bench import proctree
from bench.load import websocket
from bench.load.flooder import KINDS, Cost
from bench.load.latency import Histogram
from bench.load.listener import listen
from bench.load.load_shape import Timetable
from bench.machine import LOAD_CORE, ROOT, describe
from bench.report import table
from bench.servers import Plan, Running, running, scratch

_RATE = 100.0
_WAIT_S = 30.0
_HEAD_S = 1.0
"""The flood has begun before the first message that counts."""
SETTINGS = """
secret_keys = ["ac_secret_for_the_flood"]
anonymous = true
[[channels]]
topic = "**"
subscribe = "anyone"
publish = "anyone"
presence = "anyone"
history = "anyone"
"""


class _Event(Struct):
    type: str
    data: int = -1


_decode = msgspec.json.Decoder(_Event).decode


class Calm(Struct, frozen=True):
    """What the client that behaves saw, and how busy the server was (share of a core)."""

    latency: Histogram
    share: float


def plan(directory: Path) -> Plan:
    """`aerostack serve`, closed to none."""
    (directory / "aerostack.toml").write_text(SETTINGS)
    command = ROOT / ".venv/bin/aerostack"
    serve = 'exec "$0" serve --config aerostack.toml 2>server.log'
    return Plan(
        ["sh", "-c", serve, str(command if command.exists() else "aerostack")],
        cwd=directory,
        environment={"AEROSTACK_PORT": "0", "AEROSTACK_DATABASE": str(directory / "flood.db")},
    )


async def behave(server: Running, seconds: float) -> Calm:
    """Publish and receive for `seconds`. Raises TimeoutError when a message does not come."""
    count = int(_RATE * seconds)
    start = monotonic() + _HEAD_S
    all_came = asyncio.get_running_loop().create_future()
    latency = Histogram()

    def heard(content: bytes, now: float) -> None:
        event = _decode(content)
        if event.type == "event":
            latency.add(now - start - event.data / _RATE)
            if event.data == count - 1:
                all_came.set_result(None)

    hearer = await listen(server.host, server.port, b'{"type":"subscribe","topic":"calm/room"}', heard)
    speaker = await listen(server.host, server.port, None, lambda _content, _now: None)

    def say(number: int) -> None:
        speaker.send(websocket.encode(b'{"type":"publish","topic":"calm/room","event":"m","data":%d}' % number))

    before, began = proctree.cpu_seconds(server.pid), monotonic()
    await Timetable(start, _RATE, count, say).run()
    await asyncio.wait_for(all_came, _WAIT_S)
    share = (proctree.cpu_seconds(server.pid) - before) / (monotonic() - began)
    hearer.close()
    speaker.close()
    return Calm(latency, share)


async def beside(kind: str, server: Running, seconds: float) -> tuple[Calm, Cost]:
    """The same, while it is flooded from first to last."""
    command = ["nice", "-n", "19", sys.executable, "-m", "bench.load.flooder", kind, server.host, str(server.port)]
    flooder = await asyncio.create_subprocess_exec(
        *(*command, str(seconds + 2 * _HEAD_S), str(LOAD_CORE)), cwd=ROOT, stdout=subprocess.PIPE
    )
    calm = await behave(server, seconds)
    output, _ = await flooder.communicate()
    return calm, msgspec.json.decode(output, type=Cost)


def measure(kind: str, seconds: float) -> tuple[Calm, Calm, Cost]:
    """Without the flood, with it, and the flood's result; on a server of its own."""
    with (
        scratch() as directory,
        running(plan(directory), directory) as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        quiet = runner.run(behave(server, seconds))
        return quiet, *runner.run(beside(kind, server, seconds))


def row(kind: str, quiet: Calm, flooded: Calm, cost: Cost, seconds: float) -> list[str]:
    ends = (
        ", ".join(f"{count:,}× {end}" for end, count in sorted(cost.ends.items(), key=lambda each: -each[1])[:3])
        or "held"
    )
    return [
        kind,
        *(f"{calm.latency.percentile(share):.2f}" for share in (0.5, 0.99) for calm in (quiet, flooded)),
        f"{flooded.share:.0%}",
        f"{cost.connections / seconds:,.0f}",
        f"{cost.sent / seconds / 2**20:,.1f}",
        ends,
    ]


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    arguments.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    chosen = arguments.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    print("\n".join(describe()), end="\n\n")
    head = ["flood", "p50, ms: quiet", "flooded", "p99, ms: quiet", "flooded", "core busy", "connections/s"]
    head += ["MiB/s sent", "ended by"]
    rows = [row(kind, *measure(kind, chosen.seconds), chosen.seconds) for kind in chosen.kinds or KINDS]
    print(table(head, rows))


if __name__ == "__main__":
    main()
