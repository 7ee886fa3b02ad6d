"""`aerostack init` and `aerostack config`: writing settings, showing them, and reading them for other commands."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.markup import escape

from aerostack_realtime import config
from aerostack_realtime.access.keys import hashed
from aerostack_realtime.backplane.factory import shown as shown_backplane
from aerostack_realtime.cli.console import err, fail, out
from aerostack_realtime.config import Loaded, Settings, SettingsError, catalog, reference, template
from aerostack_realtime.database.factory import shown
from aerostack_realtime.gateway.origins import Origins

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="AEROSTACK_CONFIG",
        help="The settings file. Default: ./aerostack.toml if it exists.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_HIDDEN = "(hidden)"


def loaded(path: Path | None, *, silent: bool = False) -> Loaded:
    """The settings that apply to a command, after printing which file they come from unless `silent`. Ends the
    command when they cannot be used."""
    found = config.find(path)
    try:
        result = config.read(found)
    except SettingsError as error:
        fail_with(error.mistakes, f"{found or 'The environment'} has {len(error.mistakes)} mistakes; see above.")
    if not silent:
        err.print(sources(result), markup=False)
    return result


def sources(found: Loaded) -> str:
    """Where settings come from."""
    read = f"{found.file}" if found.file is not None else "defaults; there is no ./aerostack.toml"
    variables = ", ".join(dict.fromkeys(found.variables.values()))
    return f"settings: {read}" + (f"; environment: {variables}" if variables else "")


def fail_with(problems: Sequence[str], summary: str) -> NoReturn:
    """Print one problem as the error, or several above their summary, and end."""
    if len(problems) == 1:
        fail(problems[0], 2)
    for problem in problems:
        err.print(f"- {problem}", markup=False)
    fail(summary, 2)


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = config.FILE,
    project: Annotated[str, typer.Option(help="The project's name.")] = "default",
    database: Annotated[str, typer.Option("--db", help="A SQLite file, or postgresql://…")] = "aerostack.db",
    origin: Annotated[
        list[str] | None, typer.Option(help="A web origin that may connect; may be repeated.")
    ] = None,
) -> None:
    """Write a commented aerostack.toml with new keys, ready for `aerostack serve`.

    Example: `aerostack init --db shop.db --origin https://app.example.com`
    """
    key = f"ac_secret_{secrets.token_urlsafe(24)}"
    try:
        settings = Settings(
            project=project,
            database=database,
            secret_keys=(hashed(key),),
            token_secret=secrets.token_hex(32),
            origins=tuple(origin or ()),
        )
        Origins(settings.origins, loopback=False)
    except ValueError as error:
        fail(f"{error}.", 2)
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            file.write(template.written(settings))
    except FileExistsError:
        fail(f"{path} exists already. Remove it first, or name another file.", 2)
    except FileNotFoundError:
        fail(f"Cannot write {path}: create the directory {path.parent} first.", 2)
    except OSError as error:
        fail(f"Cannot write {path}: {error.strerror}. Name a file that this user may create.", 2)
    out.print(f"wrote {path}; it contains token_secret, so keep it out of version control", markup=False)
    out.print(f"secret key of your backend, shown only now: {key}", markup=False)
    named = "" if path == config.FILE else f" --config {path}"
    out.print(f"next: aerostack serve{named}", markup=False)


def show(config_file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print every setting: its value, where the value comes from, its default and its meaning.

    Example: `aerostack config`
    """
    found = loaded(config_file)
    rows = [_row(found, each) for each in catalog.settings() if each.variable is not None]
    rows += [
        (
            section.title,
            f"{len(getattr(found.settings, section.name))} entries",
            source,
            "none",
            section.description,
        )
        for section in catalog.sections()
        if section.repeated
        for source in [found.place((section.name,)) or "default"]
    ]
    if as_json:
        names = ("setting", "value", "source", "default", "meaning")
        out.print(msgspec.json.encode([dict(zip(names, row, strict=True)) for row in rows]).decode(), markup=False)
        return
    for name, value, source, default, meaning in rows:
        origin = "default" if source == "default" else f"{source}; default: {default}"
        out.print(f"[bold]{escape(name)}[/bold] = {escape(value)}  [dim]({escape(origin)})[/dim]")
        out.print(f"    {' '.join(meaning.split())}", markup=False)


def _row(found: Loaded, setting: catalog.Setting) -> tuple[str, str, str, str, str]:
    path = (setting.name,) if setting.section is None else (setting.section, setting.name)
    of = found.settings if setting.section is None else getattr(found.settings, setting.section)
    source = found.place(path) if path in found.lines or path in found.variables else None
    value = _value(setting, getattr(of, setting.name))
    default = reference.shown_default(setting).strip("`")
    return ".".join(path), value, source or "default", default, setting.description


def _value(setting: catalog.Setting, value: Any) -> str:
    """A value as it may be printed."""
    if value is None or value == ():
        return "not set"
    if setting.name == "token_secret":
        return _HIDDEN
    if setting.name in ("secret_keys", "publishable_keys"):
        return ", ".join(each if each.startswith("sha256:") else _HIDDEN for each in value)
    if setting.name == "backplane":
        return catalog.toml(shown_backplane(value))
    return catalog.toml(shown(value) if setting.name == "database" else value)
