"""What the hot path does per message, step by step: `python -m bench.hotpath` prints µs of CPU each.

Each step is run alone, in this process, on the objects it gets in the server; the best of five rounds counts,
since whatever disturbs a round only adds to it.
"""

import time
from collections.abc import Callable

import msgspec

from aerostack_realtime.access.rows import Scope
from aerostack_realtime.backplane.base import Accepted
from aerostack_realtime.channels.audience import Audience
from aerostack_realtime.channels.budget import Budget
from aerostack_realtime.channels.clock import HybridClock
from aerostack_realtime.channels.log import Bounds, Log
from aerostack_realtime.gateway.framing import Framing
from aerostack_realtime.protocol import frames, messages, topics
from aerostack_realtime.protocol.errors import AerostackError
from bench.load import websocket
from bench.report import table

TIMES = 50_000
ROUNDS = 5
TOPIC = "bench/rooms-17/default"
DATA = msgspec.Raw(b'{"n":123456,"text":"' + b"x" * 80 + b'"}')
COMMAND = b'{"type":"publish","topic":"bench/rooms-17","event":"m","data":' + bytes(DATA) + b"}"

COMING = websocket.encode(COMMAND)


class Nowhere:
    """A subscriber whose socket takes everything: what is left is our own cost."""

    connection_id = "c"

    def write(self, data: bytes) -> None:
        """As a transport's."""

    def buffered(self) -> int:
        return 0

    def overflow(self) -> None:
        raise AssertionError("it takes everything")

    def deny(self, topic: str, reason: AerostackError) -> None:
        raise AssertionError(f"no rule fails on {topic}: {reason}")

    def scope(self, table: str) -> Scope:
        raise AssertionError(f"{table} is no table here")


def cost(step: Callable[[], object], per: int = 1) -> float:
    """µs of CPU for one of `per` things that `step` does."""
    best = min(_round(step) for _ in range(ROUNDS))
    return best / TIMES / per * 1e6


def _round(step: Callable[[], object]) -> float:
    begin = time.process_time()
    for _ in range(TIMES):
        step()
    return time.process_time() - begin


def steps() -> list[tuple[str, float]]:
    """Every step of a publish to ten subscribers, in its order."""
    clock = HybridClock(lambda: time.time_ns() // 1000, 0, 2**62, lambda _: None)
    framing = Framing(128)
    log = Log(0, Bounds(), Budget(1 << 28))
    audience = Audience(lambda _: None, 1 << 20, lambda _: None)
    for _ in range(10):
        audience.add(Nowhere(), presence=True)
    position = clock.next()
    event = Accepted(TOPIC, "m", DATA, None, f"{position:x}", position // 1000, position)
    message = messages.Event(TOPIC, "m", DATA, position // 1000, f"{position:x}", f"3f9a.{position}")
    payload = messages.encode(message)
    frame = frames.text(payload)

    def deliver() -> None:
        audience.append(frame)
        audience.flush()

    nothing = cost(lambda: None)
    found = [
        ("the client's framing", cost(lambda: framing.feed(COMING))),
        ("decode the command, its payload untouched", cost(lambda: messages.decode_command(COMMAND))),
        ("canonical topic (remembered)", cost(lambda: topics.canonical("bench/rooms-17", "default"))),
        ("position: the hybrid clock", cost(clock.next)),
        ("the accepted event", cost(lambda: Accepted(*msgspec.structs.astuple(event)))),
        ("encode the event, once for all", cost(lambda: messages.encode(message))),
        ("WebSocket header", cost(lambda: frames.text(payload))),
        ("the channel's log", cost(lambda: log.append(clock.next(), frame)) - cost(clock.next)),
        ("buffer and flush to 10 subscribers, each", cost(deliver, per=10)),
    ]
    return [(name, max(0.0, each - nothing)) for name, each in found]


if __name__ == "__main__":
    print(table(["step", "µs"], [[name, f"{each:.2f}"] for name, each in steps()]))
