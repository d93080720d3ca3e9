"""W1 in windows: one run, cut into stretches of as many messages as take about a quarter of a second.

What is compared differs from window to window within one run: so it doesn't matter what else the machine does for longer
than that. A whole run beside another one would, for a machine shared with others changes its speed every few seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain as chained

from asv_bench.engines import PYTHON, RUST
from asv_bench.workloads import chain

MESSAGES = {PYTHON: 375_000, RUST: 875_000}
"""Of W1 in a window."""

A_SECOND = 4
"""So many windows are about a second."""

OTHER, BASE, TWIN = "O", "-", "="

ROUND = f"{BASE}{OTHER}{OTHER}{BASE}{BASE}{TWIN}{TWIN}{BASE}"
"""The windows of a round: what is judged (O), what it is held against (-), and a twin of that (=), as the control."""


def ratios(
    engine: str,
    rounds: int,
    begin: Callable[[str], None],
    end: Callable[[str], bool] = lambda _: True,
    clock: Callable[[], int] = time.process_time_ns,
    size: int | None = None,
) -> list[tuple[float, float]]:
    """Run W1 and return for each round what the other costs over the base, and what the twin does.

    Args:
        engine: On which one.
        rounds: How many, after one that doesn't count.
        begin: Is told at the beginning of each window what kind it is, on the loop's thread.
        end: The same at its end; says whether the window counts. If not, its round doesn't.
        clock: Nanoseconds; processor time of this process by default.
        size: Messages of a window.
    """
    os.environ["MERIDIAN_ENGINE"] = engine
    each = size or MESSAGES[engine]
    plan = ROUND * (rounds + 1)
    took: list[int] = []
    spoilt: set[int] = set()

    def windows() -> Iterator[range]:
        for i, kind in enumerate(plan):
            begin(kind)
            began = clock()
            yield range(i * each, (i + 1) * each)
            took.append(clock() - began)
            if not end(kind):
                spoilt.add(i // len(ROUND))

    asyncio.run(chain(each * len(plan), items=lambda: chained.from_iterable(windows())))
    starts = (i * len(ROUND) for i in range(1, rounds + 1) if i not in spoilt)
    return [_ratios(took[start : start + len(ROUND)]) for start in starts]


def _ratios(took: Sequence[int]) -> tuple[float, float]:
    before, other, others, after, begin, twin, twins, end = took
    return (other + others) / (before + after), (twin + twins) / (begin + end)
