"""`python -m tests.faults.moments`: how long others notice a killed node, and a failover by the Sentinels."""

import asyncio
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.channel import Channel
from aerostack_realtime.sdk.payload import Payload
from tests.faults.child import SECRET_KEY
from tests.faults.postgres import Postgres
from tests.faults.server import Server
from tests.redis import RedisServer, WatchedRedis

ROUNDS = 5
TOPIC = "moments/room"
PUBLISH_SECONDS = 0.02


def client(server: Server) -> Aerostack:
    return Aerostack(f"http://127.0.0.1:{server.port}", api_key=SECRET_KEY)


async def departure(doomed: Server, other: Server, number: int) -> float:
    """Seconds from `kill -9` of a node until a subscriber of another node receives the leave of its member."""
    left: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    member = f"member-{number}"

    def handle(payload: Payload) -> None:
        if payload.user_id == member and not left.done():
            left.set_result(time.monotonic())

    async with client(other) as watching, client(doomed) as present:
        channel = watching.realtime.channel(TOPIC)
        channel.on("presence:leave", handle)
        joined = asyncio.Event()
        channel.on("presence:join", lambda _: joined.set())
        await channel.subscribe()
        mine = present.realtime.channel(TOPIC)
        await mine.subscribe()
        await mine.track({"userId": member})
        await joined.wait()
        killed = time.monotonic()
        await doomed.end(signal.SIGKILL)
        return await left - killed


async def silence(watched: WatchedRedis, publisher: Server, listener: Server) -> float:
    """Seconds from the promotion of the replica until an event of one node reaches a subscriber of another."""
    heard: list[float] = []
    async with client(publisher) as publishing, client(listener) as listening:
        channel = listening.realtime.channel(TOPIC)
        following = asyncio.Event()

        def handle(_: Payload) -> None:
            heard.append(time.monotonic())
            following.set()

        channel.on("tick", handle)
        await channel.subscribe()
        mine = publishing.realtime.channel(TOPIC)
        ticks = asyncio.create_task(publish_all_the_time(mine))
        await asyncio.to_thread(watched.await_complete)
        master, replica = watched.current, watched.other
        promoted = asyncio.create_task(asyncio.to_thread(promotion, watched, replica))
        await asyncio.to_thread(master.kill)
        at = await promoted
        following.clear()
        await following.wait()
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)
        await asyncio.to_thread(master.start)
        return next(each for each in heard if each > at) - at


def promotion(watched: WatchedRedis, replica: RedisServer) -> float:
    """When the replica became the master."""
    while not replica.is_master:
        time.sleep(0.01)
    promoted = time.monotonic()
    watched.await_master(replica)
    return promoted


async def publish_all_the_time(channel: Channel) -> None:
    """Publish without waiting for answers: while the journal is away they are refused."""
    async with asyncio.TaskGroup() as publishes:
        while True:
            publishes.create_task(_publish(channel))
            await asyncio.sleep(PUBLISH_SECONDS)


async def _publish(channel: Channel) -> None:
    with suppress(AerostackError):
        await channel.publish("tick", 0)


def made() -> Path:
    """A directory that PostgreSQL may look into, too."""
    place = Path(tempfile.mkdtemp(prefix="moments-"))
    place.chmod(0o755)
    return place


async def main() -> None:
    place = made()
    postgres = Postgres(place)
    watched = WatchedRedis()
    servers = [Server(place, postgres.address, None, f"node-{number}") for number in range(3)]
    try:
        for server in servers:
            server.backplane = watched.url
            await server.start()
        departures = []
        for number in range(ROUNDS):
            departures.append(await departure(servers[0], servers[1], number))
            await servers[0].start()
        say("kill -9 of a node until its member has left", departures)
        say(
            "promotion of the replica until the next event",
            [await silence(watched, servers[1], servers[2]) for _ in range(ROUNDS)],
        )
    finally:
        for server in servers:
            if server.port:
                await server.end(signal.SIGKILL)
        watched.remove()
        postgres.close()
        shutil.rmtree(place, ignore_errors=True)


def say(what: str, seconds: list[float]) -> None:
    each = ", ".join(f"{one:.2f}" for one in seconds)
    sys.stdout.write(f"{what}: median {median(seconds):.2f} s ({each})\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
