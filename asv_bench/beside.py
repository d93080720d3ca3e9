"""Other threads beside a busy run: what W1 costs when one is there, and how long one waits for the interpreter.

    python -m asv_bench.beside [--rounds N] [--engine ENGINE] [--save]

The ratio is of time on the wall, W1 in windows (`windows`): with a thread that does nothing, over without. The waits are those of a thread
that sleeps and then wants the interpreter back, over and over, while W1 runs: as it comes, and one that is expected, as those
that serve a client are (`meridian.runtime.threads`).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
import time
from statistics import median, quantiles
from typing import Any

from asv_bench.engines import PYTHON, RUST
from asv_bench.record import Table, asked, hear_interruptions, offer_to_save, record, save
from asv_bench.windows import OTHER, ratios
from asv_bench.workloads import chain
from meridian.observability import configure
from meridian.runtime.threads import expect_more
from meridian_conformance.paired import Interval, interval

COMMAND = "python -m asv_bench.beside"
MESSAGES = {PYTHON: 5_000_000, RUST: 12_000_000}
"""Some three seconds of W1."""

AWAY_S = 0.002
"""For how long the thread that waits for the interpreter did without it."""


def there(engine: str, rounds: int, size: int | None = None) -> tuple[Interval, Interval]:
    """Return what W1 costs on the wall while an idle thread is there, over while none is; and two alike, as the control."""
    leave = threading.Event()
    threads: list[threading.Thread] = []

    def begin(kind: str) -> None:
        if kind == OTHER:
            leave.clear()
            threads.append(threading.Thread(target=leave.wait))
            threads[-1].start()

    def end(_: str) -> bool:
        leave.set()
        while threads:
            threads.pop().join()
        return True

    found = ratios(engine, rounds, begin, end, clock=time.perf_counter_ns, size=size)
    others, twins = zip(*found, strict=True)
    return interval(others), interval(twins)


def waits(engine: str, expected: bool, n: int | None = None) -> list[float]:
    """Return how many milliseconds a thread waited, each time it wanted the interpreter back while W1 ran.

    Args:
        engine: On which one W1 runs.
        expected: The thread says each time that it will come again.
        n: Messages of W1.
    """
    os.environ["MERIDIAN_ENGINE"] = engine
    over, waited = threading.Event(), []

    def come_and_go() -> None:
        while not over.is_set():
            if expected:
                expect_more()
            began = time.perf_counter_ns()
            time.sleep(AWAY_S)
            waited.append((time.perf_counter_ns() - began) / 1e6 - 1e3 * AWAY_S)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        asyncio.run(chain(n or MESSAGES[engine]))
    finally:
        over.set()
        thread.join()
    return waited


def kept(
    command: str, found: dict[str, tuple[Interval, Interval]], waited: dict[str, dict[bool, list[float]]]
) -> dict[str, Any]:
    """Return the record that the documentation quotes.

    Args:
        command: Gives the figures anew.
        found: What an idle thread costs, by engine.
        waited: How long one waits, by engine and by whether it is expected.
    """
    values: dict[str, Any] = {}
    rows = []
    for engine, (ratio, control) in found.items():
        of = values[engine] = {"ratio": round(ratio.median, 4)}
        cells = []
        for expected, name in ((False, "wait"), (True, "expected wait")):
            times = waited[engine][expected]
            of[f"{name} ms"] = round(median(times), 2)
            cells += [f"{median(times):.1f}", f"{quantiles(times, n=100)[-1]:.0f}"]
        rows.append([engine, str(ratio), str(control), *cells])
    columns = [
        "engine",
        "with an idle thread",
        "two alike",
        "ms of a wait:",
        "99 %:",
        "ms if expected:",
        "99 %:",
    ]
    return record(command, values, {"beside": Table(columns, rows)})


def main(argv: list[str]) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.beside", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=30, help="of eight windows of W1, two seconds (30)")
    parser.add_argument("--engine", choices=(PYTHON, RUST), help="on this engine only")
    offer_to_save(parser)
    options = parser.parse_args(argv)
    configure("ERROR")
    engines = [options.engine] if options.engine else [PYTHON, RUST]
    found = {engine: there(engine, options.rounds) for engine in engines}
    waited = {engine: {expected: waits(engine, expected) for expected in (False, True)} for engine in engines}
    made = kept(asked(COMMAND, argv), found, waited)
    table = made["tables"]["beside"]
    print(Table(table["columns"], table["rows"]).markdown())
    if options.save:
        save("beside", made)
    return 0


if __name__ == "__main__":
    hear_interruptions()
    raise SystemExit(main(sys.argv[1:]))
