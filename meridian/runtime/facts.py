"""What a look at a run needs to know of it, while it goes on and after it has ended.

An ended run keeps no engine, no ring and no loop alive: only its plan, which the graph holds anyway, and its report.
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meridian.runtime.cpu import CpuTopology
    from meridian.runtime.plan import Plan
    from meridian.runtime.report import ErrorReport, RunReport
    from meridian.runtime.run import Run

_numbers = itertools.count(1)

running: dict[str, Run] = {}
"""The runs of this process that are under way, by id, oldest first."""


class Facts(NamedTuple):
    """One run.

    Attributes:
        id: Its id, unique on this machine: ``PID-NUMBER``.
        plan: What runs.
        report: What it did so far, or in all.
        at_ns: When that was counted, on the clock of the run.
        at_s: And as wall-clock time.
        bands: Band of each edge that isn't NORMAL, by id.
        weights: Shares of the CONTROL, HIGH and NORMAL bands.
        slices: Callbacks of the loop it took.
        cpu: Which processors the process may use.
        last_errors: The last failure of each node that had any, by name.
        live: The run itself, until it has ended.
    """

    id: str
    plan: Plan
    report: RunReport
    at_ns: int
    at_s: float
    bands: Mapping[str, int]
    weights: tuple[int, int, int]
    slices: int
    cpu: CpuTopology | None
    last_errors: Mapping[str, ErrorReport]
    live: Run | None


def new_run_id() -> str:
    """Return an id for one more run of this process."""
    return f"{os.getpid()}-{next(_numbers)}"
