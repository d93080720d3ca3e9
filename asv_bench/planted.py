"""Do lanes I and R find what they are there for: ``python -m asv_bench.planted`` plants regressions, and looks.

Each is an edit in a copy of the package, never in the checkout. Planted, the lane that should has to turn red; without it, it has to
stay green, again and again, while other processes keep the machine busy. Python engine: nothing has to be built for it.

Exit code: 0 when all were found and nothing else was; 1 when not; 2 when a measurement broke; 3 without valgrind; 130 when
interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asv_bench import instructions, overhead, paired
from asv_bench.engines import PYTHON
from asv_bench.instructions import Case, LaneError
from asv_bench.record import hear_interruptions, progress
from asv_bench.trees import Edit, Tree, TreeError, tree
from asv_bench.verdict import GREEN, RED, colored, laid_out
from asv_bench.watched import OFF, PROMETHEUS

REPEATS = 10
BUSY = 2
"""Processes that do nothing else but use up a processor."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A regression.

    Attributes:
        what: What was made worse.
        lane: The one that has to find it: ``I``, ``R``, or ``budget`` for lane I's part of the budget.
        operation: Of which operation.
        edits: What makes it worse.
    """

    what: str
    lane: str
    operation: str
    edits: tuple[Edit, ...]


_PUT = "        ring = self.ring() if self._ring is None else self._ring\n        weight = self._admit(ring, item)\n"
_NOTHING = "        item = item\n"
_PICK = "        saved, passed_over = self._saved, self._passed_over\n"
_MAP = "                out.extend(map(fn, rest))  # results before an exception stay in `out`\n"
_FUNCTION = "        self._functions[state.id] = (state, fn)\n"

PLANTED = (
    Planted(
        "5 % more instructions in put", "I", "put",
        (Edit("core/edge.py", _PUT, f"{_PUT}{_NOTHING * 21}"),),
    ),
    Planted(
        "half as much again in put", "R", "put",
        (Edit("core/edge.py", _PUT, f"{_PUT}{_NOTHING * 180}"),),
    ),
    Planted(
        "an O(n) scan in the ready queue", "I", "ready-10000",
        (Edit("engine/ready.py", _PICK, f"{_PICK}        any(turn.band < 0 for line in self.lines for turn in line)\n"),),
    ),
    Planted(
        "a counter in the inner loop", "I", "chain",
        (Edit(
            "engine/step.py", _MAP,
            "                for x in rest:\n                    out.append(fn(x))\n                    turn.slices += 1\n",
        ),),
    ),
    Planted(
        "a counter in the inner loop while metrics are on", "budget", "chain",
        (Edit(
            "runtime/observe.py", _FUNCTION,
            "        if self._metrics is not None:\n"
            "            counter = self._metrics.counter('handled_total')\n"
            "            counted = fn\n"
            "            fn = lambda item: (counter.inc(), counted(item))[1]\n" + _FUNCTION,
        ),),
    ),
)  # fmt: skip


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep the machine busy for a while."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(processes):
            started.append(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def cases(planted: Planted) -> list[Case]:
    """Return what lane I counts to find it."""
    modes = (OFF, PROMETHEUS) if planted.lane == "budget" else (OFF,)
    return [(planted.operation, mode) for mode in modes]


def seen(planted: Planted, base: dict[Case, float], head: dict[Case, float]) -> tuple[float, str]:
    """Return the ratio of counts that lane I sees, and its verdict."""
    off, *on = cases(planted)
    if planted.lane == "budget":
        ratio = head[on[0]] / head[off]
        return ratio, overhead.judge_count(ratio, overhead.BUDGET_I)
    ratio = head[off] / base[off]
    return ratio, instructions.judge(ratio)


def timed(planted: Planted, base: Tree, head: Tree) -> tuple[float, str]:
    """Return the ratio of times that lane R sees, and its verdict."""
    measured = paired.measure(base, head, PYTHON, planted.operation)
    return measured.ratio.median, paired.judge(measured)


def looks(repeats: int) -> Iterator[dict[str, Any]]:
    """Look at each with what is planted, once, and at all of them without it, so many times.

    Raises:
        LaneError: a measurement broke.
    """
    counted = [planted for planted in PLANTED if planted.lane != "R"]
    every = list(dict.fromkeys(case for planted in counted for case in cases(planted)))
    with tree("base") as base:
        progress("planted: the base, on lane I ...\n")
        slopes = instructions.count(base, PYTHON, every).slopes
        for planted in PLANTED:
            progress(f"planted: {planted.what}, lane {planted.lane} ...\n")
            with tree("planted", edits=planted.edits) as head:
                if planted.lane == "R":
                    found = timed(planted, base, head)
                else:
                    found = seen(planted, slopes, instructions.count(head, PYTHON, cases(planted)).slopes)
            yield _row(planted, True, *found, found[1] == RED)
        for i in range(repeats):
            progress(f"planted: nothing, {i + 1} of {repeats} ...\n")
            again = instructions.count(base, PYTHON, every).slopes
            for planted in PLANTED:
                if (
                    planted.lane == "R"
                ):  # which may be unable to tell on a busy machine, and fails nothing then
                    found = timed(planted, base, base)
                    yield _row(planted, False, *found, found[1] != RED)
                else:
                    found = seen(planted, slopes, again)
                    yield _row(planted, False, *found, found[1] == GREEN)


def _row(planted: Planted, is_planted: bool, ratio: float, verdict: str, right: bool) -> dict[str, Any]:
    return {
        "what": planted.what, "lane": planted.lane, "operation": planted.operation, "planted": is_planted,
        "ratio": round(ratio, 4), "verdict": verdict, "right": right,
    }  # fmt: skip


def table(found: list[dict[str, Any]]) -> str:
    """Lay what was seen out as text, a line for each that was planted."""
    lines = [("planted", "lane", "operation", "with it", "without it", "")]
    for planted in PLANTED:
        of_it = [row for row in found if row["what"] == planted.what]
        if not of_it:
            continue
        told = " ".join(f"{row['ratio']:.3f} {colored(row['verdict'])}" for row in of_it if row["planted"])
        without = [row for row in of_it if not row["planted"]]
        seen = ""
        if without:
            verdicts = [row["verdict"] for row in without]
            counts = ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))
            ratios = [row["ratio"] for row in without]
            seen = f"{counts} ({min(ratios):.3f} to {max(ratios):.3f})"
        right = "as it should be" if all(row["right"] for row in of_it) else "NOT as it should be"
        lines.append((planted.what, planted.lane, planted.operation, told, seen, right))
    return laid_out(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m asv_bench.planted", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help=f"without it, so often (default {REPEATS})"
    )
    parser.add_argument(
        "--busy", type=int, default=BUSY, help=f"processes that use the machine up (default {BUSY})"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    options = parser.parse_args(arguments)
    if why := instructions.missing():
        progress(f"{why}\n")
        return 3
    found: list[dict[str, Any]] = []
    code = 0
    try:
        with busy(options.busy):
            found.extend(looks(options.repeats))
    except (LaneError, TreeError) as error:
        progress(f"planted: {error}\n")
        code = 2
    except KeyboardInterrupt:
        progress("planted: interrupted\n")
        code = 130
    if options.json:
        print(json.dumps({"looks": found, "partial": code != 0}))
    else:
        print(table(found) + ("\n(partial)" if code else ""))
    return code or int(not all(row["right"] for row in found))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
