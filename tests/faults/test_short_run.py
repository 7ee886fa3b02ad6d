"""A short run of the fault suite: ten faults of as many kinds, from a fixed seed."""

import asyncio
from itertools import islice

import pytest

from tests.faults.plan import DATABASES, DatabaseKind, of_database, plan
from tests.faults.run import Options, run

SHORT = Options(seed=12, faults=10, seconds=60.0, published=60.0, written=600.0, megabytes=256)


@pytest.mark.timeout(300)
def test_ten_faults_break_no_promise() -> None:
    result = asyncio.run(run(SHORT))
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
