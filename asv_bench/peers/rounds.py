"""Who is measured when, and what came of it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from asv_bench.peers.contenders import BASE, CONTENDERS, WORKLOADS, Contender
from asv_bench.record import ROOT, progress
from asv_bench.v1_side_by_side import ProgramError, clean
from asv_bench.verdict import interval

LIMIT_S = 60
"""A process that takes longer than this is given up."""


@dataclass
class Row:
    """What is known about one contender in one workload.

    Attributes:
        contender: Who.
        workload: Its id.
        calls: A figure for each round that was measured, in plain calls of that moment; a ping's p50.
        p99_calls: The same for its p99.
        call_ns: What a plain call cost, in the middle of all that were measured: turns figures into nanoseconds.
        failed: Why it is measured no longer, or was not at all.
        version: Of its package, as its own process says.
    """

    contender: Contender
    workload: str
    calls: dict[int, float] = field(default_factory=dict)
    p99_calls: dict[int, float] = field(default_factory=dict)
    call_ns: float = 0.0
    failed: str = ""
    version: str = ""

    @property
    def ns(self) -> float:
        """The median, in nanoseconds on a machine of one speed."""
        return median(self.calls.values()) * self.call_ns

    @property
    def p99_ns(self) -> float:
        """The same of a ping's p99."""
        return median(self.p99_calls.values()) * self.call_ns

    @property
    def spread_ns(self) -> tuple[float, float]:
        """Where the median lies with 95 % confidence."""
        low, high = interval(list(self.calls.values()))
        return low * self.call_ns, high * self.call_ns

    def times(self, base: Row) -> list[float]:
        """How many times as fast as the base it was, in each round that has both."""
        return [base.calls[i] / self.calls[i] for i in self.calls if i in base.calls]


def rows_for(missing: dict[str, str]) -> list[Row]:
    """Return a row for each contender in each workload; one that can't be measured says why."""
    return [
        Row(
            contender,
            workload,
            failed=contender.cannot.get(workload, "") or missing.get(contender.environment, ""),
        )
        for workload in WORKLOADS
        for contender in CONTENDERS
    ]


def base_of(rows: list[Row], workload: str) -> Row:
    """Return the row that the others of a workload are compared with."""
    return next(row for row in rows if row.contender.name == BASE and row.workload == workload)


def order(rows: list[Row], round: int) -> Iterator[Row]:
    """Give the rows of one round, workload by workload, each time with another contender first."""
    for workload in WORKLOADS:
        mine = [row for row in rows if row.workload == workload and not row.failed]
        first = round % len(mine) if mine else 0
        yield from mine[first:] + mine[:first]


def ask(row: Row, python: Path, seconds: float) -> dict[str, Any]:
    """Measure a row once, in a fresh process.

    Raises:
        ProgramError: it failed, or took too long.
    """
    who = row.contender
    command = [str(python), "-m", "asv_bench.peers.program", who.module, who.form, row.workload, who.package]
    environment = {**clean(), **({"MERIDIAN_ENGINE": who.engine} if who.engine else {})}
    try:
        done = subprocess.run(
            [*command, str(seconds)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ProgramError(f"took longer than {LIMIT_S} s") from None
    if done.returncode:
        raise ProgramError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(
    rows: list[Row], pythons: dict[str, Path], rounds: int, seconds: float, ends: float
) -> Iterator[int]:
    """Fill the rows, round by round; give the number of each round that is complete.

    Args:
        rows: What to measure, and the results.
        pythons: By environment.
        rounds: How many, if there is time.
        seconds: Of each process, beside its start.
        ends: When to begin no further round, on the monotonic clock: when the last one would not end before it.
    """
    longest = 0.0
    speeds: list[float] = []
    try:
        for i in range(rounds):
            began = time.monotonic()
            if began + longest > ends:
                return
            progress(f"round {i + 1} of {rounds} ")
            for row in order(rows, i):
                try:
                    found = ask(row, pythons[row.contender.environment], seconds)
                except ProgramError as error:
                    row.failed = str(error)
                    progress("!")
                    continue
                speeds.append(found["call_ns"])
                row.version = found["version"]
                row.calls[i] = found["calls"]
                if "p99_calls" in found:
                    row.p99_calls[i] = found["p99_calls"]
                progress(".")
            longest = max(longest, time.monotonic() - began)
            progress(f" {longest:.0f} s\n")
            yield i
    finally:  # of what was measured until an interruption, too
        for row in rows:
            row.call_ns = median(speeds) if speeds else 0.0
