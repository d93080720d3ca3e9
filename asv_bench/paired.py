"""Lane R: what an operation costs here over what it costs in another checkout, in processor time.

``python -m asv_bench.paired --against DIR`` prints it as a table. Three processes, two of the base and one of the head, wait for
their turns; how they take them and how it is judged is `meridian_conformance.paired`'s: A B B A and B A A B, samples of at least
20 ms, the collector off, an interval by resampling, and the two of the base as a control. Two processes of one and the same
program differ by a percent or two, for where things happen to lie in memory: so this lane judges by 10 %, and finer things are
lane I's (`instructions`). Whatever it can't tell is yellow and fails nothing.

Exit code: 0 green or yellow; 1 when an operation costs more than the budget, for sure; 2 when a measurement broke; 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from asv_bench.engines import PYTHON, RUST
from asv_bench.instructions import LaneError, engines_of
from asv_bench.record import hear_interruptions, progress
from asv_bench.trees import Tree, TreeError, tree
from asv_bench.verdict import GREEN, RED, YELLOW, colored, laid_out
from asv_bench.watched import OPERATIONS, ProcessorClock
from meridian_conformance.paired import Measured, Sample, compare

BUDGET = 1.10
QUADS = 12
"""At first; up to four times as many."""
USUAL = ("edge", "chain", "fan-in")
"""Measured if nobody asks for others: each takes a quarter of a minute at least."""


# ---- in a process that is measured -----------------------------------------------------------------------------------


def serve(name: str, engine: str) -> None:
    """Set an operation up, and do it as often as each line on stdin says; answer with the nanoseconds."""
    from meridian.engine.select import engine_factory
    from meridian.observability import configure

    configure("ERROR")
    if (runs := engine_factory()[1].name) != engine:
        raise LaneError(f"asked for the {engine} engine, got {runs}")
    if hasattr(os, "sched_setaffinity"):  # all three on one processor: no two are alike
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    operation = OPERATIONS[name]
    sample = operation.open(ProcessorClock())
    sample(operation.few)  # what is loaded or made on first use is
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        print(sample(int(line)), flush=True)


# ---- in the process that asks ----------------------------------------------------------------------------------------


@contextmanager
def sampling(of: Tree, engine: str, name: str) -> Iterator[Sample]:
    """Give the sample of an operation, done in a process of its own.

    Raises:
        LaneError: that process broke.
    """
    command = of.command("-m", "asv_bench.paired", "--worker", name, engine)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=of.environment(engine)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asks, answers = process.stdin, process.stdout

        def answer() -> str:
            if not (line := answers.readline().strip()):
                raise LaneError(f"{of.label}, {name}: its process ended with exit code {process.wait()}")
            return line

        def sample(n: int) -> int:
            asks.write(f"{n}\n")
            asks.flush()
            return int(answer())

        try:
            answer()
            yield sample
        except BaseException:
            process.kill()
            raise


def measure(
    base: Tree, head: Tree, engine: str, name: str, budget: float = BUDGET, quads: int = QUADS
) -> Measured:
    """Measure an operation in both, in turns.

    Raises:
        LaneError: a process broke.
    """
    with ExitStack() as stack:
        sides = [stack.enter_context(sampling(of, engine, name)) for of in (base, base, head)]
        return compare(*sides[:2], sides[2], budget, quads=quads)


def judge(measured: Measured) -> str:
    """Return the verdict of this lane."""
    return RED if measured.broken else GREEN if measured.decided else YELLOW


def row(engine: str, name: str, measured: Measured) -> dict[str, Any]:
    """Return what was measured as plain data."""
    return {
        "operation": name,
        "engine": engine,
        "ratio": round(measured.ratio.median, 4),
        "interval": [round(measured.ratio.low, 4), round(measured.ratio.high, 4)],
        "control": [round(measured.control.low, 4), round(measured.control.high, 4)],
        "quads": measured.quads,
        "verdict": judge(measured),
    }


def rows(base: Tree, head: Tree, engines: Sequence[str], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Measure operations, one after the other."""
    for engine in engines:
        for name in names:
            progress(f"lane R: {name}, {engine} engine ...\n")
            yield row(engine, name, measure(base, head, engine, name))


def table(found: Sequence[dict[str, Any]]) -> str:
    """Lay rows out as text."""
    lines = [("operation", "engine", "ratio", "95 % of medians", "two of the base", "quads", "verdict")]
    for each in found:
        interval, control = (f"{low:.3f} .. {high:.3f}" for low, high in (each["interval"], each["control"]))
        told = (f"{each['ratio']:.3f}", interval, control, str(each["quads"]), colored(each["verdict"]))
        lines.append((each["operation"], each["engine"], *told))
    return laid_out(lines, right=(2, 5))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m asv_bench.paired", description=__doc__.splitlines()[0])
    parser.add_argument(
        "operation", nargs="*", help=f"of {', '.join(OPERATIONS)}; by default {', '.join(USUAL)}"
    )
    parser.add_argument("--against", type=Path, metavar="DIR", help="the checkout that is the base")
    parser.add_argument("--engine", choices=(PYTHON, RUST), help="on this engine only")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    parser.add_argument("--worker", nargs=2, metavar=("OPERATION", "ENGINE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        try:
            serve(*options.worker)
        except KeyboardInterrupt:  # told to whoever asks, too
            return 130
        return 0
    if unknown := [name for name in options.operation if name not in OPERATIONS]:
        parser.error(f"no operation {', '.join(unknown)}: there are {', '.join(OPERATIONS)}")
    if options.against is None:
        parser.error("this lane compares: --against DIR names the other checkout")
    found: list[dict[str, Any]] = []
    code = 0
    try:
        with tree("head") as head, tree("base", options.against) as base:
            engines = [options.engine] if options.engine else engines_of(head)
            found.extend(rows(base, head, engines, options.operation or USUAL))
    except (LaneError, TreeError) as error:
        progress(f"lane R: {error}\n")
        code = 2
    except KeyboardInterrupt:
        progress("lane R: interrupted\n")
        code = 130
    if options.json:
        print(json.dumps({"budget": BUDGET, "rows": found, "partial": code != 0}))
    elif found:
        print(table(found) + ("\n(partial)" if code else ""))
    return code or int(any(each["verdict"] == RED for each in found))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
