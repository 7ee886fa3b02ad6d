"""What the commands print: results to standard output, everything for a person to standard error."""

from typing import NoReturn

import typer
from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str, code: int = 1) -> NoReturn:
    """Say in one sentence why it does not go on, and end. Code 2: it never began."""
    err.print(f"[red]error:[/red] {_plain(message)}")
    raise typer.Exit(code)


def note(message: str) -> None:
    err.print(f"[yellow]note:[/yellow] {_plain(message)}")


def _plain(message: str) -> str:
    return message.replace("[", r"\[")
