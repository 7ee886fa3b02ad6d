"""What a machine without the programs that this repository needs is ran, before anything is installed."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "id")
"""All that the script itself needs; there is no apt-get."""

Machine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Asks for programs on a machine that has only these."""

    def required(*wanted: str, has: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        for name in SHELL:
            (tmp_path / name).symlink_to(shutil.which(name) or name)
        for line in has:
            name, _, does = line.partition(": ")
            program = tmp_path / name
            program.write_text(f"#!{tmp_path / 'bash'}\n{does}\n")
            program.chmod(0o755)
        return subprocess.run(
            [tmp_path / "bash", ROOT / "scripts" / "require", *wanted],
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return required


def test_all_missing_programs_are_named_in_one_sentence(machine: Machine) -> None:
    ran = machine("python3", "node", "sqlite3", "prometheus", has=("sqlite3: exit 0",))
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: python3, node, prometheus, python3-venv are missing: install them (on Debian or Ubuntu: sudo "
        "apt-get install python3 nodejs prometheus python3-venv) and run make again.\n"
    )


def test_python_without_venv_is_named(machine: Machine) -> None:
    ran = machine("python3", has=('python3: [[ "$2" != *ensurepip* ]]',))
    assert ran.stderr.startswith("error: python3-venv is missing: install it (on Debian or Ubuntu: sudo apt-get")


def test_versions_that_are_too_old_are_named_in_one_sentence(machine: Machine) -> None:
    python = 'python3: case "$*" in *ensurepip*) ;; --version) echo Python 3.9.2 ;; *) exit 1 ;; esac'
    node = 'node: [ "$1" != -e ] && echo v18.20.4'
    ran = machine("python3", "node", has=(python, node))
    assert ran.stderr == (
        "error: Python 3.11 or newer is needed; this is Python 3.9.2. "
        "Node 20 or newer is needed; this is v18.20.4.\n"
    )


def test_nothing_is_said_when_nothing_is_missing(machine: Machine) -> None:
    ran = machine("python3", "node", "nginx", has=("python3: exit 0", "node: exit 0", "nginx: exit 0"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
