"""Notify a user, as a backend does: `python examples/notifications/backend.py amelia "The wind has turned"`.

The third argument is the server's address; the default is http://127.0.0.1:8787.
"""

import asyncio
import os
import sys
import time
from uuid import uuid4

from aerostack_realtime import Aerostack

INSERT = "INSERT INTO notifications (id, user_id, title, body, created_at) VALUES (?, ?, ?, ?, ?)"


async def notify(sdk: Aerostack, user_id: str, title: str, body: str) -> None:
    """Store a notification, and show it at once to a user who is connected."""
    id = str(uuid4())
    await sdk.db.query(INSERT, [id, user_id, title, body, int(time.time() * 1000)])
    await sdk.socket.emit("toast", {"id": id, "title": title, "body": body}, f"notifications/{user_id}")


async def main(user_id: str, body: str, url: str) -> None:
    key = os.environ.get("AEROSTACK_SECRET_KEY", "ac_secret_dev")
    async with Aerostack(url, api_key=key) as sdk:
        await notify(sdk, user_id, "From the tower", body)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("Usage: python examples/notifications/backend.py USER TEXT [URL]")
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "http://127.0.0.1:8787"))
