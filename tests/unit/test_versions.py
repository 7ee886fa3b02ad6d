"""The version is written in one place, and every file that repeats it agrees."""

import json
import re
import tomllib
from pathlib import Path

import aerostack_realtime

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_changelog_begins_with_this_version() -> None:
    released = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == VERSION


def test_both_packages_have_the_same_version() -> None:
    assert json.loads((ROOT / "packages/realtime/package.json").read_text())["version"] == VERSION
    assert aerostack_realtime.__version__ == VERSION


def test_the_chart_has_the_same_version() -> None:
    chart = (ROOT / "deploy/helm/Chart.yaml").read_text()
    assert f"\nversion: {VERSION}\nappVersion: {VERSION}\n" in chart


def test_the_supported_pythons_are_those_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [each.rsplit(" ", 1)[1] for each in project["classifiers"] if re.search(r"Python :: 3\.\d+$", each)]
    workflow = (ROOT / ".github/workflows/test.yml").read_text()
    assert re.search(r"python: \[(.+)\]", workflow)[1] == ", ".join(f'"{each}"' for each in named)  # type: ignore[index]


def test_no_file_of_deployment_or_workflow_writes_out_a_registry() -> None:
    hosts = re.compile(r"pypi\.org|registry\.npmjs\.org|pythonhosted\.org|crates\.io")
    files = [
        *(ROOT / ".github").rglob("*.yml"),
        *(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
    ]
    assert files
    assert [str(path) for path in files if hosts.search(path.read_text(errors="replace"))] == []
