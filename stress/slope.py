"""Does it grow? A robust slope with an interval, and a verdict that may be that nobody knows.

The slope is Theil and Sen's: the median of the slopes between all pairs of readings, which a third of odd readings can't move.
The interval comes from resampling the readings. Only the second half of a play is judged: the first one warms up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from statistics import median
from typing import Final

FLAT, GROWS, INCONCLUSIVE = "flat", "grows", "inconclusive"

LEAST_READINGS: Final = 12
"""In the half that is judged; fewer say nothing."""

MOST_READINGS: Final = 60
"""So that all pairs of all resamples take less than a second; more are thinned out evenly."""

RESAMPLES: Final = 200


@dataclass(frozen=True, slots=True)
class Slope:
    """How something grew over the second half of a play.

    Attributes:
        per_message: The slope, by message.
        low: Lower end of its interval (95 %).
        high: Upper end.
        limit: What it may be.
        readings: How many were judged.
        verdict: ``flat`` if the whole interval is within the limit, ``grows`` if all of it is beyond, else
            ``inconclusive``.
    """

    per_message: float
    low: float
    high: float
    limit: float
    readings: int
    verdict: str


def judge(readings: Sequence[tuple[int, float]], limit: float) -> Slope:
    """Judge readings of (messages so far, value).

    Args:
        readings: In order.
        limit: Most that the value may grow by message.
    """
    half = list(readings[len(readings) // 2 :])
    if len(half) > MOST_READINGS:
        half = [half[round(i * (len(half) - 1) / (MOST_READINGS - 1))] for i in range(MOST_READINGS)]
    if len(half) < LEAST_READINGS:
        return Slope(0.0, 0.0, 0.0, limit, len(half), INCONCLUSIVE)
    random = Random(0)
    resampled = sorted(theil_sen(random.choices(half, k=len(half))) for _ in range(RESAMPLES))
    low, high = resampled[round(RESAMPLES * 0.025)], resampled[round(RESAMPLES * 0.975) - 1]
    verdict = FLAT if high <= limit else GROWS if low > limit else INCONCLUSIVE
    return Slope(theil_sen(half), low, high, limit, len(half), verdict)


def theil_sen(readings: Sequence[tuple[int, float]]) -> float:
    """Return the median of the slopes between all pairs of readings that differ in their first value; 0 without any."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(readings, 2) if a[0] != b[0]]
    return median(slopes) if slopes else 0.0
