"""Thirty players for the game: `python examples/game/bots.py [http://127.0.0.1:8787] [30]`.

Each has a connection of its own, like a browser. All of them are one asyncio program: a task per player that flies
to the nearest balloon, and one live table of the balloons for all.
"""

import asyncio
import contextlib
import math
import os
import random
import sys
from typing import Any

from aerostack_realtime import Aerostack, LiveTable, RealtimeClient

SPEED = 0.16  # of the sky's width in a second
STEP_SECONDS = 0.1
REACH = 0.04
NAMES = [
    "Ada",
    "Bea",
    "Cleo",
    "Dora",
    "Emil",
    "Finn",
    "Gus",
    "Hugo",
    "Ida",
    "Jona",
    "Karl",
    "Lena",
    "Mika",
    "Nora",
    "Ole",
]
CATCH = """
    UPDATE balloons SET round = round + 1, player_id = ?, player_name = ?,
      x = 0.06 + abs(random() % 880) / 1000.0, y = 0.08 + abs(random() % 820) / 1000.0
    WHERE id = ? AND round = ?"""


class Bot:
    """Flies to the nearest balloon, and publishes where it is."""

    def __init__(self, number: int, client: RealtimeClient, game: Aerostack) -> None:
        self._id = f"bot-{number}"
        self._name = f"{NAMES[number % len(NAMES)]} {number // len(NAMES) + 1}"
        self._client = client
        self._game = game
        self._x, self._y = random.uniform(0.1, 0.9), random.uniform(0.1, 0.9)
        self._speed = SPEED * random.uniform(0.6, 1.2)

    async def play(self, balloons: LiveTable) -> None:
        rest = {"userId": self._id, "name": self._name, "at": {"x": self._x, "y": self._y}}
        await self._client.channel("game/players").track(rest)
        positions = self._client.channel("game/positions")
        while True:
            await asyncio.sleep(STEP_SECONDS)
            nearest = min(balloons.values(), key=self._distance)
            if self._distance(nearest) < REACH:
                await self._game.db.query(CATCH, [self._id, self._name, nearest["id"], nearest["round"]])
            self._fly(nearest)
            await positions.publish("moved", {"id": self._id, "x": self._x, "y": self._y}, echo=False)

    def _distance(self, balloon: dict[str, Any]) -> float:
        return math.hypot(balloon["x"] - self._x, balloon["y"] - self._y)

    def _fly(self, towards: dict[str, Any]) -> None:
        way = min(1.0, self._speed * STEP_SECONDS / (self._distance(towards) or 1.0))
        self._x = round(self._x + (towards["x"] - self._x) * way, 4)
        self._y = round(self._y + (towards["y"] - self._y) * way, 4)


async def main(url: str, count: int) -> None:
    key = os.environ.get("AEROSTACK_SECRET_KEY", "ac_secret_dev")
    async with contextlib.AsyncExitStack() as stack:
        game = await stack.enter_async_context(Aerostack(url, api_key=key))
        balloons = await stack.enter_async_context(game.realtime.table("balloons"))
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                client = await stack.enter_async_context(RealtimeClient(url, user_id=f"bot-{number}"))
                tasks.create_task(Bot(number, client, game).play(balloons))
            sys.stdout.write(f"{count} players are in the sky\n")


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8787"
    players = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(address, players))
