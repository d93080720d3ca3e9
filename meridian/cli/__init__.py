"""The command line: ``meridian run``, ``profile``, ``lint`` and the others that ``meridian --help`` lists.

::

    app         the commands gathered, the help, the exit codes in words
    operate     those of them that look at a process
    run         one module for each command
    profile     with profile_table and profile_plot, which show one
    validate
    lint
    info
    nodes
    scaffold
    diagnostics bundles: collect, inspect, verify
    options     arguments and options that several commands have in common
    target      finds what TARGET names, and says what is wrong with it
    several     targets one after the other, and the graphs in a folder
    process     finds the running process that is meant
    tables      a report as tables, at the end and while it runs
    streams     who owns stdout; readers that go away
    helping     the help of a command, by a command
    complete    what shells complete, without running anything
    codes       exit codes

typer and rich come with the extra ``cli`` and are imported when a command runs, so that this package can say what to
install where they are missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from meridian.cli.codes import Code

__all__ = ["main"]

INSTALL = "pip install 'meridian-runtime[cli]'"


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line, then exit the process; see `Code` for the exit codes.

    Args:
        args: What follows ``meridian``; what this process was started with by default.

    Raises:
        SystemExit: always.
    """
    try:
        _main(args)
    except KeyboardInterrupt:  # before there is a command, which answers for itself
        print("Error: interrupted", file=sys.stderr)
        raise SystemExit(Code.INTERRUPTED) from None


def _main(args: Sequence[str] | None) -> None:
    try:
        import rich
        import typer
    except ImportError as error:
        what = (
            f"{error.name or 'a package'} is missing"
            if isinstance(error, ModuleNotFoundError)
            else str(error)
        )
        print(
            f"meridian: the command line needs typer and rich ({what}). Install them with:\n  {INSTALL}",
            file=sys.stderr,
        )
        raise SystemExit(Code.MISSING) from None
    del rich
    from meridian.cli import streams
    from meridian.cli.app import app
    from meridian.cli.complete import whole_words

    streams.outlive_readers()
    streams.forget_no_width()
    # Called as a command and not through `app()`, which would replace sys.excepthook for the graph's own code as well.
    command = typer.main.get_command(app)
    try:
        with whole_words(os.environ.get("_MERIDIAN_COMPLETE", "").removeprefix("complete_")):
            command(args=None if args is None else list(args), prog_name="meridian")
    except OSError as error:  # help and version are written by typer itself
        raise SystemExit(streams.full(error)) from None
