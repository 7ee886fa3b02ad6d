"""Is present through one connection to each node, of which one always stands: it must never seem to leave."""

import asyncio
from contextlib import AsyncExitStack

from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.backoff import Backoff
from tests.faults.child import PEOPLE, SECRET_KEY, Role, role, tell, told_to_finish


async def run(part: Role) -> None:
    async with AsyncExitStack() as clients:
        for url in part.url.split(","):
            sdk = await clients.enter_async_context(Aerostack(url, api_key=SECRET_KEY, backoff=Backoff(0.05, 0.4)))
            channel = sdk.realtime.channel(PEOPLE)
            await channel.subscribe()
            await channel.track({"userId": part.name, "life": part.life})
        tell("ready")
        await told_to_finish()
        tell("done")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(role()))
