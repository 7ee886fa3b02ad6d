"""The rule of CONTRIBUTING.md: a file has up to 400 lines."""

from pathlib import Path

MOST = 400
SUFFIXES = (".c", ".py", ".ts", ".tsx")
ROOT = Path(__file__).resolve().parents[2]
OURS = ("bench", "examples", "native/src", "packages", "scripts", "src", "tests")
MADE = {"node_modules", "dist", "web", ".venv", ".go"}
"""Directories of what is installed or built."""


def test_no_file_is_longer_than_the_rule_allows() -> None:
    found = [
        path
        for part in OURS
        for path in (ROOT / part).rglob("*")
        if path.suffix in SUFFIXES and not MADE.intersection(path.relative_to(ROOT).parts) and path.is_file()
    ]
    assert len(found) > 500, "it looks at the files"
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in found}
    assert {name: length for name, length in lengths.items() if length > MOST} == {}
