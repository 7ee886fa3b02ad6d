"""Makes orders come in, for the dashboard: `python examples/traffic.py [http://127.0.0.1:8787]`.

This is also what a backend looks like that uses the Python SDK: it writes rows, which need no announcement, and
publishes figures, which do.
"""

import asyncio
import contextlib
import os
import random
import sys
import time

from aerostack_realtime import Aerostack

CUSTOMERS = ["Amelia", "Santos", "Bessie", "Louis", "Hélène", "Otto", "Jacqueline", "Charles"]
GOODS = [("Leather flying cap", 64.0), ("Silk scarf", 38.5), ("Pocket barometer", 129.0), ("Wool socks", 14.0)]
INSERT = "INSERT INTO orders (customer, item, total, status, created_at) VALUES (?, ?, ?, 'paid', ?)"


async def shop(sdk: Aerostack) -> None:
    while True:
        item, price = random.choice(GOODS)
        await sdk.db.query(INSERT, [random.choice(CUSTOMERS), item, price, int(time.time() * 1000)])
        await asyncio.sleep(random.uniform(0.2, 1.8))


async def measure(sdk: Aerostack) -> None:
    users = 120
    while True:
        users = max(40, users + random.randint(-6, 7))
        figures = {"activeUsers": users, "responseMs": 28 + users // 12 + random.randint(0, 9)}
        await sdk.socket.emit("metrics:update", figures, "dashboard/metrics", persist=True)
        await asyncio.sleep(1.5)


async def main(url: str) -> None:
    key = os.environ.get("AEROSTACK_SECRET_KEY", "ac_secret_dev")
    async with Aerostack(url, api_key=key) as sdk, asyncio.TaskGroup() as tasks:
        tasks.create_task(shop(sdk))
        tasks.create_task(measure(sdk))


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8787"
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(address))
