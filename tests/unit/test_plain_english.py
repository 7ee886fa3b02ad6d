"""The check of phrases, `scripts/plain_english`: what it reads of a file, and what it leaves out."""

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "plain_english"
Find = Callable[[str, str], list[tuple[int, str]]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    findings: Callable[[Path], Iterator[tuple[int, str, str]]] = runpy.run_path(str(SCRIPT))["findings"]

    def run(name: str, text: str) -> list[tuple[int, str]]:
        path = tmp_path / name
        path.write_text(text)
        return sorted((line, phrase) for line, phrase, _ in findings(path))

    return run


def test_a_phrase_that_spans_two_lines_is_found(find: Find) -> None:
    assert find("page.md", "# Page\n\nThe client goes\non.\n") == [(3, "goes on")]


def test_code_in_markdown_is_ignored(find: Find) -> None:
    assert find("page.md", "Run `is told` or\n\n```\nis told\n```\n") == []


def test_comments_docstrings_and_messages_are_read(find: Find) -> None:
    text = '"""It goes on."""\n\nput_out = "was put out"  # whoever\n'
    assert find("module.py", text) == [(1, "goes on"), (3, "put out"), (3, "whoever")]


def test_a_test_name_of_seventy_characters_is_reported(find: Find) -> None:
    name = "test_" + "a" * 65
    assert find("test_module.py", f"def {name}() -> None: ...\n") == [(1, name)]


def test_typescript_comments_are_read_and_identifiers_are_not(find: Find) -> None:
    assert find("module.ts", "const whoever = 1 // it goes on\n") == [(1, "goes on")]
