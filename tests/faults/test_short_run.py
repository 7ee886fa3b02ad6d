"""Short runs of the fault suite: some faults of as many kinds, from a fixed seed, on each database."""

import asyncio
from itertools import islice

import pytest

from tests.faults.plan import DATABASES, DatabaseKind, of_database, plan
from tests.faults.run import Options, run

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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [SQLITE, POSTGRES], ids=["sqlite", "postgres"])
def test_some_faults_break_no_promise(options: Options) -> None:
    result = asyncio.run(run(options))
    assert result.anomalies == []
    assert result.messages > 0
    assert result.changes > 0
    assert result.handled > result.messages


@pytest.mark.parametrize("database", DATABASES)
def test_a_seed_is_a_plan(database: DatabaseKind) -> None:
    kinds = of_database(database)
    assert list(islice(plan(7, kinds), 100)) == list(islice(plan(7, kinds), 100))
    assert list(islice(plan(7, kinds), 100)) != list(islice(plan(8, kinds), 100))
    assert {fault.kind for fault in islice(plan(7, kinds), len(kinds))} == kinds, "each kind once first"
