"""The samples of the documentation: settings that are accepted, commands that exist, Python that compiles."""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from click import UsageError

from aerostack_realtime import config
from aerostack_realtime.cli.main import COMMANDS, app, command
from aerostack_realtime.config import SettingsError

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.parent.name not in ("reference", "decisions")
]
"""The signatures of the reference are not programs, and decisions are not kept up to date."""
RUNBOOKS: Final = sorted((ROOT / "docs" / "runbooks").glob("Aero*.md"))
ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yml"


def samples(*languages: str) -> Iterator[tuple[str, str]]:
    """Each sample in one of the languages, with its page and line."""
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if block.group(1) in languages:
                line = text.count("\n", 0, block.start()) + 1
                yield f"{page.relative_to(ROOT)}:{line}", block.group(2)


def parametrized(*languages: str) -> pytest.MarkDecorator:
    found = list(samples(*languages))
    return pytest.mark.parametrize("text", [text for _, text in found], ids=[place for place, _ in found])


@parametrized("toml")
def test_a_sample_of_settings_is_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "aerostack.toml"
    file.write_text(text)
    try:
        config.read(file)
    except SettingsError as error:
        pytest.fail(str(error))


def commands() -> Iterator[tuple[str, str]]:
    """Each call of `aerostack` in a sample of a shell."""
    for place, text in samples("sh", "bash", "console"):
        joined = text.replace("\\\n", " ")
        for line in joined.splitlines():
            if found := re.match(r"(?:\$ )?(?:\S*/bin/)?(aerostack .*)", line.strip()):
                yield place, re.split(r" (?:[|>&]|&&|#) ", found.group(1))[0].rstrip(" &")


@pytest.mark.parametrize(("place", "line"), list(commands()))
def test_a_command_of_a_sample_exists_with_its_options(place: str, line: str) -> None:
    found: Any = typer.main.get_command(app)
    arguments = shlex.split(line)[1:]
    if arguments and arguments[0] in COMMANDS:
        found = command(arguments.pop(0))
    while getattr(found, "commands", None) and arguments and arguments[0] in found.commands:
        found = found.commands[arguments.pop(0)]
    try:
        found.make_context("aerostack", arguments)
    except UsageError as error:
        pytest.fail(f"{place}: {line}: {error.format_message()}")
    except typer.Exit:
        pass  # --help and --version


@parametrized("python")
def test_python_of_a_sample_compiles_and_its_imports_exist(text: str) -> None:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aerostack_realtime"):
            module = importlib.import_module(node.module or "")
            assert [each.name for each in node.names if not hasattr(module, each.name)] == []


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=[path.stem for path in RUNBOOKS])
def test_a_runbook_shows_the_expression_of_its_alert(runbook: Path) -> None:
    [shown] = re.findall(r"^```promql\n(.*?)^```$", runbook.read_text(), re.MULTILINE | re.DOTALL)
    pattern = rf'- alert: {runbook.stem}\n\s+expr: "(.*)"\n'
    [real] = re.findall(pattern, ALERTS.read_text())
    assert " ".join(shown.split()) == real.replace('\\"', '"')
