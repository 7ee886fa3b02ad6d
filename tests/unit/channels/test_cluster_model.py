"""A cluster under any order of publishes, presence, commits, delays, deaths and newcomers."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.channels.observed import Observed
from tests.unit.channels.peers import Peer
from tests.unit.channels.replica_journal import SECOND
from tests.unit.channels.replicas import TOPIC, Node, Replicas

NODES = 3
Pick = st.integers(0, NODES - 1)
USERS = ("ann", "bob", "cem")


class ClusterMachine(RuleBasedStateMachine):
    """Two nodes at the start, up to three at once; every action happens on one of them, at its own pace."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Replicas("n0", "n1")
        self.cluster.settle()
        self.observed = Observed(self.cluster)
        self.started = 2
        self.published = 0
        self.tracking: dict[tuple[str, str], Peer] = {}
        for node in self.cluster.nodes:
            self.observed.watch(node)

    def node(self, pick: int) -> Node:
        return self.cluster.nodes[pick % len(self.cluster.nodes)]

    @rule(pick=Pick, persist=st.booleans(), id=st.sampled_from([None, None, "x", "y", "z"]))
    def publish(self, pick: int, persist: bool, id: str | None) -> None:
        node = self.node(pick)
        if node.hub.is_ready:
            self.published += 1
            if id is not None:
                id = f"{id} of minute {self.cluster.log.now // (60 * SECOND)}"  # ids are remembered for two
            payload = f"{self.published}" if id is None else id
            self.observed.publish(node, payload, id=id, persist=persist)

    @rule(pick=Pick, user=st.sampled_from(USERS))
    def track_or_untrack(self, pick: int, user: str) -> None:
        node = self.node(pick)
        if not node.hub.is_ready:
            return
        peer = self.tracking.pop((node.name, user), None)
        if peer is None:
            peer = self.tracking[node.name, user] = node.peer(None)
            node.hub.presence.track(peer, TOPIC, user, {"by": node.name})
        else:
            node.hub.leave(peer)

    @rule(pick=Pick)
    def end_the_tick(self, pick: int) -> None:
        self.node(pick).tick.end()

    @rule(pick=Pick)
    def flush(self, pick: int) -> None:
        self.node(pick).journal.flush()

    @rule(pick=Pick, count=st.integers(1, 9))
    def read(self, pick: int, count: int) -> None:
        self.node(pick).journal.read(count)

    @rule(pick=Pick)
    def commit(self, pick: int) -> None:
        self.node(pick).store.commit()

    @rule(seconds=st.integers(1, 30))
    def let_time_pass(self, seconds: int) -> None:
        self.cluster.beat(seconds)

    @rule()
    def stand_still(self) -> None:
        """The journal is out of reach for a minute."""
        for node in self.cluster.nodes:
            node.journal.flush()
        self.cluster.log.now += 60 * SECOND

    @precondition(lambda self: len(self.cluster.nodes) > 1)
    @rule(pick=Pick)
    def kill(self, pick: int) -> None:
        node = self.node(pick)
        self.cluster.kill(node)
        for key in [key for key in self.tracking if key[0] == node.name]:
            del self.tracking[key]

    @precondition(lambda self: len(self.cluster.nodes) < NODES)
    @rule()
    def start(self) -> None:
        self.cluster.start(f"n{self.started}")
        self.started += 1

    @rule()
    def trim(self) -> None:
        """The journal forgets what a beat allowed, unless a node has yet to read it."""
        behind = min(node.journal.last for node in self.cluster.nodes)
        self.cluster.log.trim(min(self.cluster.log.floor, behind + 1))

    @invariant()
    def newcomers_serve_clients_of_other_nodes(self) -> None:
        for node in self.cluster.nodes:
            if node.name not in self.observed.witnesses and node.hub.is_ready:
                self.observed.watch(node, self.cursor_for(node))

    def cursor_for(self, node: Node) -> str | None:
        """The oldest cursor that a client of another node may have and this node has to understand."""
        start = node.hub._registry.log_start(TOPIC)
        known = [at for witness in self.observed.witnesses.values() for at, _ in witness.received if at >= start]
        return f"{self.cluster.log.epoch}.{min(known)}" if known else None

    @invariant()
    def promises_are_kept(self) -> None:
        self.observed.check()

    def teardown(self) -> None:
        for _ in range(12):
            for node in self.cluster.nodes:
                node.store.commit()
            self.cluster.beat()
        self.newcomers_serve_clients_of_other_nodes()
        self.check_quiet()
        assert all(node.hub.is_ready for node in self.cluster.nodes)
        self.check_presence()
        self.cluster.close()

    def check_quiet(self) -> None:
        self.observed.check_quiet()
        assert not any(witness.gaps for witness in self.observed.witnesses.values())

    def check_presence(self) -> None:
        present = {user for _, user in self.tracking}
        assert {each.user_id for each in self.cluster.nodes[0].hub.presence.members(TOPIC)} == present
        keepers = Counter(node.keeper for node in self.cluster.nodes)
        assert keepers[True] == 1, "exactly one node does what one has to do"


class FailingMachine(ClusterMachine):
    """The same, while the journal fails over and loses what was written last."""

    @rule(lost=st.integers(0, 6))
    def fail_over(self, lost: int) -> None:
        self.cluster.fail_over(min(lost, len(self.cluster.log.entries)))

    def cursor_for(self, node: Node) -> str | None:
        """Newcomers serve new clients."""
        return None

    def check_quiet(self) -> None:
        self.observed.check()
        self.observed.check_kept()
        members = [{each.user_id for each in node.hub.presence.members(TOPIC)} for node in self.cluster.nodes]
        assert all(each == members[0] for each in members), "all nodes know the same members"


TestCluster = ClusterMachine.TestCase
TestCluster.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

TestFailing = FailingMachine.TestCase
TestFailing.settings = TestCluster.settings
