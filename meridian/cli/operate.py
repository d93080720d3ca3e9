"""Commands that look at a process, running or dead: their options and their help."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from meridian.cli.options import PidOption, RedactionOption, SocketOption

TOP = """Show how a running process does: its nodes and edges, their rates and waits.

The process is --pid, --socket, or the only one of yours that lets itself be looked at: started with \
meridian run --inspect TARGET, or with MERIDIAN_INSPECT=1.

Example: [bold]meridian top --once --json > top.json[/]"""


def _interval(value: float) -> float:
    if not (math.isfinite(value) and 0.1 <= value <= 3600):
        raise typer.BadParameter(f"{value} is no interval: give seconds between 0.1 and 3600")
    return value


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("top", help=TOP)(top_command)


def top_command(
    pid: PidOption = None,
    socket: SocketOption = None,
    once: Annotated[
        bool, typer.Option("--once", help="Look twice, an interval apart, write tables to stdout, and end.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Write snapshots and findings as one JSON object to stdout; means --once."
        ),
    ] = False,
    interval_s: Annotated[
        float,
        typer.Option(
            "--interval", metavar="SECONDS", callback=_interval, help="Seconds from one look to the next."
        ),
    ] = 1.0,
    redaction: RedactionOption = None,
) -> None:
    """See `TOP`."""
    del redaction  # it is in force already
    from meridian.cli.top import once as look_once

    if not (once or as_json):
        raise typer.BadParameter("give --once", param_hint="top")
    raise typer.Exit(look_once(pid, socket, interval_s, as_json=as_json))
