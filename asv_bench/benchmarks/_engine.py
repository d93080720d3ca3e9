"""Which engine a benchmark runs on: its first parameter. And its clock, which only counts what a workload measured itself."""

import gc
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from asv_bench import engines

ENGINES = (engines.PYTHON, engines.RUST)
SKIPPED = "MERIDIAN_BENCH_SKIPPED"
"""The environment variable that names a file for the reasons why benchmarks were skipped; `asv_bench.history` reads it."""


def skip(why: str) -> NotImplementedError:
    """Return what `setup` raises so that asv skips the benchmark, after noting the reason, which asv doesn't keep."""
    if (path := os.environ.get(SKIPPED)) and sys.argv[1:2] == ["run"]:
        with open(path, "a", encoding="utf-8") as file:
            print(json.dumps({"benchmark": sys.argv[3], "why": why}), file=file)
    return NotImplementedError(why)


def choose(engine: str) -> None:
    """Let Meridian run on that engine. A process can have one only: asv gives each combination of parameters its own.

    Raises:
        NotImplementedError: there is no such engine here; asv then skips the benchmark.
        RuntimeError: another engine was chosen in this process before.
    """
    # Where Rust can be had, auto takes it; where it can't, importing Meridian must not fail before it has said why.
    os.environ["MERIDIAN_ENGINE"] = engine if engine == engines.PYTHON else "auto"
    from meridian.engine.select import engine_factory
    from meridian.observability import configure

    configure("ERROR")
    if engine == engines.RUST and (why := engines.missing()):
        raise skip(why)
    if (runs := engine_factory()[1].name) != engine:
        raise RuntimeError(f"asked for the {engine} engine, got {runs}")


class Clock:
    """Stands still but for what is added to it.

    asv times a whole call of a benchmark. A workload times itself, without what it builds first, and returns nanoseconds per
    hop or operation. With this clock as asv's timer, that is the figure that asv keeps, with its samples and statistics.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def add(self, ns: float) -> None:
        self.seconds += ns / 1e9


class OnEngine:
    """What the benchmarks have in common.

    A ``time_`` benchmark hands the figures of its workload to ``took``. ``version`` is another one where a benchmark's figures came to
    mean something else; asv and the page show those of one version only.
    """

    version = "1"

    params: Any = ENGINES
    param_names: tuple[str, ...] = ("engine",)
    number = 1  # a workload repeats its operation itself
    timer = Clock()
    timeout = 120

    def setup(self, engine: str, *_: Any) -> None:
        gc.enable()  # timeit has stopped the collector; a user's runs
        choose(engine)
        from asv_bench import operations, workloads

        self.workloads, self.operations = workloads, operations

    def took(self, ns: float) -> None:
        self.timer.add(ns)


def per_engine(*others: Iterable[Any]) -> tuple[Any, ...]:
    """Return ``params`` of a benchmark that has more of them than the engine."""
    return (ENGINES, *map(tuple, others))
