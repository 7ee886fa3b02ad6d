"""A question is answered with the records of all nodes."""

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.gateway.explain.collection import Collection, Wanted
from tests.unit.channels.replicas import TOPIC, Replicas


def test_a_question_collects_the_connections_of_all_nodes() -> None:
    cluster = Replicas()
    nodes = [cluster.start("a"), cluster.start("b")]
    cluster.settle()
    collections = [Collection(node.hub) for node in nodes]
    for node in nodes:
        peer = node.peer(TOPIC)
        node.hub.records.identified(peer.connection_id, Identity("user", "ann"))
    asking = cluster.loop.create_task(collections[0].ask(Wanted(user="ann")))
    while not asking.done():
        cluster.settle()
    found = asking.result()
    cluster.close()
    assert len(set(found.nodes)) == 2
    assert [each.user for each in found.connections] == ["ann", "ann"]
    assert [each.periods[0].topic for each in found.connections] == [TOPIC, TOPIC]
