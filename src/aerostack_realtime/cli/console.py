"""What the commands print: results to standard output, everything for a person to standard error."""

from typing import NoReturn

import typer
from rich.console import Console

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def fail(message: str, code: int = 1) -> NoReturn:
    """Print one sentence about why the command failed, and end it. Code 2: it did not start its work."""
    err.print(f"[red]error:[/red] {_plain(message)}")
    raise typer.Exit(code)


def note(message: str) -> None:
    err.print(f"[yellow]note:[/yellow] {_plain(message)}")


def _plain(message: str) -> str:
    return message.replace("[", r"\[")
