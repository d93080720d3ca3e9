"""From ratios to a verdict.

Each round of a gate gives one ratio. The result is their median, with an interval within which the median of another
such series would lie 19 times out of 20 (bootstrap). A gate is passed when the whole interval is on its good side, missed
when none of it is, and inconclusive between: noise must neither fail a gate nor pass it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from meridian_conformance import paired

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
NOT_MEASURED, NO_GATE = "not measured", "no gate"
"""Of what can't be measured here, and of what is measured for the table alone."""

LEAST_ROUNDS = 3
"""Fewer say nothing about noise."""

GREEN, YELLOW, RED = "green", "yellow", "RED"
"""What lanes I and R say; yellow is a warning, or that it can't be told here and now, and fails nothing."""
_COLORS = {GREEN: 32, YELLOW: 33, RED: 31}


@dataclass(frozen=True, slots=True)
class Bound:
    """What a ratio is held against; the bound itself passes.

    Attributes:
        limit: The figure.
        higher: Higher is better.
    """

    limit: float
    higher: bool

    def holds(self, value: float) -> bool:
        """Say whether ``value`` is on the good side."""
        return value >= self.limit if self.higher else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.higher else '<='} {self.limit:g}"


def interval(ratios: Sequence[float], widen: float = 0.0) -> tuple[float, float]:
    """Return where the median lies with 95 % confidence.

    Args:
        ratios: One of each round, at least one.
        widen: How far a comparison of a thing with itself was from 1 on this machine, now; added on both sides.
    """
    found = paired.interval(ratios)
    return found.low / (1 + widen), found.high * (1 + widen)


def judge(ratios: Sequence[float], bound: Bound, *, exact: bool = False, widen: float = 0.0) -> str:
    """Return ``pass``, ``fail`` or ``inconclusive``.

    Args:
        ratios: One of each round.
        bound: What they are held against.
        exact: The figure doesn't vary (bytes): one round is enough.
        widen: As for `interval`.
    """
    if not ratios or (len(ratios) < LEAST_ROUNDS and not exact):
        return INCONCLUSIVE
    ends = [bound.holds(end) for end in interval(ratios, 0.0 if exact else widen)]
    return PASS if all(ends) else INCONCLUSIVE if any(ends) else FAIL


def worst(verdicts: Sequence[str]) -> str:
    """Return the verdict on something that has to pass several gates at once."""
    return max(verdicts, key=(PASS, INCONCLUSIVE, FAIL).index)


def colored(verdict: str) -> str:
    """Return a verdict of the lanes for a table; in its color on a terminal."""
    color = _COLORS.get(verdict.split(" ", maxsplit=1)[0])
    return verdict if color is None or not sys.stdout.isatty() else f"\x1b[{color}m{verdict}\x1b[0m"


def laid_out(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Lay a table out as text.

    Args:
        lines: Its lines, the heading first; all of one length.
        right: Columns that end alike instead of beginning alike.
    """

    def shown(cell: str) -> int:
        return len(re.sub(r"\x1b\[\d+m", "", cell))

    widths = [max(map(shown, column)) for column in zip(*lines, strict=True)]
    laid = []
    for line in lines:
        cells = []
        for i, (cell, width) in enumerate(zip(line, widths, strict=True)):
            fill = " " * (width - shown(cell))
            cells.append(fill + cell if i in right else cell + fill)
        laid.append("  ".join(cells).rstrip())
    return "\n".join(laid)
