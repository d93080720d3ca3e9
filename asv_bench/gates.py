# req: V13
"""Measure the gates P1 to P12, R1 to R5 and R8: ``python -m asv_bench.gates`` (or ``make bench``) prints them as a table.

That takes two minutes at most. ``--full`` measures every workload on both engines besides, and takes its time.

Every gate gets a fresh process, in which the two sides alternate: ours, base, base, ours, and next round the other way
about, so that a machine that gets slower or faster favours neither. One round gives one ratio of CPU times (of medians
of wall time for latency). Every sample verifies the checksum of what it delivered. Where the sides are the two engines,
each has a process of its own (`engines`), and these take turns in the same way.

Exit code: 0 when everything was measured, whatever came out; 1 with ``--check`` when a gate is missed; 2 when a
measurement broke; 130 when interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from asv_bench import baseline, engines, probe, workloads
from asv_bench.record import ROOT, Table, hear_interruptions, offer_to_save, progress, record, save, source
from asv_bench.shape import Measure, Sides, StandingClock
from asv_bench.verdict import (
    FAIL,
    INCONCLUSIVE,
    LEAST_ROUNDS,
    NO_GATE,
    NOT_MEASURED,
    PASS,
    Bound,
    interval,
    judge,
    worst,
)

ROUNDS = 11
MOST_ROUNDS = 2
"""An inconclusive gate gets up to so many times the rounds."""
SECONDS = 75.0
"""For everything; what is left of it is shared among the gates that are left, by their rounds. Some need longer than their share,
so that it takes a bit more."""
LIMIT_S = 100.0
"""Nothing is begun any more when so much time is over: somebody waits for the table."""
FULL_SECONDS = 240.0
"""With ``--full``: all rows, and no such limit."""


@dataclass(frozen=True)
class Gate:
    """One row.

    Attributes:
        id: ``P1`` to ``P12``, ``R1`` to ``R8``, or the workload ``W1`` to ``W6``, with a letter where it has several parts;
            ``M1`` and so on for single calls.
        what: What is compared with what.
        bound: The gate. Where higher is better the ratio is base to ours (how many times as fast), else ours to base.
            ``None`` for what is only shown, as times as fast.
        prototype: What a throwaway prototype reached, or in the gates of the Rust engine a probe in C, on another machine; for
            orientation.
        unit: Of one side's figure.
        open: Gives the two sides, ours first; ``None`` for a single figure, see ``figure``.
        figure: Measures a figure that has no base, held directly against the bound.
        cost: A second gate, on our own figure, in ``unit``.
        missing: Says why it can't be measured here; nothing if it can.
        rounds: Share of the usual rounds.
        note: What the reader has to know about the comparison.
    """

    id: str
    what: str
    bound: Bound | None
    prototype: str
    unit: str = "ns/hop"
    open: Callable[[], Any] | None = None
    figure: Callable[[], Awaitable[tuple[float, str]]] | None = None
    cost: Bound | None = None
    missing: Callable[[], str] | None = None
    rounds: float = 1.0
    note: str = ""

    @property
    def higher(self) -> bool:
        """Whether a higher ratio is better."""
        return self.bound is None or self.bound.higher

    def judge(self, ratios: list[float], ours: list[float], widen: float = 0.0) -> str:
        """Return the verdict on the ratios, and on our own figures where these have a gate, too."""
        if self.bound is None:
            return NO_GATE
        verdict = judge(ratios, self.bound, exact=self.figure is not None, widen=widen)
        return verdict if self.cost is None else worst([verdict, judge(ours, self.cost, widen=widen)])


def at_least(limit: float) -> Bound:
    return Bound(limit, higher=True)


def at_most(limit: float) -> Bound:
    return Bound(limit, higher=False)


# ---- the two sides of each gate ------------------------------------------------------------------------------------


def flows(ours: Measure, base: Measure) -> Callable[[], Any]:
    """Two flows that are built anew for each sample."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Sides]:
        yield ours, base

    return open


def blocks(ours: Callable[[], Any], base: Callable[[], Any], count: int) -> Callable[[], Any]:
    """Two graphs that stay up; a sample is a block of messages."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Sides]:
        async with AsyncExitStack() as stack:
            ours_block = await stack.enter_async_context(ours())
            base_block = await stack.enter_async_context(base())
            yield (lambda: ours_block(count)), (lambda: base_block(count))

    return open


@asynccontextmanager
async def scraped() -> AsyncIterator[Sides]:
    """A flow with metrics exported, and one without.

    The exported one is charged for one scrape per second on top: samples are too short to hold just their share of one.
    """
    from meridian.observability import NoopMetrics, PrometheusMetrics, configure_metrics

    n = 60_000
    metrics, off = PrometheusMetrics(), NoopMetrics()
    scrape_s = 0.0

    def scrape() -> None:
        nonlocal scrape_s
        began = time.thread_time()
        metrics.render()
        scrape_s = time.thread_time() - began

    async def with_metrics() -> float:
        configure_metrics(metrics)
        try:
            return await workloads.chain(n) * (1 + scrape_s)
        finally:
            configure_metrics(off)

    async def without() -> float:
        return await workloads.chain(n)

    timer = threading.Timer(0.02, scrape)  # from another thread, while the flow goes on
    timer.start()
    configure_metrics(metrics)
    await workloads.chain(5 * n)
    timer.join()
    configure_metrics(off)
    yield with_metrics, without


def timing() -> Callable[[], Any]:
    return flows(lambda: workloads.chain(60_000), lambda: workloads.chain(60_000, clock=StandingClock()))


async def graph_bytes() -> tuple[float, str]:
    at_rest, used = await workloads.memory_graph(5_000)
    return at_rest, f"{used:,.0f} B once a message went through"


async def message_bytes() -> tuple[float, str]:
    return workloads.memory_message(100_000), ""


async def envelope_bytes() -> tuple[float, str]:
    return await workloads.memory_envelope(20_000), ""


def process_cost(statement: str) -> Measure:
    """CPU time of a whole process that runs one statement, in ms; modules are compiled, as they are once installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    async def measure() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", statement, cwd=ROOT, env=environment
        )
        if await process.wait():
            raise RuntimeError(f"a process that ran {statement!r} failed")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3

    return measure


# Sizes: at the speeds of the prototype a sample takes 50 to 150 ms; shorter ones are noise.
base_chain: Measure = lambda: baseline.chain(15_000)  # noqa: E731  # a name for what several gates share

CONTROL = Gate(
    "control",
    "asyncio.Queue against itself",
    at_most(1.03),
    "",
    open=flows(lambda: baseline.chain(6_000), lambda: baseline.chain(6_000)),
    rounds=2,
    note="how far it is from 1 widens the intervals of all gates",
)

ENGINES_CONTROL = Gate(
    "control_r",
    "the Python engine against itself",
    at_most(1.03),
    "",
    open=engines.beside("chain", engines.PYTHON, engines.PYTHON),
    missing=engines.missing,
    note="two processes; how far it is from 1 widens the intervals of what compares the engines",
)
CONTROLS = (CONTROL, ENGINES_CONTROL)


def rust(
    id: str,
    what: str,
    bound: Bound | None,
    prototype: str,
    workload: str,
    unit: str = "ns/hop",
    *,
    rounds: float = 0.5,
    **more: Any,
) -> Gate:
    """A workload on the Rust engine, to the same on the Python one."""
    more.setdefault("missing", engines.missing)
    return Gate(id, what, bound, prototype, unit, open=engines.beside(workload), rounds=rounds, **more)


def rust_to(workload: str, base: Callable[[], AbstractAsyncContextManager[Measure]]) -> Callable[[], Any]:
    """A workload on the Rust engine, in a process of its own, to something else, here."""

    @asynccontextmanager
    async def open() -> AsyncIterator[Sides]:
        async with engines.on(engines.RUST, workload) as ours, base() as there:
            yield ours, there

    return open


@asynccontextmanager
async def in_c() -> AsyncIterator[Measure]:
    loaded = probe.load()

    async def measure() -> float:
        return probe.chain(loaded, 60_000)

    yield measure


@asynccontextmanager
async def by_hand() -> AsyncIterator[Measure]:
    yield base_chain


PAGES = 0.005
"""How far two figures of resident memory are apart for no reason; what the clock is off by means nothing there."""


def unseen() -> str:
    """Say why memory that Python didn't allocate can't be seen here; nothing if it can."""
    if workloads.ROLLUP.exists():
        return engines.missing()
    return f"{workloads.ROLLUP} is needed to see all of the memory"


PYTHON_GATES = (
    Gate("P1", "chain, plain functions", at_least(8), "11.4",
         open=flows(lambda: workloads.chain(80_000), base_chain)),
    Gate("P2a", "chain, functions that emit", at_least(6), "9.9",
         open=flows(lambda: workloads.chain(40_000, "emit"), base_chain)),
    Gate("P2b", "chain, v1 classes that emit", at_least(6), "",
         open=flows(lambda: workloads.chain(30_000, "class"), base_chain),
         note="every message is wrapped in an envelope, the base carries bare numbers; the prototype had no such nodes"),
    Gate("P3a", "chain, async functions", at_least(4), "5.8",
         open=flows(lambda: workloads.chain(40_000, "async"), lambda: baseline.chain(12_000, baseline.same_async)),
         note="the base awaits the same function"),
    Gate("P3b", "chain, async functions that suspend", at_least(1.1), "1.5",
         open=flows(lambda: workloads.chain(3_000, "suspending"), lambda: baseline.chain(3_000, baseline.same_suspending)),
         note="the base awaits the same function"),
    Gate("P4", "chain, envelopes made once", at_least(5), "7.0",
         open=flows(lambda: workloads.chain(40_000, "envelope"), base_chain),
         note="the base carries bare numbers"),
    Gate("P5", "chain, to lists of 64 by hand", at_least(0.6), "0.77 to 0.85",
         open=flows(lambda: workloads.chain(100_000), lambda: baseline.batched(150_000))),
    Gate("P6", "chain, capacity 1", at_least(4), "6.0",
         open=flows(lambda: workloads.chain(10_000, capacity=1), lambda: baseline.chain(3_000, capacity=1))),
    Gate("P7", "fan-out to 8 and back into 1", at_least(7), "10.4",
         open=flows(lambda: workloads.fan(20_000), lambda: baseline.fan(4_000))),
    Gate("P8a", "ping, plain functions, p50", at_most(0.6), "0.44", "ns/ping",
         open=blocks(workloads.ping, baseline.ping, 600)),
    Gate("P8b", "ping, async functions, p50", at_most(0.8), "0.6", "ns/ping",
         open=blocks(lambda: workloads.ping("async"), baseline.ping, 600)),
    Gate("P8c", "ping, run to completion, p50", at_most(0.25), "0.15", "ns/ping",
         open=blocks(lambda: workloads.ping(push=True), baseline.ping, 600)),
    Gate("P9a", "sparse, 1,000 nodes", at_most(0.35), "0.22",
         open=blocks(lambda: workloads.sparse(1_000), lambda: baseline.sparse(1_000), 500)),
    Gate("P9b", "sparse, growth from 10 to 10,000 nodes", at_most(1.6), "1.4",
         open=blocks(lambda: workloads.sparse(10_000), lambda: workloads.sparse(10), 1_000),
         note="both sides are ours"),
    Gate("P10a", "build 10,000 nodes, plain", at_most(0.4), "0.2", "ns/node", rounds=0.4,
         open=flows(lambda: workloads.build(10_000), lambda: baseline.build(10_000))),
    Gate("P10b", "build 10,000 nodes, async", at_most(1.5), "1.4", "ns/node", rounds=0.4,
         open=flows(lambda: workloads.build(10_000, "async"), lambda: baseline.build(10_000))),
    Gate("P11a", "memory of a node and an edge", at_most(2_000), "1,317 B", "B", figure=graph_bytes),
    Gate("P11b", "memory of a queued raw message", at_most(9), "8.2 B", "B", figure=message_bytes),
    Gate("P11c", "memory of an envelope", at_most(64), "56 B", "B", figure=envelope_bytes),
    Gate("P12a", "metrics exported, to not exported", at_most(1.03), "1.00 to 1.03", rounds=3, open=scraped,
         note="counters can't be switched off; this is PrometheusMetrics, one scrape a second included, to NoopMetrics"),
    Gate("P12b", "batches timed, to a standing clock", at_most(1.08), "1.05 to 1.07", rounds=3, open=timing(),
         note="timing can't be switched off; the base reads a clock that costs next to nothing"),
    Gate("import", "import meridian, to import asyncio", at_most(1.5), "", "ms",
         open=flows(process_cost("import meridian"), process_cost("import asyncio")), note="CPU time of the whole process"),
)  # fmt: skip

NOT_SLOWER = at_least(1)
NOT_LARGER = at_most(1)

RUST_GATES = (
    rust("R1a", "chain, plain functions, to Python's", at_least(1.2), "1.6", "chain", rounds=1.0),
    Gate("R1b", "chain, plain functions, to C", at_most(1.3), "1",
         open=rust_to("chain", in_c), missing=lambda: engines.missing() or probe.missing(),
         note="the probe in C has rings, a ready queue and batches, and nothing else"),
    rust("R2", "chain, one message a slice, to Python's", at_least(5), "10.6", "chain, one a slice"),
    rust("R3", "chain, async functions, to Python's", at_least(1.2), "1.6", "chain, async", rounds=1.0),
    Gate("R4a", "native nodes, slices of 64, to asyncio", at_least(60), "185; 9 ns", cost=at_most(25), rounds=0.5,
         open=rust_to("native", by_hand), missing=engines.missing,
         note="Router and FilterTransformer by type, ThrottleNode and CounterNode; the base passes a number on"),
    Gate("R4b", "native nodes, one message a slice, to asyncio", at_least(30), "80; 22 ns", cost=at_most(50), rounds=0.5,
         open=rust_to("native, one a slice", by_hand), missing=engines.missing),
    Gate("R5", "ping less the loop's share, p50, to Python's", at_most(0.35), "0.06", "ns/ping",
         open=engines.beside("ping without loop"), missing=engines.missing),
    Gate("R8", "memory of an idle edge, to Python's", NOT_LARGER, "", "B",
         open=engines.beside("idle edge"), missing=unseen, rounds=0.3,
         note="used once, then empty"),

    # No workload may be slower. W1 with plain and with async functions are R1a and R3.
    rust("W1a", "chain, functions that emit", NOT_SLOWER, "", "chain, emit"),
    rust("W1b", "chain, v1 classes that emit", NOT_SLOWER, "", "chain, class"),
    rust("W1c", "chain, envelopes made once", NOT_SLOWER, "", "chain, envelope"),
    rust("W1d", "chain, async functions that suspend", NOT_SLOWER, "", "chain, suspending"),
    rust("W1e", "chain, capacity 1", NOT_SLOWER, "", "chain, capacity 1"),
    rust("W2", "fan-out to 8 and back into 1", NOT_SLOWER, "", "fan"),
    rust("W3a", "ping, plain functions, p50", NOT_SLOWER, "", "ping", "ns/ping"),
    rust("W3b", "ping, async functions, p50", NOT_SLOWER, "", "ping, async", "ns/ping"),
    rust("W3c", "ping, run to completion, p50", NOT_SLOWER, "", "ping, push", "ns/ping"),
    rust("W4a", "sparse, 10 nodes", NOT_SLOWER, "", "sparse, 10"),
    rust("W4b", "sparse, 1,000 nodes", NOT_SLOWER, "", "sparse, 1,000"),
    rust("W4c", "sparse, 10,000 nodes", NOT_SLOWER, "", "sparse, 10,000"),
    rust("W5a", "build 5,000 nodes, plain", NOT_SLOWER, "", "build", "ns/node"),
    rust("W5b", "build 2,000 nodes, async", NOT_SLOWER, "", "build, async", "ns/node"),
    rust("W6a", "memory of a node and an edge, at rest", NOT_LARGER, "", "graph at rest", "B", rounds=0.3, missing=unseen),
    rust("W6b", "memory of a node and an edge, used", NOT_LARGER, "", "graph in use", "B", rounds=0.3, missing=unseen),
    rust("W6c", "memory of a queued raw message", NOT_LARGER, "", "queued message", "B", rounds=0.3, missing=unseen),
    rust("W6d", "memory of an envelope", NOT_LARGER, "", "kept envelope", "B", rounds=0.3, missing=unseen),

    rust("M1", "Edge.try_put and try_get", None, "", "put and get", "ns"),
    rust("M2", "Message(...)", None, "", "messages made", "ns"),
    rust("M3", "Node.emit", None, "", "emitted", "ns"),
)  # fmt: skip

GATES = (*PYTHON_GATES, *RUST_GATES)


# ---- one gate, in a process of its own -----------------------------------------------------------------------------


async def measure(gate: Gate, rounds: int, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """Give one result per round: ``ratio``, and the figures of both sides."""
    if gate.figure is not None:
        figure, note = await gate.figure()
        yield {"ratio": figure, "ours": figure, "note": note}
        return
    assert gate.open is not None
    rounds = max(LEAST_ROUNDS, round(rounds * gate.rounds))
    began = time.monotonic()
    ratios: list[float] = []
    figures: list[float] = []
    async with gate.open() as (ours, base):
        while True:
            spent = time.monotonic() - began
            enough = len(ratios) >= rounds and (
                len(ratios) >= rounds * MOST_ROUNDS or gate.judge(ratios, figures) != INCONCLUSIVE
            )
            late = len(ratios) >= LEAST_ROUNDS and spent * (1 + 1 / len(ratios)) > seconds
            if enough or late:
                return
            sides, costs = (ours, base), [0.0, 0.0]
            first = len(ratios) % 2
            for side in (first, 1 - first, 1 - first, first):
                costs[side] += await sides[side]() / 2
            a, b = costs
            figures.append(a)
            ratios.append(b / a if gate.higher else a / b)
            yield {"ratio": ratios[-1], "ours": a, "base": b}


async def work(gate: Gate, rounds: int, seconds: float) -> None:
    """Print one line of JSON per round."""
    from meridian.observability import configure

    configure("ERROR")
    async for result in measure(gate, rounds, seconds):
        print(json.dumps(result), flush=True)


# ---- all of them ---------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What came of one gate."""

    gate: Gate
    ratios: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: bool = False
    missing: str = ""
    widen: float = 0.0

    def add(self, result: dict[str, Any]) -> None:
        """Take the result of one round."""
        for name, values in (("ratio", self.ratios), ("ours", self.ours), ("base", self.base)):
            if name in result:
                values.append(result[name])
        if result.get("note"):
            self.notes.append(result["note"])

    @property
    def verdict(self) -> str:
        """The gate's verdict; broken is missed."""
        if self.broken:
            return FAIL
        return NOT_MEASURED if self.missing else self.gate.judge(self.ratios, self.ours, self.widen)

    @property
    def spread(self) -> tuple[float, float] | None:
        """Where the median lies with 95 % confidence, or ``None``."""
        if not self.ratios or self.gate.figure is not None:
            return None
        return interval(self.ratios, self.widen)

    def as_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        gate, spread = self.gate, self.spread
        return {
            "id": gate.id,
            "what": gate.what,
            "ratio": round(median(self.ratios), 4) if self.ratios else None,
            "gate": None if gate.bound is None else gate.bound.limit,
            "better": "higher" if gate.higher else "lower",
            "cost_gate": None if gate.cost is None else gate.cost.limit,
            "verdict": self.verdict,
            "spread": None if spread is None else [round(end, 4) for end in spread],
            "rounds": len(self.ratios),
            "ours": round(median(self.ours), 1) if self.ours else None,
            "base": round(median(self.base), 1) if self.base else None,
            "unit": gate.unit,
            "prototype": gate.prototype,
            "note": self.missing or "; ".join(filter(None, (gate.note, *self.notes))),
        }


def run_gate(gate: Gate, rounds: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Measure one gate in a fresh process; give its results as they come.

    Raises:
        subprocess.CalledProcessError: it broke; what it said is on stderr.
    """
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    environment.setdefault("MERIDIAN_ENGINE", "python")
    command = [sys.executable, "-m", "asv_bench.gates", "--worker", gate.id]
    command += ["--rounds", str(rounds), "--seconds", f"{seconds:.1f}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
        except BaseException:
            process.terminate()
            raise
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)


def measure_all(
    gates: list[Gate], rounds: int, seconds: float, rows: list[Row], limit_s: float = float("inf")
) -> None:
    """Measure ``gates``, each sort behind its control; fills ``rows`` as it goes, so that an interruption leaves what there is.

    Args:
        gates: What to measure.
        rounds: Of each, times its share.
        seconds: Shared among them by their rounds.
        rows: One is added for each.
        limit_s: When to begin no further gate, in seconds from now.
    """
    began = time.monotonic()
    ends = began + seconds
    todo: list[tuple[Gate, str]] = []
    for control, sort in zip(CONTROLS, (PYTHON_GATES, RUST_GATES), strict=True):
        if asked := [gate for gate in gates if gate in sort]:
            todo += [(gate, "" if gate.missing is None else gate.missing()) for gate in (control, *asked)]
    widen = 0.0
    left = sum(gate.rounds for gate, missing in todo if not missing)
    for gate, missing in todo:
        row = Row(gate, missing=missing, widen=PAGES if gate.unit == "B" else widen)
        rows.append(row)
        if not missing and time.monotonic() > began + limit_s:
            row.missing = f"the {limit_s:g} seconds were over (--full measures everything, --only some)"
        if row.missing:
            continue
        share = (
            max(ends - time.monotonic(), 0.0) * gate.rounds / left * 1.3
        )  # some need less than their share
        left -= gate.rounds
        progress(f"{gate.id:<10}{gate.what} ")
        try:
            for result in run_gate(gate, rounds, share):
                row.add(result)
                progress(".")
        except subprocess.CalledProcessError as error:
            row.broken = True
            row.notes.append(f"broke with exit code {error.returncode}")
        if gate in CONTROLS and row.ratios:
            widen = abs(median(row.ratios) - 1)
        progress(f" {median(row.ratios):.4g} {row.verdict}\n" if row.ratios else " not measured\n")


def conditions(controls: list[Row]) -> dict[str, Any]:
    """Say under what conditions the figures came about, beside what every record says."""
    found: dict[str, Any] = {"engine": os.environ.get("MERIDIAN_ENGINE", "python")}
    for row in controls:
        if row.ratios:
            found[row.gate.id] = {"ratio": round(median(row.ratios), 4), "rounds": len(row.ratios)}
    return found


def _figures(row: Row) -> str:
    found = [f"{median(values):,.1f}" if values else "" for values in (row.ours, row.base)]
    text = " / ".join(filter(None, found))
    return f"{text} {row.gate.unit}" if text else ""


def table(rows: list[Row], partial: bool) -> str:
    """Lay the rows out as text."""
    lines = [("id", "what", "ratio", "gate", "prototype", "verdict", "95 % of medians", "ours / base")]
    notes: dict[str, list[str]] = {}
    for row in rows:
        gate, spread = row.gate, row.spread
        is_bytes = gate.figure is not None
        figure = "-"
        if row.ratios:
            found = median(row.ratios)
            figure = f"{found:,.{0 if found > 1000 else 2}f}{' B' if is_bytes else ''}"
        lines.append((
            gate.id,
            gate.what,
            figure,
            "" if gate.bound is None else f"{gate.bound}{f', {gate.cost} ns' if gate.cost else ''}",
            gate.prototype,
            row.verdict,
            "" if spread is None else f"{spread[0]:.2f} .. {spread[1]:.2f}",
            "" if is_bytes else _figures(row),
        ))  # fmt: skip
        if note := "; ".join(filter(None, (gate.note, *row.notes))):
            notes.setdefault(note, []).append(gate.id)
        if row.missing:
            notes.setdefault(f"not measured: {row.missing}", []).append(gate.id)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    laid = []
    for line in lines:
        cells = [
            cell.rjust(width) if i in (2, 7) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        laid.append("  ".join(cells).rstrip())
    verdicts = [row.verdict for row in rows]
    told = [PASS, FAIL, INCONCLUSIVE, *({NOT_MEASURED} & set(verdicts))]
    summary = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in told)
    return "\n".join([
        *laid,
        "",
        f"{summary}{' (partial: interrupted)' if partial else ''}.",
        "Gates with >= and no gate: how many times as fast as the base. Gates with <= : cost as a share of the base's, or bytes.",
        "Handlers that do real work shrink every ratio (docs/performance.md shows how far).",
        *(f"{', '.join(ids)}: {note}." for note, ids in notes.items()),
    ])  # fmt: skip


def in_markdown(rows: list[Row]) -> Table:
    """Lay the rows out as a page shows them."""
    laid = []
    for row in rows:
        gate, spread = row.gate, row.spread
        limit = "" if gate.bound is None else f"{gate.bound}{f', {gate.cost} ns' if gate.cost else ''}"
        found = f"{median(row.ratios):,.{0 if gate.figure is not None else 2}f}" if row.ratios else "–"
        between = "" if spread is None else f"{spread[0]:.2f} to {spread[1]:.2f}"
        laid.append(
            [gate.id, gate.what, limit.replace(">", "&gt;").replace("<", "&lt;"), found, between, row.verdict]
        )
    return Table(["gate", "what", "asked for", "measured:", "95 % of medians", "verdict"], laid)


def kept(rows: list[Row], command: str) -> dict[str, Any]:
    """Return the record that the documentation quotes."""
    gates = [row for row in rows if row.gate not in CONTROLS]
    values: dict[str, Any] = {
        row.gate.id: {
            "ratio": float(f"{median(row.ratios):.3g}"),
            "rounds": len(row.ratios),
            "verdict": row.verdict,
        }
        for row in gates
        if row.ratios
    }
    values["conditions"] = conditions([row for row in rows if row.gate in CONTROLS])
    tables = {
        "python": in_markdown([row for row in gates if row.gate in PYTHON_GATES]),
        "rust": in_markdown([row for row in gates if row.gate in RUST_GATES and row.gate.bound is not None]),
        "missed": in_markdown([row for row in gates if row.verdict == FAIL]),
    }
    return record(command, values, tables)


def command_of(arguments: list[str]) -> str:
    """Return the command that measures the same again; how it was to be printed or kept is not part of it."""
    asked = [each for each in arguments if each not in ("--json", "--save", "--check")]
    floor = " FLOOR=FOLDER" if os.environ.get("FLOOR") else ""
    return f"make bench{floor}" + (f' ARGS="{" ".join(asked)}"' if asked else "")


def report(
    rows: list[Row], partial: bool, as_json: bool, keep: bool = False, command: str = "make bench"
) -> None:
    """Print what there is, a table or one JSON object, and with ``keep`` write the record of it."""
    made = kept(rows, command)
    found = made["values"]["conditions"]
    if keep:
        save("gates", made)
    rows = [row for row in rows if row.gate not in CONTROLS]
    if as_json:
        told = found | {name: made[name] for name in ("date", "versions", "machine")}
        print(json.dumps({"gates": [row.as_json() for row in rows], "conditions": told, "partial": partial}))
        return
    print(table(rows, partial))
    of_control = "".join(
        f"; {gate.what} {found[gate.id]['ratio']:.3f}" for gate in CONTROLS if gate.id in found
    )
    print(f"{source(made).strip('*')} P: {found['engine']} engine{of_control}.")


def names_of(gate: Gate) -> set[str]:
    """Return what a gate is asked for by: ``p3a``, ``p3``, ``p``."""
    id = gate.id.lower()
    part_of = re.match(r"([a-z])\d+", id)
    return {id} if part_of is None else {id, *part_of.group(0, 1)}


def chosen(only: str | None, full: bool = False) -> list[Gate]:
    """Return the gates that ``only`` names (``P3`` means P3a and P3b, ``R`` all of these), in order.

    Without it, those of P and R; with ``full`` every workload on both engines, too.

    Raises:
        ValueError: a name that no gate has.
    """
    if not only:
        return (
            list(GATES)
            if full
            else [gate for gate in GATES if gate in PYTHON_GATES or gate.id.startswith("R")]
        )
    asked = [each.strip().lower() for each in only.split(",") if each.strip()]
    found = [gate for gate in GATES if names_of(gate) & set(asked)]
    known = set[str]().union(*map(names_of, GATES))
    unknown = [each for each in asked if each not in known]
    if unknown:
        raise ValueError(f"no gate {', '.join(unknown)}: there are {', '.join(gate.id for gate in GATES)}")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.gates", description="Measure the gates P1 to P12, R1 to R5 and R8."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    parser.add_argument("--only", metavar="P1,P3", help="measure these gates only")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"rounds of each gate (default {ROUNDS}, at least 3)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"time for everything (default {SECONDS:g}, with --full {FULL_SECONDS:g})",
    )
    parser.add_argument(
        "--full", action="store_true", help="every workload on both engines, too; some five minutes"
    )
    offer_to_save(parser)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a gate is missed")
    parser.add_argument("--worker", metavar="ID", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        gate = next(gate for gate in (*CONTROLS, *GATES) if gate.id == options.worker)
        try:
            asyncio.run(work(gate, options.rounds, options.seconds))
        except KeyboardInterrupt:
            return 130
        return 0
    try:
        gates = chosen(options.only, options.full)
    except ValueError as error:
        parser.error(str(error))
    if options.save and not options.full:
        parser.error("--save goes with --full: the documentation shows all of it")
    # Whoever asks for some gates, or says how long it may take, gets all that was asked for.
    hurry = options.only is None and options.seconds is None and not options.full
    seconds = options.seconds or (FULL_SECONDS if options.full else SECONDS)
    rows: list[Row] = []
    partial = False
    try:
        measure_all(gates, options.rounds, seconds, rows, LIMIT_S if hurry else float("inf"))
    except KeyboardInterrupt:
        partial = True
        progress(" interrupted\n")
    command = command_of(sys.argv[1:] if arguments is None else arguments)
    report(rows, partial, options.json, options.save and not partial, command)
    if partial:
        return 130
    if any(row.broken for row in rows):
        return 2
    return int(options.check and any(row.verdict == FAIL for row in rows if row.gate not in CONTROLS))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
