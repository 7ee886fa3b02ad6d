"""Short runs of the fault suite, from fixed seeds: on each database, and over a cable that is pulled."""

import asyncio
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.faults import cable
from tests.faults.plan import DATABASES, DatabaseKind, of_database, plan
from tests.faults.run import Options, run
from tests.faults.stage import Stage, Stuck

SQLITE = Options(seed=12, faults=10, seconds=60.0, published=60.0, written=600.0, megabytes=256)
POSTGRES = Options(
    seed=12,
    faults=9,
    seconds=60.0,
    published=60.0,
    written=600.0,
    database="postgres",
    pause=200.0,
    megabytes=512,
    kinds=frozenset(
        (
            "kill server",
            "crash postgres",
            "restart postgres",
            "kill walsender",
            "terminate connections",
            "cut link",
            "restore while running",
            "drop slot",
            "replace table",
        )
    ),
)


CLUSTER = Options(
    seed=21,
    faults=8,
    seconds=60.0,
    published=60.0,
    written=300.0,
    database="postgres",
    pause=150.0,
    megabytes=512,
    nodes=3,
    kinds=frozenset(
        (
            "kill node",
            "terminate node",
            "pause node",
            "silence way",
            "kill redis",
            "empty redis",
            "crash postgres",
            "kill subscriber",
        )
    ),
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [SQLITE, POSTGRES, CLUSTER], ids=["sqlite", "postgres", "cluster"])
def test_some_faults_break_no_promise(options: Options) -> None:
    result = asyncio.run(run(options))
    assert result.anomalies == []
    assert result.messages > 0
    assert result.changes > 0
    assert result.handled > result.messages


@pytest.mark.timeout(300)
def test_what_is_lost_on_a_cable_breaks_no_promise() -> None:
    kinds = ("pull cable", "loose cable", "kill server", "kill publisher", "pause subscriber")
    command = [sys.executable, "-m", "tests.faults", "--seed=3", "--faults=7", "--pause=300", "--written=600"]
    run = subprocess.run(
        [*command, *(f"--only={kind}" for kind in kinds)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\n0 anomalies" in run.stdout
    missing = "not possible on this machine: loose cable, pull cable"
    assert (missing in run.stdout) is not cable.possible()


@pytest.mark.parametrize("database", DATABASES)
def test_a_seed_is_a_plan(database: DatabaseKind) -> None:
    kinds = of_database(database)
    assert list(islice(plan(7, kinds), 100)) == list(islice(plan(7, kinds), 100))
    assert list(islice(plan(7, kinds), 100)) != list(islice(plan(8, kinds), 100))
    assert {fault.kind for fault in islice(plan(7, kinds), len(kinds))} == kinds, "each kind once first"


async def test_a_client_that_ends_by_itself_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = (sys.executable, "-c", "import sys; print('ready', flush=True); sys.exit('a reason')")
    monkeypatch.setattr("tests.faults.stage.program", lambda _: ends)
    stage = Stage(tmp_path, 1, "sqlite", source=None, rates=(0.0, 0.0), megabytes=16)
    try:
        await stage.actors["sub-all"].start()
        with pytest.raises(Stuck, match=r"sub-all ended unasked with 1:\na reason"):
            await stage.within(asyncio.Event().wait(), "an event")
    finally:
        await stage.close()
