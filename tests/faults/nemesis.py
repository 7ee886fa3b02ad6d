"""Carries out faults on a stage, one after another, each healed before the next but not yet recovered from."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from aerostack_realtime.backplane.memory import RESERVE_US
from aerostack_realtime.protocol.errors import AerostackError
from tests.faults.hosts import CABLES, Direction
from tests.faults.journal import Journal
from tests.faults.plan import LONGEST_PAUSE, Fault, FaultKind, of_database
from tests.faults.postgres_backup import PostgresVault
from tests.faults.postgres_faults import PostgresFaults
from tests.faults.stage import Stage, Stuck
from tests.ports import free_port

BACKUP_EVERY: Final = 12
"""Faults between two backups."""
LATENCY_SECONDS: Final = 0.08
CLOCK_SECONDS: Final = 3600
EVENTUALLY_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.02
LOOSE_SECONDS: Final = 0.03
LONGER: Final = 6.0
"""How much longer than others the faults of a cluster last: some exceed the 5 seconds of a dead node."""

SUSPENDED_SECONDS: Final = 20.0
"""A machine that is moved, or swaps: by then the others have declared the node dead and settled what it left, and
several of its own time limits are over at once when it continues."""


class Nemesis:
    """Counts what it did in `done`."""

    def __init__(self, stage: Stage, *, overlap: bool = False) -> None:
        """`overlap`: other faults follow while a node starts again."""
        self._stage = stage
        self._overlap = overlap
        self._offset = self._highest = 0
        self._journal = Journal(stage.place / "faults")
        self._postgres: PostgresFaults | None = None
        if stage.postgres is not None and isinstance(stage.vault, PostgresVault):
            self._postgres = PostgresFaults(stage.postgres, stage.vault, stage.seed)
        self._node_starts: asyncio.Task[None] | None = None
        self.done: Counter[FaultKind] = Counter()

    def possible(self) -> frozenset[FaultKind]:
        """The faults that this machine allows."""
        without: set[FaultKind] = set()
        if not self._stage.disk.small:
            without.add("full disk")
        if not self._stage.cable.laid:
            without |= {"pull cable", "loose cable"}
        stage = self._stage
        sentinel, hosts = stage.watched is not None, bool(stage.hosts)
        return of_database(stage.database, len(stage.nodes), sentinel=sentinel, hosts=hosts) - without

    async def rage(self, faults: Iterator[Fault], count: int, until: float) -> None:
        """Carry out `count` faults, or as many as there is time for until `until` on the loop's clock."""
        loop = asyncio.get_running_loop()
        backups = len(self._stage.nodes) == 1
        if backups:
            self._stage.vault.take()
        while self.done.total() < count and loop.time() < until:
            fault = next(faults)
            if backups and self.done.total() % BACKUP_EVERY == BACKUP_EVERY - 1:
                await asyncio.to_thread(self._stage.vault.take)
            self._journal.add(f"{time.time():.3f}", fault.kind, fault.target, f"{fault.seconds:.2f}")
            await self._carry_out(fault)
            self.done[fault.kind] += 1
            if not self._overlap:
                await self._all_nodes()
            await self._stage.ensure()
            await self._stage.progress(fault.pause)
        await self._all_nodes()

    async def _carry_out(self, fault: Fault) -> None:
        stage, server = self._stage, self._stage.server
        match fault.kind:
            case "kill server" | "terminate server":
                await server.end(signal.SIGKILL if fault.kind == "kill server" else signal.SIGTERM)
                await server.start()
            case "pause server":
                server.pause()
                await asyncio.sleep(fault.seconds)
                server.resume()
            case "kill subscriber" | "kill publisher" | "kill writer":
                await stage.actors[fault.target].kill()
                await stage.actors[fault.target].start()
            case "pause subscriber":
                stage.actors[fault.target].process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                stage.actors[fault.target].process.send_signal(signal.SIGCONT)
            case "cut network" | "stall network" | "silence network" | "slow network":
                await self._hit_network(fault)
            case "pull cable":
                stage.cable.pull()
                await asyncio.sleep(fault.seconds)
                stage.cable.plug()
            case "loose cable":
                await self._loosen(fault.seconds)
            case "full disk":
                await asyncio.to_thread(stage.disk.fill)
                await asyncio.sleep(fault.seconds)
                stage.disk.free()
                if stage.postgres is not None:
                    await stage.postgres.until("SELECT true")
            case "file size limit":
                server.limit_files()
                await asyncio.sleep(fault.seconds)
                server.unlimit_files()
            case "clock forward" | "clock back":
                self._offset += CLOCK_SECONDS if fault.kind == "clock forward" else -CLOCK_SECONDS
                self._highest = max(self._offset, self._highest)
                server.set_clock(self._offset)
            case "restore a copy" | "restore in place" | "restore while running" | "restore without slots":
                await self._aged()
                await self._restore(fault)
            case (
                "kill node"
                | "terminate node"
                | "pause node"
                | "suspend node"
                | "cut way"
                | "silence way"
                | "lag way"
            ):
                await self._hit_node(fault, int(fault.target))
            case "all at once":
                await self._hit_all(fault)
            case (
                "unplug-redis node"
                | "unplug-postgres node"
                | "unplug-both node"
                | "deafen-redis node"
                | "mute-redis node"
                | "deafen-postgres node"
                | "mute-postgres node"
            ):
                await self._hit_cables(fault)
            case "kill redis" | "empty redis" | "freeze redis" | "flush redis" | "fill redis":
                await self._hit_redis(fault)
            case "kill master" | "lose writes" | "freeze master" | "command failover":
                await asyncio.to_thread(self._hit_master, fault)
            case _:
                assert self._postgres is not None, f"{fault.kind} is of PostgreSQL"
                await self._postgres.carry_out(fault)

    async def _hit_network(self, fault: Fault) -> None:
        network = self._stage.network
        match fault.kind:
            case "cut network":
                network.cut()
                return
            case "stall network":
                network.stall()
            case "silence network":
                network.silence()
            case _:
                network.latency = LATENCY_SECONDS
        await self._hold(fault)

    async def _all_nodes(self) -> None:
        """Wait until the node that was killed last is there again: one is away at a time."""
        starts, self._node_starts = self._node_starts, None
        if starts is not None:
            await starts

    async def _hit_node(self, fault: Fault, number: int) -> None:
        await self._all_nodes()
        server = self._stage.nodes[number]
        match fault.kind:
            case "kill node" | "terminate node":
                await server.end(signal.SIGKILL if fault.kind == "kill node" else signal.SIGTERM)
                await asyncio.sleep(fault.seconds)
                self._node_starts = asyncio.create_task(server.start(patient=True))
            case "pause node" | "suspend node":
                server.pause()
                await asyncio.sleep(LONGER * fault.seconds if fault.kind == "pause node" else SUSPENDED_SECONDS)
                server.resume()
            case "cut way":
                self._stage.ways[number].cut()
            case "lag way":  # what this node has not read is lost to it alone
                self._stage.ways[number].silence()
                await asyncio.sleep(fault.seconds)
                await self._empty_redis(fault.seconds)
                self._stage.ways[number].heal()
            case _:
                way = self._stage.ways[number]
                way.silence()
                await asyncio.sleep(LONGER * fault.seconds)
                way.heal()

    async def _hit_cables(self, fault: Fault) -> None:
        how, _, what = fault.kind.removesuffix(" node").partition("-")
        cables = [name for name in CABLES if what in (name, "both") and name != "clients"]
        directions: dict[str, Direction] = {"unplug": "both", "deafen": "to node", "mute": "from node"}
        host = self._stage.hosts[int(fault.target)]
        for name in cables:
            host.unplug(name, directions[how])
        await asyncio.sleep(LONGER * fault.seconds)
        for name in cables:
            host.plug(name, directions[how])

    async def _hit_redis(self, fault: Fault) -> None:
        redis = self._stage.redis
        assert redis is not None, f"{fault.kind} is of a cluster"
        if fault.kind == "freeze redis":
            redis.freeze()
            await asyncio.sleep(LONGER * fault.seconds)
            redis.thaw()
            return
        if fault.kind == "fill redis":
            await asyncio.to_thread(redis.command, "CONFIG", "SET", "maxmemory", "1")
            await asyncio.sleep(LONGER * fault.seconds)
            await asyncio.to_thread(redis.command, "CONFIG", "SET", "maxmemory", "0")
            return
        if fault.kind == "flush redis":
            await asyncio.to_thread(redis.command, "FLUSHALL")
        elif fault.kind == "empty redis":
            await self._empty_redis(fault.seconds)
        else:
            await asyncio.to_thread(redis.command, "SAVE")
            await asyncio.to_thread(redis.kill)
            await asyncio.sleep(fault.seconds)
            await asyncio.to_thread(redis.start)

    async def _empty_redis(self, seconds: float) -> None:
        redis = self._stage.redis
        assert redis is not None, "a cluster has it, but for one with Sentinels"
        await asyncio.to_thread(redis.kill)
        redis.forget_data()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(redis.start)

    async def _hit_all(self, fault: Fault) -> None:
        """Kill a subscriber, a node, Redis with its data and PostgreSQL, and start all of them again."""
        stage, subscriber = self._stage, self._stage.actors[fault.target]
        assert stage.postgres is not None, "a cluster has it"
        await self._all_nodes()
        await subscriber.kill()
        await asyncio.sleep(fault.seconds)
        node = stage.nodes[int(fault.seconds * 1000) % len(stage.nodes)]
        await node.end(signal.SIGKILL)
        if stage.watched is None:
            redis = self._empty_redis(fault.seconds)
        else:
            redis = asyncio.to_thread(self._hit_master, Fault("kill master", "", fault.seconds, 0))
        await asyncio.gather(redis, asyncio.to_thread(stage.postgres.restart, signal.SIGQUIT))
        self._node_starts = asyncio.create_task(node.start(patient=True))
        await subscriber.start()

    def _hit_master(self, fault: Fault) -> None:
        """Make the Sentinels fail over to the replica, which becomes complete again before the next fault."""
        watched = self._stage.watched
        assert watched is not None, f"{fault.kind} needs Sentinels"
        watched.await_complete()
        master, replica = watched.current, watched.other
        match fault.kind:
            case "command failover":
                watched.fail_over()
            case "freeze master":
                master.freeze()
            case "lose writes":
                replica.command("REPLICAOF", "127.0.0.1", free_port())  # it follows nobody
                time.sleep(fault.seconds)
                master.kill()
            case _:
                master.kill()
        watched.await_master(replica)
        if fault.kind == "freeze master":
            master.thaw()
        elif fault.kind != "command failover":
            master.start()

    async def _hold(self, fault: Fault) -> None:
        """Let the network be as it is for a while."""
        await asyncio.sleep(fault.seconds)
        self._stage.network.heal()

    async def _loosen(self, seconds: float) -> None:
        """Lose about half of what is sent, a moment at a time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            self._stage.cable.pull()
            await asyncio.sleep(LOOSE_SECONDS)
            self._stage.cable.plug()
            await asyncio.sleep(LOOSE_SECONDS)

    async def _restore(self, fault: Fault) -> None:
        """Put the backup in the database's place, while the server is stopped or, for some kinds, runs on."""
        stage = self._stage
        runs = fault.kind == "restore while running" or (
            fault.kind == "restore without slots" and fault.seconds < LONGEST_PAUSE / 2
        )
        before = await stage.epoch()
        if not runs:
            await stage.server.end(signal.SIGKILL if fault.seconds > LONGEST_PAUSE / 2 else signal.SIGTERM)
        async with self._held():
            if runs:
                await stage.epoch()  # behind whatever a writer had asked the server for
            restored = await asyncio.to_thread(stage.vault.restore, fault.kind, running=runs)
        if runs:
            with suppress(Stuck):  # if it is not noticed, the checker tells what that led to
                await self._eventually(lambda: self._has_left(before, restored))
        else:
            await stage.server.start()
        stage.vault.restored(await stage.cursor())

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Between these nobody writes rows but the server."""
        held = self._stage.vault.held()
        await asyncio.to_thread(held.__enter__)
        try:
            yield
        finally:
            held.__exit__(None, None, None)

    async def _has_left(self, *epochs: str) -> bool:
        try:
            return await self._stage.epoch() not in epochs
        except AerostackError:  # its connections to the database are being opened again
            return False

    async def _aged(self) -> None:
        """Wait until the backup is old enough for the server to know it again: until the mark that it stores is
        above the backup's.

        The mark is up to two reserves ahead of the clock, further if that was set back meanwhile: so the clock is
        set beyond it.
        """
        if not self._stage.vault.aged():
            self._highest += 3 * RESERVE_US // 1_000_000
            self._offset = self._highest
            self._stage.server.set_clock(self._offset)

        async def aged() -> bool:
            return self._stage.vault.aged()

        await self._eventually(aged)

    async def _eventually(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Look until it holds. Raises Stuck."""
        loop = asyncio.get_running_loop()
        until = loop.time() + EVENTUALLY_SECONDS
        while not await condition():
            if loop.time() > until:
                raise Stuck(f"{EVENTUALLY_SECONDS} s were not enough for {condition}")
            await asyncio.sleep(LOOK_SECONDS)
