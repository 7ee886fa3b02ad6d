"""The commands, in the order of `aerostack --help`."""

import typer

from aerostack_realtime.cli import client, keys, node, tables

app = typer.Typer(
    name="aerostack",
    help="Self-hosted realtime: channels, presence, history and live rows of any table.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
)
app.command()(node.dev)
app.command()(node.serve)
app.command()(node.check)
app.command()(keys.key)
app.command()(keys.token)
app.command()(client.emit)
app.command()(client.listen)
app.command()(client.db)
app.command()(tables.tables)


def main() -> None:
    app()
