"""What a look at a run needs to know of it, while it goes on and after it has ended.

An ended run keeps no engine, no ring and no loop alive: only its plan, which the graph holds anyway, and its counts.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meridian.engine.select import EngineChoice
    from meridian.runtime.counts import Counts
    from meridian.runtime.cpu import CpuTopology
    from meridian.runtime.plan import Plan
    from meridian.runtime.report import ErrorReport
    from meridian.runtime.run import Run

_numbers = itertools.count(1)

running: dict[str, Run] = {}
"""The runs of this process that are under way, by id, oldest first."""


class Facts(NamedTuple):
    """One run.

    Attributes:
        id: Its id, unique on this machine: ``PID-NUMBER``.
        plan: What runs.
        counts: What it did so far, or in all.
        at_ns: When that was counted, on the clock of the run.
        at_s: And as wall-clock time.
        elapsed_s: How long after its beginning; once it has ended, how long it took.
        status: ``running`` or ``stopped``.
        reason: Why it ended.
        engine: Which engine runs it, and why.
        errors: The most recent failures.
        errors_total: All failures.
        weights: Shares of the CONTROL, HIGH and NORMAL bands.
        slices: Callbacks of the loop it took.
        cpu: Which processors the process may use.
        last_errors: The last failure of each node that had any, by name.
        live: The run itself, until it has ended.
    """

    id: str
    plan: Plan
    counts: Counts
    at_ns: int
    at_s: float
    elapsed_s: float
    status: str
    reason: str | None
    engine: EngineChoice
    errors: list[ErrorReport]
    errors_total: int
    weights: tuple[int, int, int]
    slices: int
    cpu: CpuTopology | None
    last_errors: Mapping[str, ErrorReport]
    live: Run | None

    def left(self) -> dict[str, int]:
        """Return the ids of edges that hold messages, and how many."""
        edges = zip(self.plan.edges, self.counts.edges, strict=True)
        return {planned.id: counts.depth for planned, counts in edges if counts.depth}


def new_run_id() -> str:
    """Return an id for one more run of this process."""
    return f"{os.getpid()}-{next(_numbers)}"
