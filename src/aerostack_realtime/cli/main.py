"""The commands, in the order of `aerostack --help`. Each is imported when it is run.

The list of commands is printed from this module alone: most of them import the server or the client.
"""

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from aerostack_realtime.cli.console import out

COMMANDS: Final = {
    "dev": ("node:dev", "Run a server for development: no set-up, no authentication, on this machine only."),
    "serve": (
        "node:serve",
        "Run a server for production. `aerostack init` writes the settings to start with.",
    ),
    "demo": ("demo:demo", "Run a server for development with example pages and sample data."),
    "init": (
        "settings:init",
        "Write a commented aerostack.toml with new keys, ready for `aerostack serve`.",
    ),
    "config": (
        "settings:show",
        "Print every setting: its value, where the value comes from, its default and its meaning.",
    ),
    "check": (
        "check:check",
        "Report what is wrong with the settings, the database and the backplane, without starting a server.",
    ),
    "doctor": (
        "doctor.command:doctor",
        "Test a running server from outside, through its proxy, and name the line of configuration that is "
        "missing.",
    ),
    "explain": ("explain:explain", "Explain why a user did or did not receive an event or a row change."),
    "reload": (
        "reload:reload",
        "Let a running server read its settings again: rules, keys, limits, origins, log bounds and the "
        "certificate.",
    ),
    "key": ("keys:key", "Generate an API key, and print it with the line for the settings."),
    "token": (
        "keys:token",
        "Print a token for a user, signed with the token_secret of the settings or of `aerostack dev`.",
    ),
    "emit": ("client:emit", "Send an event to all subscribers of a topic."),
    "listen": ("client:listen", "Print the events of a topic, one per line, until interrupted."),
    "cluster": (
        "cluster:cluster",
        "List the live nodes of the cluster: name, version, connections, journal lag, generation, keeper.",
    ),
    "db": ("database:app", "Run SQL through a server, or remove what a server added to a database."),
    "tables": ("tables:app", "List the tables, or start or stop recording the changes of one."),
}
"""Where the function or the group of each command is, below this package, and the first line of its help."""


def command(name: str) -> Any:
    """The command or group with this name, as Typer makes it. Imports its module."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"aerostack_realtime.cli.{module}"), attribute)
    alone = typer.Typer(rich_markup_mode="markdown")
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]


class _Commands(TyperGroup):
    """Has only the names and lines of the commands, and imports the one that is run."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else command(name), rest


app = typer.Typer(
    cls=_Commands,
    name="aerostack",
    help="Self-hosted realtime: channels, presence, history and live rows of any table.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)


def _listed() -> None: ...


for _name, (_, _line) in COMMANDS.items():
    app.command(_name, help=_line)(_listed)


def _print_version(wanted: bool) -> None:
    if wanted:
        from aerostack_realtime import __version__

        out.print(__version__, markup=False)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None: ...


def main() -> None:
    app()
