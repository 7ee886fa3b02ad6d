"""Streams on a cluster under any order of pieces, commits, deaths, newcomers, moves and lost journals.

`python -m tests.faults.stream_seeds` tries many more seeds.
"""

import random
from typing import Final

import pytest

from tests.unit.channels.replica_journal import SECOND
from tests.unit.channels.replicas import TOPIC, Node, Replicas
from tests.unit.channels.stream_peers import StreamReader, Writer

NODES = 3


class StreamModel:
    """Two nodes at the start, up to three at once. Writers do what the clients do."""

    def __init__(self, seed: int, max_fail_overs: int) -> None:
        self.chance = random.Random(seed)
        self.max_fail_overs = max_fail_overs
        self.cluster = Replicas("n0", "n1")
        self.cluster.settle()
        self.started = 2
        self.writers: list[Writer] = []
        self.lost: set[str] = set()
        """Streams that were open, or ended moments ago, when the journal lost data or a node died."""
        self.fail_overs = 0
        self.readers = {node.name: StreamReader(node) for node in self.cluster.nodes}
        self.retired: list[StreamReader] = []

    # --- what may happen ---------------------------------------------------------------------------------

    def step(self) -> None:
        """Any one thing."""
        action, weight = self.chance.choice(ACTIONS)
        if self.chance.random() < weight:
            getattr(self, action)()
        self.check_beginnings()

    def node(self) -> Node:
        return self.chance.choice(self.cluster.nodes)

    def writer(self) -> Writer | None:
        return self.chance.choice(self.writers) if self.writers else None

    def open(self) -> None:
        node = self.node()
        if node.hub.is_ready and len(self.writers) < 6:
            persist = self.chance.random() < 0.5
            self.writers.append(Writer(node, f"s{len(self.writers)}", persist=persist))

    def write(self) -> None:
        if (writer := self.writer()) is not None:
            count = self.chance.randint(1, 3)
            writer.write(*(f"{writer.id}.{len(writer.pieces) + number} " for number in range(count)))

    def finish(self) -> None:
        if (writer := self.writer()) is not None:
            writer.finish()

    def move(self) -> None:
        """A writer loses its connection and returns on some node."""
        writer, node = self.writer(), self.node()
        if writer is not None and writer.ended is None and node.hub.is_ready:
            writer.node.hub.leave(writer.peer)
            writer.attach(node)

    def cancel(self) -> None:
        writer, node = self.writer(), self.node()
        if writer is not None and node.hub.is_ready:
            node.hub.streams.cancel(TOPIC, writer.id, "", lambda _: None, user_id="ann")

    def end_the_tick(self) -> None:
        self.node().tick.end()

    def flush(self) -> None:
        self.node().journal.flush()

    def read(self) -> None:
        self.node().journal.read(self.chance.randint(1, 9))

    def commit(self) -> None:
        self.node().store.commit()

    def lose_answers(self) -> None:
        """A node's database does not reply, and has stored what waits or not."""
        self.node().store.lose_answers(is_stored=self.chance.random() < 0.5)

    def let_time_pass(self) -> None:
        self.cluster.beat(self.chance.choice([1, 2, 5, 15, 30]))

    def kill(self) -> None:
        if len(self.cluster.nodes) > 1:
            node = self.node()
            self.cluster.kill(node)
            if node.name in self.readers:
                self.retired.append(self.readers.pop(node.name))

    def start(self) -> None:
        if len(self.cluster.nodes) < NODES:
            self.cluster.start(f"n{self.started}")
            self.started += 1

    def trim(self) -> None:
        """The journal forgets what a beat allowed, unless a node has yet to read it."""
        behind = min(node.journal.last for node in self.cluster.nodes)
        self.cluster.log.trim(min(self.cluster.log.floor, behind + 1))

    def fail_over(self) -> None:
        """Redis fails over without the newest entries, of the last seconds at most."""
        if self.fail_overs >= self.max_fail_overs:
            return
        self.fail_overs += 1
        log = self.cluster.log
        lost = min(self.chance.randint(0, 6), sum(entry.position > log.now - 5 * SECOND for entry in log.entries))
        if lost:
            self.lost |= {writer.id for writer in self.writers}
        self.cluster.fail_over(lost)

    # --- what must hold ----------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """The writers of dead nodes return elsewhere, once another is ready."""
        ready = [node for node in self.cluster.nodes if node.hub.is_ready]
        for writer in self.writers:
            if writer.node not in self.cluster.nodes and writer.ended is None and ready:
                writer.attach(ready[0])

    def check_beginnings(self) -> None:
        self.reconnect()
        for node in self.cluster.nodes:
            if node.name not in self.readers and node.hub.is_ready and not len(node.hub._replays):
                self.readers[node.name] = StreamReader(node)
        for reader in (*self.readers.values(), *self.retired):
            reader.take()
            for writer in self.writers:
                assert writer.text.startswith(reader.texts.get(writer.id, "")), "a text is the writer's"

    def finish_all(self) -> None:
        for writer in self.writers:
            writer.finish()
        for second in range(90):
            self.work()
            if second > 12 and self.is_quiet():
                break
        for _ in range(3):
            self.work()
        self.check_beginnings()
        self.check_ends()

    def work(self) -> None:
        """A second in which everybody does what is due."""
        for node in self.cluster.nodes:
            node.store.commit()
        self.cluster.beat()
        self.reconnect()
        for writer in self.writers:
            if writer.ended is None and writer.node in self.cluster.nodes:
                writer.retry()

    def is_quiet(self) -> bool:
        ready = all(node.hub.is_ready and not len(node.hub._streaming.streams) for node in self.cluster.nodes)
        return ready and all(writer.ended is not None for writer in self.writers)

    def check_ends(self) -> None:
        nodes = self.cluster.nodes
        assert all(node.hub.is_ready for node in nodes)
        assert all(not len(node.hub._streaming.streams) for node in nodes), "every stream has an end"
        if not self.fail_overs:  # a lost beat may count as silence on one node and not on another
            assert all(node.hub.mismatches == 0 for node in nodes), "no node found that another diverged"
        readers = [self.readers[node.name] for node in nodes]
        for writer in self.writers:
            assert writer.ended is not None, "every writer has an answer"
            found = {
                (each.texts[writer.id], each.states[writer.id]) for each in readers if writer.id in each.texts
            }
            assert len(found) <= 1, "all readers end with the same"
            if writer.ended == "complete" and (writer.persist or writer.id not in self.lost):
                assert found <= {(writer.text, "complete")}, "what was finished is complete"
            stored = self.cluster.messages.stored.get((TOPIC, "bot", writer.id))
            if stored is not None and stored.stream is not None:
                assert stored.stream.state != "open", "what is stored has an end"
                if writer.ended == "complete":
                    assert bytes(stored.data).decode() == f'"{writer.text}"', "what was finished is stored"


ACTIONS: Final = (
    ("open", 1.0),
    *[("write", 1.0)] * 3,
    ("finish", 1.0),
    ("move", 1.0),
    ("cancel", 0.4),
    ("end_the_tick", 1.0),
    *[("flush", 1.0)] * 2,
    *[("read", 1.0)] * 2,
    ("commit", 1.0),
    ("lose_answers", 0.5),
    ("let_time_pass", 1.0),
    ("kill", 0.5),
    ("start", 1.0),
    ("trim", 1.0),
    ("fail_over", 0.7),
)
"""What may happen, and how likely it is when its turn comes."""


def run(seed: int, max_fail_overs: int) -> None:
    """One run of up to 90 steps, and then everything is brought to its end."""
    model = StreamModel(seed, max_fail_overs)
    try:
        for _ in range(model.chance.randint(15, 90)):
            model.step()
        model.finish_all()
    finally:
        model.cluster.close()


@pytest.mark.parametrize("max_fail_overs", [0, 1])
@pytest.mark.parametrize("seeds", [range(first, first + 10) for first in range(0, 40, 10)], ids=str)
def test_readers_of_all_nodes_end_with_what_was_written(seeds: range, max_fail_overs: int) -> None:
    for seed in seeds:
        run(seed, max_fail_overs)


@pytest.mark.parametrize("seed", [381, 540, 639, 826, 1118, 1549, 1776])
def test_streams_survive_several_lost_journals(seed: int) -> None:
    """Each of these found a bug."""
    run(seed, 4)
