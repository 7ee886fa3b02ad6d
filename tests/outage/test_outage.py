"""Short outages, with less memory for rows than are written meanwhile."""

from pathlib import Path

import pytest

from tests.outage.__main__ import lines
from tests.outage.run import Kind, Options, run

SECONDS = 4.0
ROWS = 20_000
MEMORY: dict[str, float] = {"log_bytes": 1 << 20, "silence_seconds": 2.0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["closed", "silent"])
async def test_an_outage_loses_and_repeats_nothing(tmp_path: Path, kind: Kind) -> None:
    options = Options(SECONDS, kind, rate=100.0, burst=ROWS, published=20.0, look_seconds=0.2, postgres=MEMORY)
    report = await run(tmp_path, options)
    assert report.wrong == [], "\n".join(lines(report))
    assert report.missed >= ROWS, "rows were written meanwhile, more than memory holds"
    assert report.outcomes["persisted unavailable"] > 0
    assert report.outcomes["persisted done"] > 0
    assert report.outcomes["ephemeral done"] > 0
    assert report.noticed is not None, "the log says it"
    warnings = [line.split(" ", 2)[2] for line in report.said if " warning " in line]
    assert len(set(warnings)) == len(warnings), "each warning is logged once"
