"""The command `meridian-conform`.

Exit codes: 0 every rule held, 1 a rule was broken, 2 wrong usage, 3 inconclusive (nothing could be checked).
"""

from __future__ import annotations

import argparse
import enum
import sys
from typing import TYPE_CHECKING

from meridian_conformance import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


class ExitCode(enum.IntEnum):
    """What `meridian-conform` says to its caller."""

    PASSED = 0
    BROKEN = 1
    USAGE = 2
    INCONCLUSIVE = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Args:
        argv: The arguments after the command's name; those of the process if None.
    """
    parser = argparse.ArgumentParser(
        prog="meridian-conform",
        description="Check that an edge, an engine or a store keeps Meridian's contract.",
        epilog="Exit codes: 0 every rule held, 1 a rule was broken, 2 wrong usage, 3 inconclusive.",
    )
    parser.add_argument("--version", action="version", version=f"meridian-conform {__version__}")
    parser.parse_args(argv)
    print(
        f"meridian-conform {__version__}: no profiles in this version, so nothing was checked (inconclusive).",
        file=sys.stderr,
    )
    return ExitCode.INCONCLUSIVE


if __name__ == "__main__":
    raise SystemExit(main())
