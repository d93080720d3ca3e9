#!/usr/bin/env python3
"""Does either engine keep what it should let go of? Millions of operations, and the resident memory must not rise.

    ci/leak.py                          a million operations on each engine: half a minute
    ci/leak.py 100_000_000              the nightly form
    ci/leak.py 100_000_000 --on rust    one engine

Puts and takes count one operation each, alone, in batches and in runs: all policies, also such that raise, limits of bytes
and age, CONTROL, failing handlers, graphs that run again and graphs that are made anew. Memory is read after a collection, at
equal distances; the first half warms up, the second is judged by the median of all slopes between two readings, which a
single odd reading can't move. Exit code 1 if an engine grew by more than a mebibyte over the second half.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import combinations, cycle
from statistics import median
from typing import Any

READINGS = 40
ALLOWED = 1 << 20
"""Bytes that the second half may add by its slope."""


def growth(readings: Sequence[tuple[int, int]]) -> float:
    """Return the bytes that the second half of ``readings`` (operations, bytes) added, by the median of all slopes."""
    half = readings[len(readings) // 2 :]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(half, 2)]
    return median(slopes) * (half[-1][0] - half[0][0])


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- what is done, over and over: each returns how many operations it was ---------------------------------------------


def rounds() -> list[Callable[[], int]]:
    """Make the rounds, on the engine that is chosen."""
    from meridian import Message, MessageType, Scheduler, graph, node, sink, source, via
    from meridian.core.message import Scope
    from meridian.core.policies import Block, Coalesce, Drop, Latest, PutResult
    from meridian.engine.select import engine_type

    kinds = engine_type()

    class Own:
        def on_enqueue(self, capacity: int, size: int, item: Any) -> PutResult:
            if item % 7 == 0:
                raise ValueError(f"no {item}")
            return PutResult.OK if size < capacity else PutResult.REPLACED

    def merge(old: int, new: int) -> int:
        if new % 7 == 0:
            raise KeyError(new)
        return old + new

    rings = [
        kinds.ring_type("r", 4, policy) for policy in (Block(), Drop(), Latest(), Coalesce(merge), Own())
    ]
    budget = kinds.budget_type(1 << 20)
    now = [0]
    limits: dict[str, Any] = {
        "max_bytes": 100,
        "max_age_ns": 9,
        "budget": budget,
        "size": lambda item: 30,
        "clock": lambda: now[0],
    }
    rings += [
        kinds.limited_ring_type("l", 4, policy, **limits) for policy in (Block(), Latest(), Coalesce(merge))
    ]

    def singly() -> int:
        for ring in rings:
            for n in range(300):
                now[0] += n % 4
                try:
                    ring.put(n)
                    ring.put(Message(MessageType.DATA, n) if n % 3 == 0 else n)
                except (ValueError, TypeError):  # the policy of one's own
                    pass
                if n % 9 == 0:
                    ring.put(Message(MessageType.CONTROL, n))
                try:
                    ring.get()
                except IndexError:
                    pass
        return len(rings) * 300 * 3

    engine = kinds(Scope(), lambda: 0)
    plain = kinds.ring_type("p", 256, Block())
    engine.add_node(1, "n", "map", lambda item: None, {})
    engine.attach(plain, 1, "in", 2)
    batch = [object() for _ in range(256)]

    def in_batches() -> int:
        for _ in range(50):
            plain.offer(batch)
            taken = plain.take(200, True)
            plain.settle(200, taken[150:])
            plain.take(256)
        engine.run(1 << 20, 1 << 60)
        return 50 * 2 * 256

    @node
    def double(x: int) -> int:
        return 2 * x

    @node
    def fails(x: int) -> int:
        if x % 50 == 0:
            raise ValueError(x)
        return x

    def twice(x: int, emit: Callable[[int], None]) -> None:
        emit(x)
        emit(x)

    def made(n: int) -> Any:
        wires = source(range(n)) >> double >> fails >> node(name="twice")(twice) >> via(capacity=16)
        return graph(
            "g",
            wires >> sink(lambda x: None, name="all"),
            double >> via(capacity=2, policy=Latest()) >> sink(lambda x: None, name="some"),
        )

    def operations(scheduler: Any) -> int:
        return sum(edge.accepted + edge.delivered for edge in scheduler.report().edges)

    again = Scheduler()
    again.register(made(2_000))

    def run_again() -> int:
        again.run()
        return operations(again)

    def run_anew() -> int:
        scheduler = Scheduler()
        scheduler.register(made(200))
        scheduler.run()
        return operations(scheduler)

    return [singly, in_batches, run_again, run_anew]


def work(total: int) -> None:
    """Do ``total`` operations and print the readings."""
    from meridian.observability import logging as log

    log.replace_config(log.LogConfig(level="ERROR", stream=open(os.devnull, "w", encoding="ascii")))  # noqa: SIM115 - until the end
    made = cycle(rounds())
    done = 0
    readings = []
    for reading in range(1, READINGS + 1):
        done += next(made)()  # at least one round between two readings
        while done < total * reading // READINGS:
            done += next(made)()
        readings.append((done, resident()))
    print(json.dumps(readings))


# ---- the judge -------------------------------------------------------------------------------------------------------


def judge(engine: str, total: int) -> bool:
    """Let a process of its own work on ``engine``; say what came of it, and whether it may be."""
    ran = subprocess.run(
        [sys.executable, __file__, str(total), "--work"],
        env={**os.environ, "MERIDIAN_ENGINE": engine, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    readings = json.loads(ran.stdout)
    grew = growth(readings)
    verdict = "flat" if grew <= ALLOWED else "GREW"
    second = readings[-1][0] - readings[len(readings) // 2][0]
    print(
        f"leak: {engine}: {readings[-1][0]:,} operations, {readings[-1][1] / 2**20:.1f} MiB resident, "
        f"{grew / 2**10:+.1f} KiB over the last {second:,} ({grew / second * 1000:+.4f} bytes a thousand): {verdict}"
    )
    return grew <= ALLOWED


def main() -> int:
    """Work, or judge who works; return the exit code."""
    parser = argparse.ArgumentParser(description="watch the memory of both engines")
    parser.add_argument("operations", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--on", choices=["python", "rust", "both"], default="both")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.operations)
        return 0
    from meridian.core.errors import EngineError
    from meridian.engine.select import engine_type

    engines = ["python", "rust"] if options.on == "both" else [options.on]
    if engines == ["python", "rust"] and not os.environ.get("CI"):
        try:
            engine_type("rust")
        except EngineError as error:
            print(f"leak: rust: skipped: {error}")
            engines = ["python"]
    flat = [judge(engine, options.operations) for engine in engines]  # both, whatever the first one says
    return 0 if all(flat) else 1


if __name__ == "__main__":
    sys.exit(main())
