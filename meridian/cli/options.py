"""Arguments and options that several commands have in common."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from meridian.cli.complete import complete_pid, complete_target


def seconds(value: float | None) -> float | None:
    """Return a number of seconds, as typer's callbacks do.

    Raises:
        BadParameter: it is none.
    """
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value} is not a number of seconds: give a finite number of at least 0")
    return value


def _policy_file(path: str | None) -> str | None:
    """Put a redaction policy in force before anything else is done, as typer's callbacks do.

    Raises:
        BadParameter: it has a mistake; the policy in force stays.
    """
    if path is not None:
        from meridian.redaction import PolicyError, install_file

        try:
            install_file(path)
        except PolicyError as error:
            raise typer.BadParameter(str(error)) from None
    return path


class TargetCommand(TyperCommand):
    """A command with one TARGET, whose own code gets ARGS: what follows ``--``, and nothing else."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; a second TARGET is refused, as it would be taken for an argument of the first."""
        own, theirs = _split(args)
        rest = super().parse_args(ctx, own)
        second = ctx.params["args"]
        if second and not ctx.resilient_parsing:
            ctx.fail(
                f"{second[0]!r} is one TARGET too many: this command takes one. What TARGET's own code is to find in "
                f"sys.argv follows --, as in: {ctx.command_path} TARGET -- {second[0]}"
            )
        if theirs and ctx.params["target"] is None and not ctx.resilient_parsing:
            ctx.fail("what follows -- is for TARGET's own code, and there is no TARGET")
        ctx.params["args"] = theirs
        return rest


class TargetsCommand(TyperCommand):
    """A command with several TARGETs; what follows ``--`` is for each one's own code, and stands in ``ctx.args``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        own, theirs = _split(args)
        rest = super().parse_args(ctx, own)
        ctx.args = theirs
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what the usage line consists of."""
        return [*super().collect_usage_pieces(ctx), "[-- ARGS]..."]


def _split(args: list[str]) -> tuple[list[str], list[str]]:
    at = args.index("--") if "--" in args else len(args)
    return args[:at], args[at + 1 :]


def target_argument(help: str) -> Any:
    """Return TARGET as an argument.

    Args:
        help: What the command does with it, or what it is.
    """
    return typer.Argument(metavar="TARGET", help=help, autocompletion=complete_target, show_default=False)


_FORMS = "module:attribute or path/to/file.py:attribute; without an attribute 'build' or 'graph' is meant."

TargetArgument = Annotated[str, target_argument(_FORMS)]

_TARGETS = target_argument(
    f"{_FORMS} May be several. A folder stands for the files in it that define one of the two. "
    "After --: what their own code finds in sys.argv."
)

TargetsArgument = Annotated[list[str], _TARGETS]

OptionalTargetsArgument = Annotated[list[str] | None, _TARGETS]
"""For commands that also do something without a graph."""

ArgsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- ARGS",
        help="After --: what TARGET's own code finds in sys.argv.",
        show_default=False,
    ),
]


def pid_option(help: str) -> Any:
    """Return ``--pid`` as an option.

    Args:
        help: What the command does with that process.
    """
    return typer.Option(
        "--pid", metavar="N", min=1, autocompletion=complete_pid, help=help, show_default=False
    )


PidOption = Annotated[
    int | None,
    pid_option(
        "The process with this number; without it and --socket, the only one of yours that lets itself be looked at."
    ),
]

SocketOption = Annotated[
    str | None,
    typer.Option("--socket", metavar="PATH", help="The process that serves this socket.", show_default=False),
]

RedactionOption = Annotated[
    str | None,
    typer.Option(
        "--redaction",
        metavar="FILE",
        callback=_policy_file,
        is_eager=True,
        help="Redaction policy to go by; read once, at the start. MERIDIAN_REDACTION names one for every command.",
        show_default=False,
    ),
]
"""Its callback does all there is to do: a command takes it and forgets it."""
