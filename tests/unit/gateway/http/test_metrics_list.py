"""The reference of the metrics follows the code."""

from pathlib import Path

from aerostack_realtime.gateway.http.metrics_list import METRICS, markdown

REFERENCE = Path(__file__).parents[4] / "docs" / "reference" / "metrics.md"


def test_the_reference_is_up_to_date() -> None:
    assert REFERENCE.read_text() == markdown(), "run `make reference` and commit the result"


def test_no_label_has_the_name_of_something_unbounded() -> None:
    labels = {label for each in METRICS.values() for label in each.labels}
    assert labels.isdisjoint({"topic", "user", "address", "connection", "table", "path"})
