"""The commands, in the order of `aerostack --help`."""

from typing import Annotated

import typer

from aerostack_realtime.application import VERSION
from aerostack_realtime.cli import (
    check,
    client,
    cluster,
    database,
    demo,
    explain,
    keys,
    node,
    reload,
    settings,
    tables,
)
from aerostack_realtime.cli.console import out
from aerostack_realtime.cli.doctor import command as doctor

app = typer.Typer(
    name="aerostack",
    help="Self-hosted realtime: channels, presence, history and live rows of any table.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)
app.command()(node.dev)
app.command()(node.serve)
app.command()(demo.demo)
app.command()(settings.init)
app.command("config")(settings.show)
app.command()(check.check)
app.command()(doctor.doctor)
app.command()(explain.explain)
app.command()(reload.reload)
app.command()(keys.key)
app.command()(keys.token)
app.command()(client.emit)
app.command()(client.listen)
app.command()(cluster.cluster)
app.add_typer(database.app, name="db")
app.add_typer(tables.app, name="tables")


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(VERSION, markup=False)
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
