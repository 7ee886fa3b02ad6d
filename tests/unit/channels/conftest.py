"""Two nodes that share a journal."""

from collections.abc import Iterator

import pytest

from tests.unit.channels.replicas import Replicas


@pytest.fixture
def cluster() -> Iterator[Replicas]:
    found = Replicas("a", "b")
    found.settle()
    yield found
    found.close()
