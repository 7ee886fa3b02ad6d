"""What `make bench` writes besides its own tables: other benchmarks' tables, and README's."""

from pathlib import Path
from time import monotonic

import pytest

from bench import cluster, summary
from bench.contenders import CONTENDERS
from bench.parts import PARTS, Part, Result, report, run, tables
from bench.suite import Results
from bench.workloads import ONE_TO_ONE

PRINTED = """AMD EPYC, 2 cores
server on core 0

| what | µs |
| --- | ---: |
| a row | 1.5 |

## More

Each came once."""


def test_the_output_of_a_part_is_its_tables_without_the_machine() -> None:
    assert tables(PRINTED) == "| what | µs |\n| --- | ---: |\n| a row | 1.5 |\n\n### More\n\nEach came once."
    assert tables("nothing but text") == ""


def test_a_short_p99_is_still_one_of_a_thousand_messages() -> None:
    assert cluster.shortened(ONE_TO_ONE, 1.0).fields["measure_s"] == 5.0
    assert cluster.shortened(ONE_TO_ONE, 8.0).fields["measure_s"] == 8.0
    assert cluster.shortened(cluster.FANOUT, 1.0).fields["measure_s"] == 1.0


def test_a_part_that_was_left_out_says_how_to_measure_it() -> None:
    [part, *_] = PARTS
    text = report([Result(part, "Left out: no time.", measured=False, seconds=0.0)])
    assert text.splitlines()[0] == f"## {part.title}"
    assert part.command in text
    assert text.endswith("Left out: no time.")


def test_a_part_that_takes_too_long_ends_with_all_that_it_started() -> None:
    child = "subprocess.run(['sleep', '1000'])"  # it would keep the output open
    part = Part("Slow", "Sleeps.", "timeit", ("-n1", "-r1", "-s", "import subprocess", child), seconds=0.3)
    [result] = run([part], until=monotonic() + 60)
    assert not result.measured
    assert result.text.startswith("Left out: it took longer")


@pytest.mark.parametrize(
    ("page", "command"),
    [
        (summary.README, "make bench"),
        (summary.PERFORMANCE, "python -m bench.steady"),
        (summary.PERFORMANCE, "python -m bench.before"),
        (summary.PERFORMANCE, "python -m bench.hotpath"),
    ],
)
def test_the_table_in_a_page_can_be_renewed(page: Path, command: str) -> None:
    text = page.read_text()
    renewed = summary.renewed(text, command, "| a |")
    assert renewed.count("| a |") == 1
    assert renewed.count(summary.END) == text.count(summary.END)
    assert summary.renewed(renewed, command, "| a |") == renewed


def test_the_table_of_the_readme_names_every_contender_once() -> None:
    rows = summary.table_of(Results(), CONTENDERS)
    assert "1,000 rooms × 2, saturated" in rows
    assert rows.splitlines()[0].count("|") == len(CONTENDERS) + 2


def test_a_text_without_the_place_of_the_table_is_not_renewed() -> None:
    with pytest.raises(AssertionError, match="written by"):
        summary.renewed("no place", "make bench", "| a |")
