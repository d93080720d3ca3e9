"""Commands that look at a process, running or dead: their options and their help."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from meridian.cli.complete import complete_target
from meridian.cli.options import (
    ArgsArgument,
    PidOption,
    RedactionOption,
    SocketOption,
    TargetCommand,
    seconds,
    target_argument,
)

A_PROCESS = "A process"
"""Heading of these commands in the help."""

TOP = """Watch a running process: its graph, nodes, edges, events, and what is wrong.

The process is --pid, --socket, or the only one of yours that lets itself be looked at: started with \
meridian run --inspect TARGET, or with MERIDIAN_INSPECT=1. Keys are shown at the foot, ? explains them. With --once there is a \
plain table, which needs no terminal.

Example: [bold]meridian top --once --json | jq .findings[/]"""


PROFILE = """Look at a run for a while, and say where its time goes and who waits for whom.

The run is that of a running process (--pid, --socket, or the only one that lets itself be looked at), or of TARGET, which is \
run for so long. Per node: busy, blocked, idle, time for each message. Per edge: depth over time, how often it was full, losses. \
Ctrl-C shows what there is so far.

Example: [bold]meridian profile --pid 4711 --seconds 10 --plot profile.svg[/]"""

COMPARE = """Say what changed between two reports, snapshots or profiles, and what got worse.

They are what meridian run --json, meridian profile --out or --json, and meridian top --once --json wrote; both of one kind. What matters most comes first. With --fail-over the exit code is 1 if something got worse by more than that, or is gone.

Example: [bold]meridian compare before.json after.json --fail-over 10%[/]"""

DIAGNOSTICS = "Collect a bundle for support, look into one, check one."

DIAGNOSTICS_COLLECT = """Write one zip file that says how a graph is doing, and nothing that it handles.

It is about a process (--pid, --socket, or the only one of yours that lets itself be looked at), about TARGET, which is loaded and \
not run, or about neither: then it says what there is to run on. What can't be had is listed as missing, and the exit code is 0.

Example: [bold]meridian diagnostics collect --pid 4711[/]"""

DIAGNOSTICS_INSPECT = """Show what is in a bundle; nothing is unpacked to disk.

Example: [bold]meridian diagnostics inspect bundle.zip --member topology.json[/]"""

DIAGNOSTICS_VERIFY = """Check that a bundle is whole: the zip file, the manifest, every member's size and SHA-256.

The exit code is 1 if not, and the first member that is wrong is named.

Example: [bold]meridian diagnostics verify bundle.zip[/]"""

BundleArgument = Annotated[str, typer.Argument(metavar="BUNDLE", help="The zip file.", show_default=False)]


def _interval(value: float) -> float:
    if not (math.isfinite(value) and 0.1 <= value <= 3600):
        raise typer.BadParameter(f"{value} is no interval: give seconds between 0.1 and 3600")
    return value


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("top", help=TOP, rich_help_panel=A_PROCESS)(top_command)
    app.command("profile", cls=TargetCommand, help=PROFILE, rich_help_panel=A_PROCESS)(profile_command)
    app.command("compare", help=COMPARE, rich_help_panel=A_PROCESS)(compare_command)
    diagnostics_app = typer.Typer(help=DIAGNOSTICS, no_args_is_help=True)
    diagnostics_app.command("collect", cls=TargetCommand, help=DIAGNOSTICS_COLLECT)(
        diagnostics_collect_command
    )
    diagnostics_app.command("inspect", help=DIAGNOSTICS_INSPECT)(diagnostics_inspect_command)
    diagnostics_app.command("verify", help=DIAGNOSTICS_VERIFY)(diagnostics_verify_command)
    app.add_typer(diagnostics_app, name="diagnostics", rich_help_panel=A_PROCESS)


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
    target: Annotated[
        str | None,
        typer.Option(
            "--lint",
            metavar="TARGET",
            help="Show what meridian lint finds in this graph, too; it is loaded here, and not run.",
            autocompletion=complete_target,
            show_default=False,
        ),
    ] = None,
    redaction: RedactionOption = None,
) -> None:
    """See `TOP`."""
    del redaction  # it is in force already
    from meridian.cli.top import once as look_once
    from meridian.cli.top import watch

    if once or as_json:
        raise typer.Exit(look_once(pid, socket, interval_s, target, as_json=as_json))
    raise typer.Exit(watch(pid, socket, interval_s, target))


def _positive(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} can't be used: give a finite number above 0")
    return value


def _rate(value: float) -> float:
    if not 0.01 <= value <= 1000:
        raise typer.BadParameter(f"{value} looks a second can't be had: give a number from 0.01 to 1000")
    return value


def profile_command(
    target: Annotated[
        str | None,
        target_argument(
            "Run this, module:attribute or path/to/file.py:attribute, instead of looking at a running process."
        ),
    ] = None,
    args: ArgsArgument = None,
    pid: PidOption = None,
    socket: SocketOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="ID",
            help="Id of the run, where the process has several.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="SECONDS", callback=_positive, help="How long to look.")
    ] = 5.0,
    hz: Annotated[
        float,
        typer.Option(
            "--hz",
            metavar="N",
            callback=_rate,
            help="Looks a second; fewer if the graph is so large that they take long.",
        ),
    ] = 10.0,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout-s",
            metavar="SECONDS",
            callback=_positive,
            help="Most seconds that a process may take for an answer.",
        ),
    ] = 5.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the profile as one JSON object to stdout.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write it as JSON to a file, too, for meridian compare.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw it: FILE.svg, or FILE.html.", show_default=False),
    ] = None,
    redaction: RedactionOption = None,
) -> None:
    """See `PROFILE`."""
    del redaction  # it is in force already
    from meridian.cli.profile import Settings, profile

    raise typer.Exit(
        profile(
            target,
            args or [],
            Settings(
                seconds=seconds,
                hz=hz,
                as_json=as_json,
                pid=pid,
                socket=socket,
                run=run,
                timeout_s=timeout_s,
                out=out,
                plot=plot,
            ),
        )
    )


def compare_command(
    before: Annotated[Path, typer.Argument(metavar="A", help="The file of before.", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="B", help="The file of after.", show_default=False)],
    fail_over: Annotated[
        str | None,
        typer.Option(
            "--fail-over",
            metavar="PERCENT",
            help="Exit with 1 if something got worse by more than this, such as 10%, or is gone.",
            show_default=False,
        ),
    ] = None,
    same_within: Annotated[
        str | None,
        typer.Option(
            "--same-within",
            metavar="PERCENT",
            help="Call what differs by this or less the same; 5% by default, or what --fail-over says if that is less.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Compare this only, such as lost or per_message_s; may be given several times.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the comparison as one JSON object to stdout.")
    ] = False,
    redaction: RedactionOption = None,
) -> None:
    """See `COMPARE`."""
    del redaction  # it is in force already
    from meridian.cli.compare import Wishes, compare_files

    raise typer.Exit(compare_files(before, after, Wishes(fail_over, same_within, metrics or (), as_json)))


def diagnostics_collect_command(
    target: Annotated[
        str | None,
        target_argument("Take along what this declares: module:attribute or path/to/file.py:attribute."),
    ] = None,
    args: ArgsArgument = None,
    pid: PidOption = None,
    socket: SocketOption = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="PLACE",
            help="A file, a folder, or - for stdout; the current folder, or else that of temporary files, by default.",
            show_default=False,
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            "--log", metavar="FILE", help="Take along the end of a log file, scrubbed.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            "--timeout-s",
            metavar="SECONDS",
            callback=seconds,
            help="Most seconds to wait for an answer of the process, and for TARGET to be loaded. 10 by default.",
            show_default=False,
        ),
    ] = None,
    window_s: Annotated[
        float | None,
        typer.Option(
            "--window-s",
            metavar="SECONDS",
            callback=seconds,
            help="Seconds between the two looks. 1 by default.",
            show_default=False,
        ),
    ] = None,
    redaction: RedactionOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write what was made as one JSON object to stdout.")
    ] = False,
) -> None:
    """See `DIAGNOSTICS_COLLECT`."""
    del redaction  # it is in force already
    from meridian.cli.diagnostics import Settings, collect

    settings = Settings(
        target=target, args=args or [], pid=pid, socket=socket, out=out, log=log, force=force,
        timeout_s=timeout_s, window_s=window_s, as_json=as_json,
    )  # fmt: skip
    raise typer.Exit(collect(settings))


def diagnostics_inspect_command(
    bundle: BundleArgument,
    member: Annotated[
        str | None,
        typer.Option(
            "--member", metavar="NAME", help="Write one member to stdout, as it is.", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the manifest and the members as one JSON object to stdout.")
    ] = False,
) -> None:
    """See `DIAGNOSTICS_INSPECT`."""
    from meridian.cli.diagnostics import inspect

    raise typer.Exit(inspect(bundle, member, as_json=as_json))


def diagnostics_verify_command(
    bundle: BundleArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the verdict as one JSON object to stdout.")
    ] = False,
) -> None:
    """See `DIAGNOSTICS_VERIFY`."""
    from meridian.cli.diagnostics import verify

    raise typer.Exit(verify(bundle, as_json=as_json))
