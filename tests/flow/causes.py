"""Every cause of docs/guides/explain.md, produced on real servers, with the question that it answers.

`tests/flow/test_causes.py` asks with `aerostack explain`. `python -m tests.flow.causes` produces them for the
browser test of the console: it prints the questions as a line of JSON, and ends with its standard input.
"""

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from msgspec import to_builtins

from aerostack_realtime import Aerostack, Payload
from aerostack_realtime.gateway.websocket.protocol import STALLED_BYTES
from tests.flow.cluster import Cluster
from tests.flow.conftest import SERVE_KEY, ServerProcess
from tests.flow.databases import Database, PostgresDatabases, SqliteFile
from tests.flow.scene import SETTINGS, TABLES, Asked, Scene, expected
from tests.flow.wire import PATIENCE_SECONDS, Wire
from tests.postgres import PostgresServer
from tests.redis import RedisServer

BIG: Final = "x" * 60_000
FILLING: Final = 250
"""Events of that size that no network takes for a client which does not read."""


# --- who was there -----------------------------------------------------------------------------------------


async def presence_of_users(scene: Scene) -> None:
    """One event, and users who were connected, subscribed, or neither."""
    sent = await scene.user("ann1")
    await sent.subscribe("open/lobby")
    await (await scene.user("ann3")).subscribe("open/lobbi")
    await (await scene.user("ann4")).subscribe("open/lobby/shop")
    left = await scene.user("ann5")
    await left.subscribe("open/lobby")
    await left.ask("unsubscribe", topic="open/lobby")
    later = await scene.user("ann6")
    await scene.user("ann7")
    gone = await scene.user("ann8")
    await gone.subscribe("open/lobby")
    await gone.close()
    await scene.send("open/lobby", "e1")
    await sent.hear("event", id="e1")
    await later.subscribe("open/lobby")
    await scene.user("ann9")
    await scene.refused("ann11", seconds=-300)
    await scene.refused("ann12", {"projectId": "shop"})
    for cause, user in {
        "it was sent": "ann1",
        "wrong spelling of the topic": "ann3",
        "subscribed in another project": "ann4",
        "not subscribed any more": "ann5",
        "not subscribed yet": "ann6",
        "not subscribed": "ann7",
        "connection closed by the client": "ann8",
        "not connected then": "ann9",
        "not connected, or connected to a server of another cluster": "ann10",
        "token expired, at the connection": "ann11",
        "connected to another project": "ann12",
    }.items():
        scene.ask(cause, topic="open/lobby", event="e1", user=user)
    scene.ask("published on another topic", topic="open/lobb", event="e1", user="ann7")
    scene.ask("not recorded", topic="open/lobby", event="unknown", user="ann1")


async def credentials(scene: Scene) -> None:
    expiring, revoked, other = (
        await scene.user("ann20"),
        await scene.user("ann21"),
        await scene.user("ann22"),
    )
    for wire in (expiring, revoked, other):
        await wire.subscribe("open/tokens")
    await _accept_token(expiring, scene, "ann20")
    await scene.revoke("ann21")
    assert (await revoked.ended()).code == 4403
    other.say("auth", token=scene.token("somebody-else"))
    assert (await other.ended()).code == 4401
    assert (await expiring.ended()).code == 4401
    await scene.send("open/tokens", "e1")
    for cause, user in (
        ("token expired", "ann20"),
        ("token revoked", "ann21"),
        ("token of another user", "ann22"),
    ):
        scene.ask(cause, topic="open/tokens", event="e1", user=user)
    scene.ask("why a connection ended", connection=revoked.connected["connectionId"])


async def _accept_token(wire: Wire, scene: Scene, user: str) -> None:
    """Change to a token that expires soon, and is valid when the server reads it."""
    wire.say("auth", token=scene.token(user, seconds=2))
    while (await wire.next())["type"] != "authenticated":
        wire.say("auth", token=scene.token(user, seconds=2))


async def _admitted(scene: Scene, user: str, topic: str) -> None:
    """Wait until the server has read a membership that is stored: the user may subscribe."""
    wire = await scene.user(user)
    while (await wire.ask("subscribe", topic=topic))["type"] != "subscribed":
        await scene.http.sql("SELECT 1")


async def rights(scene: Scene) -> None:
    await scene.http.sql("INSERT INTO members VALUES ('7', 'ann31'), ('7', 'ann39')")
    await _admitted(scene, "ann39", "rooms/7")
    refused = await scene.user("ann30", level=9, staff=False)
    assert (await refused.ask("subscribe", topic="chat/1"))["type"] == "error"
    member = await scene.user("ann31")
    await member.subscribe("rooms/7")
    await scene.http.sql("DELETE FROM members WHERE person = 'ann31'")
    await member.hear("unsubscribed")
    await scene.send("rooms/7", "e1")
    await scene.send("chat/1", "e1")
    await scene.user("ann32")
    scene.ask("subscription refused by a rule", topic="chat/1", event="e1", user="ann30")
    scene.ask("membership deleted a moment before", topic="rooms/7", event="e1", user="ann31")
    scene.ask("membership missing", topic="rooms/7", access="subscribe", user="ann32")
    scene.ask("no right now", topic="chat/1", access="subscribe", user="ann30")


async def publishes(scene: Scene) -> None:
    writer = await scene.user("bob")
    assert (await writer.ask("publish", topic="chat/2", event="m", data=1, id="e1"))["code"] == "forbidden"
    large = await writer.ask("publish", topic="open/limits", event="m", data="x" * 70_000, id="large")
    assert large["code"] == "too_large"
    for number in range(150):
        writer.say("publish", topic="open/limits", event="m", data=number, id=f"e{number}")
    refused = await writer.hear("error", code="rate_limited")
    scene.ask("publish refused by a rule", topic="chat/2", event="e1", user="ann7")
    scene.ask("publish refused for its size", topic="open/limits", event="large", user="ann7")
    scene.ask("publish refused by a rate limit", topic="open/limits", event=refused["id"], user="ann7")
    quiet = await scene.user("ann40")
    await quiet.subscribe("open/options", presence=False)
    await quiet.publish("open/options", 1, id="e1", echo=False)
    scene.ask("echo off", topic="open/options", event="e1", user="ann40")
    present = await scene.user("carl")
    await present.subscribe("open/options")
    await present.ask("track", topic="open/options", state={})
    joined = await present.hear("event")
    scene.ask("presence off", topic="open/options", event=joined["id"], user="ann40")


async def failing_handler(scene: Scene, on: AsyncExitStack) -> None:
    handled = asyncio.Event()

    def fail(_: Payload) -> None:
        handled.set()
        raise RuntimeError("the app's own")

    sdk = await on.enter_async_context(Aerostack(scene.server.url, token=scene.token("ann45")))
    channel = sdk.realtime.channel("open/handler")
    channel.on("message", fail)
    await channel.subscribe()
    await scene.send("open/handler", "e1")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await handled.wait()
    scene.ask("the client's handler failed", topic="open/handler", event="e1", user="ann45")


# --- slow clients and gaps ---------------------------------------------------------------------------------


async def slow_clients(scene: Scene) -> None:
    dropping, joining, closed = await scene.user("ann50"), await scene.user("ann51"), await scene.user("ann52")
    await dropping.subscribe("open/slow/two", slow="drop")
    await joining.subscribe("open/slow/two", slow="latest")
    await closed.subscribe("open/slow/two")
    await scene.send("open/slow/two", "first", persist=True)
    last = f"e{FILLING - 1}"
    for number in range(FILLING):
        await scene.send("open/slow/two", f"e{number}", BIG)
    await _until_closed(scene, closed.connected["connectionId"])
    scene.ask("slow, policy `drop`", topic="open/slow/two", event=last, user="ann50")
    scene.ask("slow, policy `latest`", topic="open/slow/two", event=f"e{FILLING - 2}", user="ann51")
    scene.ask("too slow for the log: closed", topic="open/slow/two", event="first", user="ann52")


async def unread_events(scene: Scene) -> None:
    waiting, unread = await scene.user("ann53"), await scene.user("ann54")
    for wire in (waiting, unread):
        await wire.subscribe("open/waiting")
    number = 0
    while any([await _waiting(scene, each) <= 2 * STALLED_BYTES for each in (waiting, unread)]):
        number += 1
        await scene.send("open/waiting", f"e{number}", BIG)
    unread.drop()
    await _until_closed(scene, unread.connected["connectionId"])
    scene.ask("still slow", topic="open/waiting", event=f"e{number}", user="ann53")
    scene.ask("the network ended with unread bytes", topic="open/waiting", event=f"e{number}", user="ann54")


async def _waiting(scene: Scene, wire: Wire) -> int:
    """How many bytes wait for a client."""
    _, found = await scene.http.get("/api/v1/realtime/explain", connection=wire.connected["connectionId"])
    return int(found["findings"][-1]["facts"]["waiting"])


async def _until_closed(scene: Scene, connection: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await scene.http.get("/api/v1/realtime/explain", connection=connection))[1]["code"] != "closed":
            pass


async def resumes(scene: Scene) -> None:
    first = await scene.user("ann60")
    cursor = (await first.subscribe("open/resumed"))["cursor"]
    short = await scene.user("ann61")
    begin = (await short.subscribe("open/resumed/two"))["cursor"]
    await first.close()
    await short.close()
    await scene.send("open/resumed", "e1")
    for number in range(3):
        await scene.send("open/resumed/two", f"short{number}")
    again = await scene.user("ann60")
    await again.subscribe("open/resumed", since=cursor)
    had = await again.hear("event", id="e1")
    assert (await (await scene.user("ann61")).subscribe("open/resumed/two", since=begin))["recovered"] is False
    await (await scene.user("ann62")).subscribe("open/resumed", since=had["cursor"])
    scene.ask("resumed later", topic="open/resumed", event="e1", user="ann60")
    scene.ask("gap by what `[[logs]]` keeps", topic="open/resumed/two", event="short0", user="ann61")
    scene.ask("the client had it before it resumed", topic="open/resumed", event="e1", user="ann62")


# --- rows --------------------------------------------------------------------------------------------------


async def rows(scene: Scene, shell: Callable[[str], Any]) -> None:
    sql = scene.http.sql
    await sql("INSERT INTO orders VALUES (1, 'bob', 'new', 0), (2, 'ann70', 'new', 0), (3, 'bob', 'new', 0)")
    ann, filtered, typed = await scene.user("ann70"), await scene.user("ann71"), await scene.user("ann72")
    await ann.subscribe("orders")
    await filtered.subscribe("orders", filter={"status": "paid"})
    await typed.subscribe("orders", filter={"id": "5"})
    await (await scene.user("ann73")).subscribe("bids")
    await sql("UPDATE orders SET owner = 'ann70' WHERE id = 1")
    await sql("UPDATE orders SET owner = 'bob' WHERE id = 2")
    await sql("UPDATE orders SET status = 'paid' WHERE id = 3")
    await sql("INSERT INTO orders VALUES (4, 'ann71', 'new', 0), (5, 'ann72', 'new', 0), (6, 'ann70', 'new', 0)")
    await sql("UPDATE orders SET margin = 987654 WHERE id = 6")
    await sql("INSERT INTO bids VALUES (1, 5)")
    await shell("SET session_replication_role = replica; INSERT INTO orders VALUES (7, 'ann70', 'new', 0)")
    while (await ann.hear("db_change"))["data"]["id"] != 7:
        pass
    for cause, row, user in (
        ("row rule false on the old row", "1", "ann70"),
        ("row rule false on the new row", "2", "ann70"),
        ("row rule false on both rows", "3", "ann70"),
        ("another filter", "4", "ann71"),
        ("a filter on a column of another type", "5", "ann72"),
        ("only hidden columns changed", "6", "ann70"),
        ("changed by `session_replication_role = replica`", "7", "ann70"),
    ):
        scene.ask(cause, topic="orders", row=row, user=user)
    scene.ask("row rule in CEL", topic="bids", row="1", user="ann73")


async def tables(scene: Scene, shell: Callable[[str], Any]) -> None:
    scene.ask("table that does not exist", topic="ordres", access="subscribe", user="ann80")
    scene.ask("table not watched", topic="unwatched", row="1", user="ann80")
    nobody = await scene.user("ann81")
    assert (await nobody.ask("subscribe", topic="scratch"))["type"] == "error"
    scene.ask("table that cannot be in the publication", topic="scratch", row="1", user="ann81")
    emptied, moved = await scene.user("ann82"), await scene.user("ann83")
    await emptied.subscribe("emptied")
    await moved.subscribe("moved")
    await scene.http.sql("INSERT INTO emptied VALUES (1)")
    await emptied.hear("db_change")
    await shell("TRUNCATE emptied")
    await emptied.hear("subscribed")
    await shell("ALTER PUBLICATION aerostack DROP TABLE moved; INSERT INTO moved VALUES (1)")
    await moved.hear("subscribed")
    scene.ask("TRUNCATE", topic="emptied", row="1", user="ann82")
    scene.ask("table was not in the publication", topic="moved", row="1", user="ann83")


# --- servers -----------------------------------------------------------------------------------------------


async def on_two_nodes(scene: Scene, cluster: Cluster, other_node: str) -> None:
    """Redis loses its data; then a user of one node is asked about on the other."""
    wire = await scene.user("ann90")
    await wire.subscribe("open/redis")
    await scene.send("open/redis", "e1")
    await wire.hear("event", id="e1")
    cluster.redis.kill()
    cluster.redis.forget_data()
    cluster.redis.start()
    assert (await wire.hear("subscribed"))["recovered"] is False
    for node in cluster.nodes:
        await cluster.until_ready(node.process)
    scene.ask("gap by Redis", topic="open/redis", event="e1", user="ann90")
    elsewhere = await scene.user("ann2", url=other_node)
    await elsewhere.subscribe("open/lobby")
    while (await scene.publish("open/lobby", "e1"))[0] == 503:
        pass  # the journal is being joined again
    await elsewhere.hear("event", id="e1")
    scene.ask("connected to another node", topic="open/lobby", event="e1", user="ann2")


async def restart(scene: Scene) -> None:
    wire = await scene.user("ann95")
    cursor = (await wire.subscribe("open/restart"))["cursor"]
    await scene.send("open/restart", "e1")
    await scene.server.kill()
    await scene.server.start()
    wire = await scene.user("ann95")
    assert (await wire.subscribe("open/restart", since=cursor))["recovered"] is False
    scene.ask("gap by a restart", topic="open/restart", event="e1", user="ann95")


async def restored_backup(scene: Scene, file: SqliteFile) -> None:
    backup = file.path.with_suffix(".backup")
    await file.write(f"VACUUM INTO '{backup}'")
    wire = await scene.user("ann96")
    await wire.subscribe("open/backup")
    await scene.send("open/backup", "e1")
    lost = (await wire.hear("event", id="e1"))["cursor"]
    await scene.server.terminate()
    file.restore(backup)
    await scene.server.start()
    wire = await scene.user("ann96")
    assert (await wire.subscribe("open/backup", since=lost))["recovered"] is False
    scene.ask("gap by a restored backup", topic="open/backup", event="e1", user="ann96")


async def produce(on: AsyncExitStack, place: Path, postgres: PostgresServer, redis: RedisServer) -> list[Asked]:
    """Start the servers, which run until `on` is closed, produce every cause, and return the questions."""
    config = place / "aerostack.toml"
    config.write_text(f'secret_keys = ["{SERVE_KEY}"]\n{SETTINGS}')
    databases = PostgresDatabases(postgres, f"causes{time.time_ns()}")
    on.callback(databases.close)
    database, file = databases.new(place), SqliteFile(place / "restored.db")
    await database.write(TABLES)

    def server(database: Database, log: Path, backplane: str | None = None) -> ServerProcess:
        process = ServerProcess(database, log, config, backplane)
        process.secret_key = SERVE_KEY
        return process

    shared = databases.new(place)
    await shared.write(TABLES)
    cluster = Cluster(shared, redis, place, lambda log, backplane, _: server(shared, log, backplane))
    on.push_async_callback(cluster.close)
    scenes: list[Scene] = []
    for name, each in (("main", database), ("restarted", SqliteFile(place / "restarted.db")), ("restored", file)):
        process = server(each, place / f"{name}.log")
        on.push_async_callback(process.close)
        scenes.append(Scene(process, cluster.http(process)))
    await asyncio.gather(*(each.server.start() for each in scenes))
    first, second = await cluster.start(2)
    scenes.append(Scene(first, cluster.http(first)))
    for scene in scenes:
        on.callback(scene.close)
    main, restarted, restored, clustered = scenes
    await asyncio.gather(
        on_two_nodes(clustered, cluster, second.url), restart(restarted), restored_backup(restored, file)
    )
    await asyncio.gather(
        presence_of_users(main),
        credentials(main),
        rights(main),
        publishes(main),
        failing_handler(main, on),
        rows(main, database.write),
        tables(main, database.write),
        unread_events(main),
        resumes(main),
    )
    await slow_clients(main)
    return [each for scene in scenes for each in scene.asked]


async def _main() -> None:
    logging.disable()  # one handler fails on purpose
    postgres, redis = PostgresServer.started(), RedisServer.started()
    try:
        with tempfile.TemporaryDirectory(prefix="causes-") as place:
            async with AsyncExitStack() as on:
                asked = await produce(on, Path(place), postgres, redis)
                scenario = {"key": SERVE_KEY, "asked": asked, "expected": expected()}
                print(json.dumps(to_builtins(scenario)), flush=True)  # noqa: T201
                await asyncio.to_thread(sys.stdin.read)
    finally:
        redis.remove()
        postgres.remove()


if __name__ == "__main__":
    asyncio.run(_main())
