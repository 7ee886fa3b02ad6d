"""A node of the previous commit beside one of this commit, as in a rolling deploy."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.flow.cluster import Cluster
from tests.flow.wire import Dial

pytestmark = pytest.mark.database("postgres")

ROOT = Path(__file__).parents[2]
TOPIC = "room/mixed"


def previous_package(place: Path) -> Path | None:
    """The package as the previous commit has it. None, for this commit's own, in a copy without its history."""
    archived = subprocess.run(["git", "archive", "HEAD~1", "src"], cwd=ROOT, capture_output=True, check=False)
    if archived.returncode != 0:
        return None
    with tarfile.open(fileobj=BytesIO(archived.stdout)) as archive:
        archive.extractall(place, filter="data")
    return place / "src"


async def test_a_node_of_the_previous_commit_runs_beside_one_of_this(
    cluster: Cluster, dial: Dial, tmp_path: Path
) -> None:
    old = (await cluster.add(previous_package(tmp_path / "previous"))).process
    new = (await cluster.add()).process
    ann, bob = await dial(old, "ann"), await dial(new, "bob")
    for wire in (ann, bob):
        await wire.subscribe(TOPIC)
        await wire.ask("track", topic=TOPIC, state={})
    for wire in (ann, bob):
        await wire.publish("room/barrier", 0)  # answered once the node has read it, and so what came before
        members = (await wire.ask("presence", topic=TOPIC))["members"]
        assert {each["userId"] for each in members} == {"ann", "bob"}
    for number in range(20):
        await (ann, bob)[number % 2].publish(TOPIC, number, persist=number % 4 < 2)
    heard = [[await wire.hear("event", event="message") for _ in range(20)] for wire in (ann, bob)]
    assert heard[0] == heard[1]
    assert [each["data"] for each in heard[0]] == list(range(20))
    for node in (old, new):
        stored = [each["data"] for each in await cluster.http(node).history(TOPIC)]
        assert sorted(stored) == [number for number in range(20) if number % 4 < 2]
    await _restart_with_this_commit(cluster, dial, heard[0][-1]["cursor"])


async def _restart_with_this_commit(cluster: Cluster, dial: Dial, cursor: str) -> None:
    """A client of the old node, which ends, resumes on the new one without a gap, and an id still counts once."""
    old, new = (node.process for node in cluster.nodes)
    repeater = await dial(old, "cem")
    first = await repeater.publish(TOPIC, "once", id="the-id", persist=True)
    assert await old.terminate() == 0
    resumed = await dial(new, "ann")
    assert (await resumed.subscribe(TOPIC, since=cursor))["recovered"] is True
    assert (await resumed.hear("event", event="message"))["data"] == "once"
    again = await dial(new, "cem")
    repeat = await again.publish(TOPIC, "once", id="the-id", persist=True)
    assert (repeat["duplicate"], repeat["cursor"]) == (True, first["cursor"])
