"""`aerostack doctor`: a running server, tested from outside as a client would."""

import asyncio
import ssl
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.table import Table

from aerostack_realtime.cli.client import Key, Project, Token
from aerostack_realtime.cli.console import fail, out
from aerostack_realtime.cli.doctor.examination import examine
from aerostack_realtime.cli.doctor.findings import Finding, Report, Result
from aerostack_realtime.cli.doctor.remedies import PROXIES, SERVER
from aerostack_realtime.cli.doctor.visitor import Visitor
from aerostack_realtime.cli.settings import AsJson
from aerostack_realtime.config import DEV_SECRET_KEY
from aerostack_realtime.sdk.server_list import InvalidUrl, base_url

_MARKS: Final[dict[Result, str]] = {
    "ok": "[green]ok[/green]",
    "warning": "[yellow]warning[/yellow]",
    "failed": "[red]failed[/red]",
    "skipped": "[dim]skipped[/dim]",
}


def doctor(
    url: Annotated[
        str, typer.Argument(help="The address that clients use, such as https://realtime.example.com.")
    ],
    origin: Annotated[
        str | None,
        typer.Option(
            help="The origin of a page that has to connect: https://app.example.com.", show_default=False
        ),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            min=0, help="Seconds of silence to try; 0 is none. Default: the heartbeat and 10.", show_default=False
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            help=f"The proxy whose lines to print: {', '.join(PROXIES)}. Default: all.", show_default=False
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="The certificate of an authority of your own.", exists=True, show_default=False),
    ] = None,
    as_json: AsJson = False,
    key: Key = DEV_SECRET_KEY,
    token: Token = None,
    project: Project = None,
) -> None:
    """Test a running server from outside, through its proxy, and name the line of configuration that is missing.

    With the secret key the server reports what it received, so that more is tested. The exit code is 1 if a
    check failed.

    Example: `aerostack doctor https://realtime.example.com --key "$SECRET_KEY"`
    """
    chosen = next((each for each in PROXIES if each == proxy), None)
    if proxy is not None and chosen is None:
        fail(f"--proxy is one of {', '.join(PROXIES)}.", 2)
    try:
        visitor = Visitor(base_url(url), key=key, token=token, project=project, ca=None if ca is None else str(ca))
    except InvalidUrl as error:
        fail(error.message, 2)
    except (ssl.SSLError, OSError):
        fail(f"--ca {ca} is not a file with certificates in PEM.", 2)
    report = asyncio.run(examine(visitor, page=origin, idle=idle, proxy=chosen))
    if as_json:
        out.print(msgspec.json.encode(report).decode(), markup=False)
    else:
        _print(report)
    raise typer.Exit(0 if report.healthy else 1)


def _print(report: Report) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for each in report.findings:
        table.add_row(_MARKS[each.result], each.check, each.sentence.replace("[", r"\["))
    out.print(table)
    for each in report.findings:
        if each.remedy:
            out.print(f"\n{each.check}: configure", style="bold", markup=False)
            _print_remedy(each, report.proxy)
    failures = sum(each.result == "failed" for each in report.findings)
    out.print(f"\n{failures or 'no'} {'fault' if failures == 1 else 'faults'} found", markup=False)


def _print_remedy(finding: Finding, proxy: str | None) -> None:
    for name, line in finding.remedy.items():
        if name == SERVER or proxy in (None, name):
            out.print(f"  {name:<14} {line}", markup=False)
