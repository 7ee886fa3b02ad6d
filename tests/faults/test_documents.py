"""Short runs of editors under kills and cuts, on each database and with three nodes."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.faults import documents
from tests.faults.documents import Kind

EDITORS: Final = 6
EDITS: Final = 60
"""At least 0.6 s of them, so that a fault happens meanwhile."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "cluster"])
def test_editors_have_one_document_after_faults(kind: Kind, tmp_path: Path) -> None:
    report = asyncio.run(documents.served(EDITORS, EDITS, kind, tmp_path))
    assert report.anomalies == []
    assert report.edits == EDITORS * EDITS
    assert report.kills + report.cuts > 0
