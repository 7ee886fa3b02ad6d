"""The Python package: it is not built without its pages, and its metadata is complete."""

import gzip
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "src" / "aerostack_realtime" / "web"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a build needs of this repository, without the pages."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(
        ROOT / "src" / "aerostack_realtime",
        tmp_path / "src" / "aerostack_realtime",
        ignore=shutil.ignore_patterns("web", "__pycache__"),
    )
    return tmp_path


def build(clone: Path, target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", "dist"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_a_package_without_its_pages_is_not_built(clone: Path, target: str) -> None:
    built = build(clone, target)
    assert built.returncode != 0
    assert "Run `make wheel`, which builds both" in built.stderr
    assert not list(clone.glob("dist/*"))


def test_a_wheel_has_the_pages_and_complete_metadata(clone: Path) -> None:
    shutil.copytree(PAGES, clone / "src" / "aerostack_realtime" / "web")
    assert build(clone, "wheel").returncode == 0
    [path] = clone.glob("dist/*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        [metadata] = [wheel.read(name).decode() for name in names if name.endswith("METADATA")]
    for page in ("index.html", "sdk/aerostack.js", "examples/chat/index.html", "console/index.html"):
        assert f"aerostack_realtime/web/{page}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    fields = Parser().parsestr(metadata)
    assert fields["License-Expression"] == "Apache-2.0"
    assert {each.split(",")[0] for each in fields.get_all("Project-URL", [])} >= {"Homepage", "Changelog"}
    assert fields["Author"]
    assert "](../" not in metadata, "a registry has no files beside the README"
    assert "](docs/" not in metadata


def test_the_console_is_smaller_than_150_kib_compressed() -> None:
    files = [each for each in (PAGES / "console").rglob("*") if each.is_file()]
    assert files, "make install builds it"
    assert sum(len(gzip.compress(each.read_bytes(), 9)) for each in files) < 150 * 1024


def test_a_source_archive_can_build_the_wheel(clone: Path) -> None:
    shutil.copytree(PAGES, clone / "src" / "aerostack_realtime" / "web")
    assert build(clone, "sdist").returncode == 0
    [path] = clone.glob("dist/*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(clone / "unpacked", filter="data")
    [source] = (clone / "unpacked").iterdir()
    assert build(source, "wheel").returncode == 0


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
