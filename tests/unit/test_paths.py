"""Programs of this repository run in a directory whose name has a space."""

import re
import subprocess
from pathlib import Path

from examples.cluster.__main__ import NGINX

ROOT = Path(__file__).parents[2]


def test_no_path_is_taken_from_a_url() -> None:
    """A URL writes a space as %20; `import.meta.dirname` and `fileURLToPath` give a path."""
    found = subprocess.run(
        ["git", "grep", "-lE", r"import\.meta\.url\)\.pathname", "--", "*.ts", "*.tsx", "*.js", "*.mjs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, "")


def test_the_example_quotes_the_paths_of_nginx() -> None:
    paths = re.findall(r".\{(?:page|place)\}", NGINX)
    assert len(paths) == 8
    assert {path[0] for path in paths} == {'"'}
