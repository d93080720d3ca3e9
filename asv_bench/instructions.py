"""Lane I: how many instructions an operation takes. ``python -m asv_bench.instructions`` prints them as a table.

Valgrind's cachegrind counts the instructions of a whole process, so each operation is done ``few`` times in one process and
``many`` times in another, and the difference is divided: what starting up takes cancels. Both processes are forks of one that
has imported everything and done each operation before, so they begin in one and the same state. Hash seed and clock stand
still, the collector is off. Such a figure doesn't depend on what else the machine does; it comes out the same within a few
tenths of a percent.

It sees no cache misses, locks or system calls. That is what lane R (`paired`) is for.

    python -m asv_bench.instructions                          # all operations, on all engines that are here
    python -m asv_bench.instructions edge chain --engine rust
    python -m asv_bench.instructions --against ../other       # and how they compare with another checkout's
    python -m asv_bench.instructions --json >base.json        # ... or with what was stored
    python -m asv_bench.instructions --against base.json

Exit code: 0 green or yellow; 1 when an operation takes 5 % more than in what it is held against; 2 when a measurement broke;
3 without valgrind; 130 when interrupted.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

from asv_bench.engines import PYTHON, RUST
from asv_bench.record import hear_interruptions, progress
from asv_bench.shape import StandingClock
from asv_bench.trees import Tree, TreeError, tree
from asv_bench.verdict import GREEN, RED, YELLOW, colored, laid_out
from asv_bench.watched import (
    LOOPS,
    OFF,
    OPERATIONS,
    PROMETHEUS,
    Operation,
    ScrapingClock,
    provided,
    providers,
)

WARN, FAIL = 1.02, 1.05
"""More than so many times the instructions of the base is yellow, and red; slopes of one thing differ by less than 1 %."""
VALGRIND = ("--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
SCRAPES = (2, 6)
SECONDS = 1_200
"""Until a process under valgrind is given up."""

Case = tuple[str, str]
"""An operation and a mode of metrics; or `SCRAPE`."""
SCRAPE: Case = ("scrape", PROMETHEUS)
"""One reading of the metrics while the fan-in runs."""


class LaneError(Exception):
    """Something can't be measured, or broke."""


def missing() -> str:
    """Say why instructions can't be counted here; nothing if they can."""
    if which("valgrind"):
        return ""
    return "instructions can't be counted without valgrind (Debian: apt-get install valgrind)"


# ---- in the process that is counted ----------------------------------------------------------------------------------


def work(engine: str, cases: Sequence[Case]) -> None:
    """Do each case once, then twice more in forks, and print a line for each of these: the case, how often, the process."""
    from meridian.engine.select import engine_factory
    from meridian.observability import configure

    configure("ERROR")
    if (runs := engine_factory()[1].name) != engine:
        raise LaneError(f"asked for the {engine} engine, got {runs}")
    gc.disable()
    for case in cases:
        few, many = SCRAPES if case == SCRAPE else _counts(case)
        perform(case, few)
        for n in (few, many):
            child = os.fork()
            if child == 0:
                try:
                    perform(case, n)
                except BaseException as error:  # noqa: BLE001  # nothing of the parent's may go on in the child
                    print(f"{case}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                    os._exit(1)
                os._exit(0)
            if os.waitpid(child, 0)[1]:
                raise LaneError(f"{case} broke")
            print(json.dumps([*case, n, child]), flush=True)


def _operation(name: str) -> Operation:
    return OPERATIONS.get(name) or LOOPS[name]


def _counts(case: Case) -> tuple[int, int]:
    operation = _operation(case[0])
    return operation.few, operation.many


def perform(case: Case, n: int) -> None:
    """Do something so many times."""
    name, mode = case
    provider = providers()[mode]
    with provided(provider):
        if case == SCRAPE:
            fan_in = OPERATIONS["fan-in"]
            fan_in.open(ScrapingClock(provider, n))(fan_in.few)
        else:
            _operation(name).open(StandingClock())(n)


# ---- in the process that asks ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted of one package on one engine.

    Attributes:
        engine: Which.
        slopes: Instructions of one operation, by case.
    """

    engine: str
    slopes: dict[Case, float]


def count(of: Tree, engine: str, cases: Sequence[Case]) -> Counted:
    """Count the instructions of cases.

    Raises:
        LaneError: it can't be done.
    """
    if why := missing():
        raise LaneError(why)
    asked = of.command("-m", "asv_bench.instructions", "--worker", engine, json.dumps(cases))
    environment = of.environment(engine)
    # Once without valgrind: what is compiled is kept in files, and what can't work says so soon.
    _run(of.command("-c", "from asv_bench import instructions, workloads"), environment)
    with TemporaryDirectory() as logs:
        told = _run(
            [which("valgrind") or "valgrind", *VALGRIND, f"--log-file={logs}/%p", *asked], environment
        )
        counts: dict[Case, list[tuple[int, int]]] = {}
        for name, mode, n, pid in map(json.loads, told.splitlines()):
            counts.setdefault((name, mode), []).append((n, _total(Path(logs, str(pid)).read_text())))
    if set(counts) != set(cases):  # a lane that measures nothing finds nothing
        raise LaneError(f"{of.label}, {engine}: {len(counts)} of {len(cases)} cases gave a figure")
    return Counted(engine, {case: _slope(*counts[case]) for case in cases})


def _run(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LaneError(f"a process didn't end within {SECONDS} s") from error
    if done.returncode:
        raise LaneError(f"a process ended with exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _total(log: str) -> int:
    """Return the instructions that cachegrind's closing words tell."""
    found = re.search(r"I\s+refs:\s+([\d,]+)", log)
    if found is None:
        raise LaneError("cachegrind told no count")
    return int(found[1].replace(",", ""))


def _slope(few: tuple[int, int], many: tuple[int, int]) -> float:
    return (many[1] - few[1]) / (many[0] - few[0])


def engines_of(of: Tree) -> list[str]:
    """Return the engines that a package has here."""
    ask = "from meridian.engine.select import choose; print(choose('auto').name)"
    return [PYTHON, RUST] if _run(of.command("-c", ask), of.environment("auto")).strip() == RUST else [PYTHON]


def judge(ratio: float) -> str:
    """Return the verdict on instructions as a multiple of those of the base."""
    return RED if ratio > FAIL else YELLOW if ratio > WARN else GREEN


# ---- the command -----------------------------------------------------------------------------------------------------


def stored(file: Path) -> dict[str, dict[str, float]]:
    """Read what ``--json`` wrote: instructions by engine and operation.

    Raises:
        LaneError: it is something else, or of another interpreter.
    """
    try:
        found = json.loads(file.read_text())
        theirs, instructions = found["interpreter"], found["instructions"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LaneError(f"{file} has no figures of this lane ({type(error).__name__})") from error
    if theirs != interpreter():
        raise LaneError(f"{file} was measured with {theirs}, and this is {interpreter()}")
    return dict(instructions)


def interpreter() -> str:
    """Name the interpreter: only counts of the same one can be compared."""
    return f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}, {platform.python_compiler()}"


def measured(
    of: Tree, engines: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Count operations, one engine after the other."""
    for engine in engines:
        progress(f"lane I: {of.label}, {engine} engine, {len(names)} operations under valgrind ...\n")
        yield (
            engine,
            {
                name: slope
                for (name, _), slope in count(of, engine, [(name, OFF) for name in names]).slopes.items()
            },
        )


def rows(head: dict[str, dict[str, float]], base: dict[str, dict[str, float]] | None) -> list[dict[str, Any]]:
    """Return a row for each operation and engine that was measured."""
    found = []
    for engine, slopes in head.items():
        for name, slope in slopes.items():
            row: dict[str, Any] = {"operation": name, "engine": engine, "instructions": round(slope, 1)}
            of_base = None if base is None else base.get(engine, {}).get(name)
            if of_base:
                row |= {
                    "base": round(of_base, 1),
                    "ratio": round(slope / of_base, 4),
                    "verdict": judge(slope / of_base),
                }
            found.append(row)
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Lay rows out as text."""
    lines = [("operation", "engine", "instructions", "base", "ratio", "verdict", "what is done once")]
    for row in found:
        lines.append((
            row["operation"], row["engine"], f"{row['instructions']:,.0f}", f"{row['base']:,.0f}" if "base" in row else "",
            f"{row['ratio']:.4f}" if "ratio" in row else "", colored(row.get("verdict", "")), OPERATIONS[row["operation"]].what,
        ))  # fmt: skip
    return laid_out(lines, right=(2, 3, 4))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.instructions", description=__doc__.splitlines()[0]
    )
    parser.add_argument("operation", nargs="*", help=f"of {', '.join(OPERATIONS)}; all by default")
    parser.add_argument("--engine", choices=(PYTHON, RUST), help="on this engine only")
    parser.add_argument(
        "--against", type=Path, metavar="DIR_OR_JSON", help="a checkout, or what --json wrote"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    parser.add_argument("--worker", nargs=2, metavar=("ENGINE", "CASES"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        work(options.worker[0], [(name, mode) for name, mode in json.loads(options.worker[1])])
        return 0
    if unknown := [name for name in options.operation if name not in OPERATIONS]:
        parser.error(f"no operation {', '.join(unknown)}: there are {', '.join(OPERATIONS)}")
    if why := missing():
        progress(f"{why}\n")
        return 3
    names = options.operation or list(OPERATIONS)
    head: dict[str, dict[str, float]] = {}
    base: dict[str, dict[str, float]] | None = None
    code = 0
    try:
        with ExitStack() as stack:
            here = stack.enter_context(tree("head"))
            engines = [options.engine] if options.engine else engines_of(here)
            if options.against is None:
                pass
            elif options.against.is_dir():
                base = {}
                there = stack.enter_context(tree("base", options.against))
                base.update(measured(there, engines, names))
            else:
                base = stored(options.against)
            for engine, slopes in measured(here, engines, names):
                head[engine] = slopes
    except (LaneError, TreeError) as error:
        progress(f"lane I: {error}\n")
        code = 2
    except KeyboardInterrupt:
        progress("lane I: interrupted\n")
        code = 130
    found = rows(head, base)
    if options.json:
        print(
            json.dumps(
                {"interpreter": interpreter(), "instructions": head, "rows": found, "partial": code != 0}
            )
        )
    elif found:
        print(table(found) + ("\n(partial)" if code else ""))
    return code or int(any(row.get("verdict") == RED for row in found))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
