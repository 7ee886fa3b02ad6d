"""Bugs that are planted into one node or into the journal: the checks of a cluster find each of them."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from aerostack_realtime.backplane.items import Settlement
from aerostack_realtime.channels.custom.nodes import DEAD_US, Nodes
from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.protocol.errors import AerostackError
from tests.unit.channels.observed import Observed
from tests.unit.channels.replica_journal import SECOND, SharedLog
from tests.unit.channels.replicas import TOPIC, Node, Replicas


@contextmanager
def observed(log: SharedLog | None = None) -> Iterator[Observed]:
    """Two nodes that are watched."""
    cluster = Replicas("a", "b", log=log)
    cluster.settle()
    found = Observed(cluster)
    for node in cluster.nodes:
        found.watch(node)
    try:
        yield found
    finally:
        cluster.close()


@contextmanager
def found_by(check: str) -> Iterator[None]:
    with pytest.raises(AssertionError, match=check):
        yield


@pytest.mark.parametrize("planted", [False, True])
def test_a_journal_that_appends_twice(planted: bool) -> None:
    with observed() as found:
        node = found.cluster.nodes[0]
        found.publish(node, "once")
        node.journal.flush()
        if planted:
            found.cluster.log.append("b", found.cluster.log.entries[-1].item)
            found.cluster.nodes[1].hub._replica._awaiting.append(None)
        found.cluster.settle()
        if planted:
            with found_by("nothing is delivered twice"):
                found.check()
        else:
            found.check_quiet()


@pytest.mark.parametrize("planted", [False, True])
def test_a_newcomer_that_forgets_receipts(planted: bool) -> None:
    with observed() as found:
        cluster = found.cluster
        found.publish(cluster.nodes[0], "first", id="x")
        cluster.settle()
        newcomer = cluster.start("c")
        cluster.settle()
        found.watch(newcomer)
        if planted:
            newcomer.hub._publishing.receipts._receipts.clear()
        found.publish(cluster.nodes[1], "first", id="x")
        cluster.settle()
        with found_by("all received the same events") if planted else nullcontext():
            found.check_quiet()


@pytest.mark.parametrize("planted", [False, True])
def test_a_node_that_settles_before_its_commit(planted: bool) -> None:
    with observed() as found:
        cluster = found.cluster
        node = cluster.nodes[0]
        found.publish(node, "stored?", persist=True)
        cluster.settle()
        message, _ = node.store.waiting[0]
        if planted:
            node.hub._publishing.report(Settlement(message.position, "stored", message.position // 1000))
        cluster.settle()
        with found_by("nothing is delivered before it is stored") if planted else nullcontext():
            found.check()


class WallClockNodes(Nodes):
    """Nodes that are declared dead by this node's own clock, which runs while the journal stands still."""

    def __init__(self, log: SharedLog) -> None:
        super().__init__()
        self.log = log
        self.heard: dict[str, int] = {}

    def beat(self, node: str, at: int, connections: int, lag_us: int) -> list[str]:
        self.heard[node] = self.log.now
        dead = [each for each, heard in self.heard.items() if self.log.now - heard > DEAD_US]
        for each in dead:
            del self.heard[each]
            self._alive.pop(each, None)
            self._ended[each] = None
        super().beat(node, at, connections, lag_us)
        return dead


@pytest.mark.parametrize("planted", [False, True])
def test_death_by_the_wall_clock(planted: bool) -> None:
    with observed() as found:
        cluster = found.cluster
        first, second = cluster.nodes
        if planted:
            nodes = WallClockNodes(cluster.log)
            nodes._alive.update(second.hub._nodes._alive)
            second.hub._nodes = second.hub._cluster._nodes = second.hub._publishing._nodes = nodes
        first.hub.presence.track(first.peer(None), TOPIC, "ann", {})
        cluster.beat(2)
        cluster.log.now += 60 * SECOND
        second.hub.sweep()
        second.step()
        first.step()
        with found_by("all nodes know the same members") if planted else nullcontext():
            found.check_quiet()


@pytest.mark.parametrize("planted", [False, True])
def test_a_licence_that_nobody_checks(planted: bool) -> None:
    with observed() as found:
        cluster = found.cluster
        node = cluster.nodes[0]
        cluster.beat()
        found.publish(node, "decided by the others", persist=True)
        node.step()
        cluster.nodes.remove(node)  # it stands still, until the other has settled what it left behind
        cluster.beat(7)
        assert "a" not in cluster.messages.licences
        if planted:
            cluster.messages.licences.add("a")
        node.store.commit()
        cluster.nodes.insert(0, node)
        cluster.settle()
        if planted:
            with found_by("kept messages came"):
                found.check_kept()
        else:
            found.check_kept()
            found.check_quiet()


@pytest.mark.parametrize("planted", [False, True])
def test_a_chain_that_nobody_looks_at(planted: bool) -> None:
    with observed() as found:
        cluster = found.cluster
        node, slow = cluster.nodes
        cluster.nodes.remove(slow)
        found.publish(node, "skipped", persist=True)
        node.step()
        node.store.commit()
        node.step()
        cluster.log.trim(cluster.log.last + 1)
        if planted:
            slow.journal.last = cluster.log.start
        cluster.nodes.append(slow)
        cluster.settle()
        with found_by("kept messages came") if planted else nullcontext():
            found.check_kept()


@pytest.mark.parametrize("planted", [False, True])
def test_a_failover_that_forgets_what_is_stored(planted: bool) -> None:
    with observed() as found:
        cluster = found.cluster
        node = cluster.nodes[0]
        found.publish(node, "lost by the journal", persist=True)
        node.step()
        node.store.commit()

        async def nothing(topics: list[str], after: int, until: int) -> set[str]:
            return set()

        if planted:
            cluster.commits.with_messages = nothing  # type: ignore[method-assign, assignment]
        cluster.fail_over(1)
        cluster.settle()
        with found_by("kept messages came") if planted else nullcontext():
            found.check_kept()


@pytest.mark.parametrize("planted", [False, True])
def test_a_log_that_continues_over_a_failover(planted: bool) -> None:
    with observed() as found:
        cluster = found.cluster
        first, second = cluster.nodes
        lost = first.publish("lost")
        first.step()  # only this node reads it
        cluster.fail_over(1)
        cluster.settle()
        cursor = _cursor(lost)
        if planted:
            second.hub._registry.log(TOPIC).start = 0
        found.publish(first, "new")
        cluster.settle()
        assert _is_recovered(second, cursor) is planted, "a client of the lost generation has to hear of a gap"


def _cursor(answers: list[Outcome | AerostackError]) -> str:
    assert isinstance(answers[0], Outcome)
    return answers[0].cursor


def _is_recovered(node: Node, since: str) -> bool:
    return bool(node.peer(since=since).take()[0]["recovered"])
