"""The documentation follows the code, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from aerostack_realtime.protocol import close_codes
from scripts import reference, stage_docs

ROOT = Path(__file__).parents[2]
SOURCE = "src/aerostack_realtime"


@pytest.mark.parametrize("name", reference.pages())
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = ROOT / "docs" / "reference" / name
    assert page.read_text() == reference.pages()[name], "run `make reference` and commit the result"


def test_the_protocol_lists_every_close_code_that_is_sent() -> None:
    never_sent = {close_codes.GOING_AWAY, close_codes.ABNORMAL}
    sent = {value for name, value in vars(close_codes).items() if name.isupper()} - never_sent
    page = reference.error_codes()
    assert [code for code in sorted(sent) if f"| `{code}` |" not in page] == []


def test_the_menu_has_every_page(tmp_path: Path) -> None:
    stage_docs.stage(tmp_path / "site")
    assert stage_docs.misplaced(tmp_path / "site") == []


def test_the_places_where_to_add_things_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("## Where to add things")[2].partition("\n## ")[0]
    paths = re.findall(r"`([\w.-]+/[\w/.-]*)", section)
    assert len(re.findall(r"^\| an? ", section, re.MULTILINE)) == 10
    assert [each for each in paths if not any((ROOT / base / each).exists() for base in ("", SOURCE))] == []


@pytest.mark.parametrize(
    ("link", "source", "place", "leads_to"),
    [
        (
            "[a](../protocol.md#7-codes)",
            "docs/guides/access.md",
            "guides/access.md",
            "[a](../protocol.md#7-codes)",
        ),
        ("[a](../../CHANGELOG.md)", "docs/guides/access.md", "guides/access.md", "[a](../changelog.md)"),
        ("[a](docs/python.md)", "README.md", "typescript.md", "[a](python.md)"),
        ("[a](https://example.com/x.md)", "docs/python.md", "python.md", "[a](https://example.com/x.md)"),
        ("[a](../Makefile)", "docs/python.md", "python.md", f"[a]({stage_docs.REPOSITORY}/blob/main/Makefile)"),
        ("[a](../spec)", "docs/python.md", "python.md", f"[a]({stage_docs.REPOSITORY}/tree/main/spec)"),
        ("[a](nowhere.md)", "docs/python.md", "python.md", "[a](nowhere.md)"),
    ],
)
def test_a_link_leads_to_the_site_or_to_the_repository(link: str, source: str, place: str, leads_to: str) -> None:
    assert stage_docs.linked(link, Path(source), Path(place)) == leads_to


def test_no_page_loads_anything_from_another_host() -> None:
    assert "font: false" in (ROOT / "mkdocs.yml").read_text()
