#!/usr/bin/env python3
"""Checks the formal models with Spin: what must hold, what must fail, and what must be reachable.

    python conformance/formal/check.py                    all of it; a table on stdout
    python conformance/formal/check.py edge.block         the checks whose name begins so
    python conformance/formal/check.py --trails FOLDER    also write a failure file for each trail that breaks a rule
    python conformance/formal/check.py --json             the table as JSON
    python conformance/formal/check.py --list             which checks there are

There are three kinds of check. A model *holds* if no history breaks a rule. Its *twins* each have one bug, and must be caught
breaking the rule that stands beside them: a model in which nothing can fail proves nothing. The history that catches one must be
the recorded one (``histories/``), which the tests replay on the code. The *witnesses* are situations that must be reachable: a
model in which nothing happens proves nothing either.

Needs Spin and a C compiler (Debian: spin, gcc, libc6-dev), and nothing else but Python. Where tcc is there (Debian: tcc), it
compiles the twins and witnesses: their searches take less time than gcc does.

Exit code 0: all is as it should be. 1: something isn't. 2: it couldn't be checked.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

import trails

HERE: Final = Path(__file__).resolve().parent
RULES: Final = HERE.parent / "meridian_conformance" / "rules.toml"
HISTORIES: Final = HERE / "histories"
"""The trail of each twin as a failure file; the tests replay them on the code."""

# ---- the one place where the constants of the models stand ---------------------------------------------------------------

POLICIES: Final = {name: number for number, name in enumerate(trails.POLICIES)}

EDGE: Final = {"CAPACITY": 3, "WAITERS": 2}
"""Capacity 3 is the least at which a release waits for the low mark; two who wait have an order."""

TIGHT: Final = {"CAPACITY": 1, "WAITERS": 3}
"""Capacity 1 is where one slot is fought over."""

SMALL: Final = {"CAPACITY": 2, "WAITERS": 2}
"""Enough for twins and witnesses, and gives short histories."""

BOUNDS: Final = {(4, 2, 1): (1, 4, 7), (2, 3, 1): (2, 2, 6), (1, 1, 1): (2, 2, 2)}
"""For weights of CONTROL, HIGH, NORMAL: for how many picks of others each waits at most. None is more than the sum of the
weights, which is what the documentation promises for any; CONTROL waits for ceil((HIGH + NORMAL) / CONTROL)."""

DEFAULT_WEIGHTS: Final = (4, 2, 1)
TURNS: Final = 2

# ---- what is checked ----------------------------------------------------------------------------------------------------

HOLDS, TWIN, WITNESS = "holds", "twin", "witness"
SECONDS: Final = 300
DEPTH: Final = 1_500_000
LONG: Final = ("ready.4-2-1", "ready.2-3-1")
"""Searches of a million states or so: they begin first, lest one is left alone at the end, and are worth optimising."""


@dataclass(frozen=True, slots=True)
class Check:
    """One run of the model checker.

    Attributes:
        name: What it is called.
        model: The file, without its ending.
        kind: `HOLDS`, `TWIN` or `WITNESS`.
        defines: The constants, and the flag of the twin or witness.
        rule: The rule that the twin must be caught breaking.
    """

    name: str
    model: str
    kind: str
    defines: dict[str, int]
    rule: str = ""

    def flags(self) -> list[str]:
        """Return what the preprocessor is given."""
        return [f"-D{name}={value}" for name, value in self.defines.items()]


@dataclass
class Outcome:
    """What came of a check.

    Attributes:
        check: Which.
        good: It is as it should be; ``None`` if it couldn't be checked.
        verdict: In words.
        states: States stored.
        seconds: Time it took, compiling included.
        history: For a twin, its trail as a failure file.
    """

    check: Check
    good: bool | None = None
    verdict: str = ""
    states: int = 0
    seconds: float = 0.0
    history: dict[str, Any] | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the form of ``--json``."""
        return {
            "name": self.check.name,
            "kind": self.check.kind,
            "model": f"{self.check.model}.pml",
            "defines": self.check.defines,
            "rule": self.check.rule or None,
            "states": self.states,
            "seconds": round(self.seconds, 2),
            "good": self.good,
            "verdict": self.verdict,
        }


def checks() -> Iterator[Check]:
    """Yield all checks."""
    yield from _edge_checks()
    yield from _ready_checks()


def _edge_checks() -> Iterator[Check]:
    def edge(policy: str, scope: dict[str, int], *flags: str) -> dict[str, int]:
        return {"POLICY": POLICIES[policy], **scope, **dict.fromkeys(flags, 1)}

    for policy in POLICIES:
        yield Check(f"edge.{policy}", "edge", HOLDS, edge(policy, EDGE))
        yield Check(f"edge.{policy}.one-slot", "edge", HOLDS, edge(policy, TIGHT))
    yield Check("edge.block.settled", "edge", HOLDS, edge("block", {**EDGE, "WAITERS": 3}, "SETTLED"))
    twins = [
        ("block", "BUG_ONE_TOO_MANY", "EDGE-101", SMALL),
        ("block", "BUG_CONTROL_NOT_COUNTED", "EDGE-101", SMALL),
        ("block", "BUG_NEWEST_FIRST", "EDGE-102", SMALL),
        ("block", "BUG_RELEASE_KEEPS_THE_LIST", "EDGE-103", SMALL),
        ("block", "BUG_CONTROL_LAST", "EDGE-108", SMALL),
        ("latest", "BUG_POLICY_LOSES_CONTROL", "EDGE-108", SMALL),
        ("drop", "BUG_DROPS_THE_OLDEST", "EDGE-111", SMALL),
        ("latest", "BUG_REPLACES_THE_NEWEST", "EDGE-112", SMALL),
        ("coalesce", "BUG_MERGES_INTO_THE_OLDEST", "EDGE-113", SMALL),
        ("block", "BUG_NOBODY_LOOKS", "EDGE-120", EDGE),
        ("block", "BUG_ATTENDS_ONLY_THE_FIRST", "EDGE-120", EDGE),
        ("block", "BUG_LAST_WAITER_FIRST", "EDGE-121", SMALL),
        ("block", "BUG_CANCELLED_STAYS", "EDGE-122", SMALL),
        ("block", "BUG_CLOSE_FORGETS_WAITERS", "EDGE-124", SMALL),
    ]
    for policy, flag, rule, scope in twins:
        yield Check(f"edge.{policy}.{_words(flag)}", "edge", TWIN, edge(policy, scope, "SETTLED", flag), rule)
    witnesses = [
        ("block", "WITNESS_ALL_WAIT", SMALL),
        ("block", "WITNESS_LET_ON_WHEN_NOTHING_IS_DUE", EDGE),
        ("block", "WITNESS_NO_ROOM_AFTER_ALL", SMALL),
        ("block", "WITNESS_NEWCOMER_TAKES_THE_ROOM", SMALL),
        ("block", "WITNESS_OVERTAKEN", SMALL),
        ("block", "WITNESS_CANCELLED_WHEN_LET_ON", SMALL),
        ("block", "WITNESS_CLOSED_ON_WAITERS", SMALL),
        ("block", "WITNESS_CONTROL_OVERTAKES", SMALL),
        ("drop", "WITNESS_CONTROL_WAITS", SMALL),
        ("drop", "WITNESS_DROPPED", SMALL),
        ("latest", "WITNESS_REPLACED", SMALL),
        ("latest", "WITNESS_NOTHING_TO_GIVE_WAY", SMALL),
        ("coalesce", "WITNESS_COALESCED", SMALL),
    ]
    for policy, flag, scope in witnesses:
        yield Check(f"edge.{policy}.{_words(flag)}", "edge", WITNESS, edge(policy, scope, flag))


def _ready_checks() -> Iterator[Check]:
    def ready(weights: tuple[int, int, int], turns: int, *flags: str) -> dict[str, int]:
        constants = {f"W{band}": weight for band, weight in enumerate(weights)}
        constants |= {f"B{band}": bound for band, bound in enumerate(BOUNDS[weights])}
        return {**constants, "TURNS": turns, **dict.fromkeys(flags, 1)}

    for weights in BOUNDS:
        yield Check(_ready_name(weights), "ready", HOLDS, ready(weights, TURNS))
    usual, tight = DEFAULT_WEIGHTS, (2, 3, 1)
    twins = [
        (usual, 1, "BUG_STRICT"),
        (usual, 1, "BUG_HOARDS"),
        (usual, 1, "BUG_NO_PATIENCE"),
        (usual, 1, "BUG_ONLY_CONTROL_IS_LATE"),
        (tight, 1, "BUG_FIRST_LATE_BAND"),
        (usual, 2, "BUG_LAST_FIRST"),
    ]
    for weights, turns, flag in twins:
        name = f"{_ready_name(weights)}.{_words(flag)}"
        yield Check(name, "ready", TWIN, ready(weights, turns, flag), "READY-202")
    witnesses = [
        (usual, 1, "WITNESS_CONTROL_WAITS"),
        (usual, 1, "WITNESS_HIGH_WAITS"),
        (usual, 1, "WITNESS_NORMAL_WAITS"),
        (usual, 1, "WITNESS_LATE_NORMAL_GOES_FIRST"),
        (tight, 1, "WITNESS_TWO_ARE_LATE"),
        (usual, 2, "WITNESS_LAST_IN_LINE_IS_SERVED"),
    ]
    for weights, turns, flag in witnesses:
        yield Check(f"{_ready_name(weights)}.{_words(flag)}", "ready", WITNESS, ready(weights, turns, flag))


def _ready_name(weights: tuple[int, int, int]) -> str:
    return "ready.{}-{}-{}".format(*weights)


def _words(flag: str) -> str:
    return flag.partition("_")[2].lower().replace("_", "-")


# ---- running them -------------------------------------------------------------------------------------------------------


class Unusable(Exception):  # noqa: N818 - what happened, not what went wrong here
    """A tool is absent, or failed by itself."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What checks are made with.

    Attributes:
        spin: Path of Spin.
        compiler: Path of a C compiler.
        quick: Path of one that compiles fast, or the same one.
    """

    spin: str
    compiler: str
    quick: str


def tools() -> Tools:
    """Find Spin and a C compiler.

    Raises:
        Unusable: one isn't there; the text says how to get it.
    """
    spin, compiler = shutil.which("spin"), shutil.which("gcc") or shutil.which("cc")
    missing = [name for name, path in (("spin", spin), ("gcc", compiler)) if path is None]
    if spin is None or compiler is None:
        packages = {"spin": "spin", "gcc": "gcc libc6-dev"}
        raise Unusable(
            f"{' and '.join(missing)} not found on the PATH; on Debian and Ubuntu: "
            f"apt-get install {' '.join(packages[name] for name in missing)}"
        )
    return Tools(spin, compiler, shutil.which("tcc") or compiler)


def run(check: Check, with_: Tools, suite: str, models: Path = HERE) -> Outcome:
    """Do one check.

    Args:
        check: Which.
        with_: The tools.
        suite: Version of the rules, for failure files.
        models: Where the models are.
    """
    began = time.monotonic()
    outcome = Outcome(check)
    try:
        with tempfile.TemporaryDirectory(prefix="meridian-formal-") as name:
            _search(outcome, with_, suite, models / f"{check.model}.pml", Path(name))
    except Unusable as error:
        outcome.good, outcome.verdict = None, str(error)
    outcome.seconds = time.monotonic() - began
    return outcome


def _search(outcome: Outcome, with_: Tools, suite: str, source: Path, folder: Path) -> None:
    check = outcome.check
    model = folder / source.name
    shutil.copyfile(source, model)
    _call(folder, with_.spin, "-a", *check.flags(), model.name)
    # Depth first keeps fewer states; breadth first finds the shortest history, which is what a reader wants to see, and so
    # soon that most of the time goes to the compiler, and to clearing a large hash table. Whatever made it, that history is
    # replayed; that a search found nothing is gcc's word.
    if check.kind == HOLDS:
        compiler, limits = with_.compiler, [f"-m{DEPTH}"]
        options = ["-O1" if check.name in LONG else "-O0"]
    else:
        compiler, options, limits = with_.quick, ["-O0", "-DBFS"], ["-w18"]
    _call(folder, compiler, "-w", "-DSAFETY", "-DNOREDUCE", *options, "-o", "pan", "pan.c")
    said = _call(folder, "./pan", *limits)
    states, errors = re.search(r"(\d+) states, stored", said), re.search(r"errors: (\d+)", said)
    if states is None or errors is None or "max search depth too small" in said or "aborted" in said:
        raise Unusable(f"the search didn't come to its end: {_last_line(said)}")
    outcome.states = int(states[1])
    if errors[1] == "0":
        outcome.good = check.kind == HOLDS
        missed = {TWIN: "NOT CAUGHT", WITNESS: "NOT FOUND"}
        outcome.verdict = missed.get(check.kind, "holds")
        return
    trail = _call(folder, with_.spin, "-t", *check.flags(), model.name, may_fail=True)
    broken = re.search(r"FAIL (\S+)", trail)
    outcome.history = trails.convert(trail, check.defines, suite) if broken else None
    if check.kind == WITNESS:
        outcome.good = "FOUND" in trail and not broken
        outcome.verdict = "found" if outcome.good else "ended before it was found"
    elif check.kind == TWIN:
        outcome.good = broken is not None and broken[1] == check.rule
        outcome.verdict = f"caught by {broken[1] if broken else 'no rule'}"
        if not outcome.good:
            outcome.verdict += f", should be {check.rule}"
    else:
        outcome.good = False
        outcome.verdict = f"BREAKS {broken[1]}" if broken else f"FAILS: {_last_line(said)}"


def _call(folder: Path, *command: str, may_fail: bool = False) -> str:
    """Run a command in ``folder`` and return what it said.

    Raises:
        Unusable: it failed, or took too long.
    """
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Unusable(f"{Path(command[0]).name} took more than {SECONDS} s") from None
    if done.returncode and not may_fail:
        raise Unusable(f"{Path(command[0]).name} failed: {_last_line(done.stdout)}")
    return done.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


# ---- telling ------------------------------------------------------------------------------------------------------------


def table(outcomes: Sequence[Outcome], to: TextIO) -> None:
    """Print what came of the checks."""
    paint = to.isatty() and "NO_COLOR" not in os.environ
    width = max(len(outcome.check.name) for outcome in outcomes)
    print(f"{'check':<{width}}  {'kind':<7}  {'states':>9}  {'time':>7}  verdict", file=to)
    for outcome in outcomes:
        color = {True: "32", False: "31", None: "33"}[outcome.good]
        verdict = f"\033[{color}m{outcome.verdict}\033[0m" if paint else outcome.verdict
        print(
            f"{outcome.check.name:<{width}}  {outcome.check.kind:<7}  {outcome.states:>9,}  "
            f"{outcome.seconds:>5.1f} s  {verdict}",
            file=to,
        )


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Say in one line how it went."""
    good, wrong, unknown = (
        sum(outcome.good is value for outcome in outcomes) for value in (True, False, None)
    )
    states = sum(outcome.states for outcome in outcomes)
    said = f"formal: {good} of {len(outcomes)} checks are as they should be"
    said += f", {wrong} are not" if wrong else ""
    said += f", {unknown} couldn't be made" if unknown else ""
    return f"{said}; {states:,} states in {seconds:.0f} s"


def compare(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Find fault with twins whose trail isn't the recorded one, since that is what was replayed on the code."""
    for outcome in outcomes:
        if outcome.check.kind == TWIN and outcome.good:
            path = folder / f"{outcome.check.name}.json"
            if not path.exists() or json.loads(path.read_text(encoding="utf-8")) != outcome.history:
                outcome.good = False
                outcome.verdict += f", by another history than the recorded one: --trails {os.path.relpath(folder)} writes it anew"


def write_trails(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write the failure files that there are, each named after its check."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.history is not None:
            path = folder / f"{outcome.check.name}.json"
            path.write_text(json.dumps(outcome.history, indent=2) + "\n", encoding="utf-8")


def suite_version() -> str:
    """Return the version of the rules, or an empty text where they can't be read."""
    found = (
        re.search(r'^suite *= *"([^"]+)"', RULES.read_text(encoding="utf-8"), re.MULTILINE)
        if RULES.exists()
        else None
    )
    return found[1] if found else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="check.py",
        description="Checks the formal models with Spin.",
        epilog="Exit codes: 0 good, 1 not, 2 unchecked.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only checks whose name begins so")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (default: one per core)"
    )
    parser.add_argument(
        "--trails", type=Path, metavar="FOLDER", help="write the histories that break rules there"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--list", action="store_true", help="print the names of the checks and do nothing")
    options = parser.parse_args(arguments)
    chosen = [check for check in checks() if check.name.startswith(tuple(options.names) or ("",))]
    if not chosen:
        print(
            f"formal: no check begins with {' or '.join(options.names)}; --list shows them", file=sys.stderr
        )
        return 2
    if options.list:
        print("\n".join(check.name for check in chosen))
        return 0
    try:
        found = tools()
    except Unusable as error:
        print(f"formal: {error}", file=sys.stderr)
        return 2
    began = time.monotonic()
    suite = suite_version()
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        longest_first = sorted(chosen, key=lambda check: check.name not in LONG)
        jobs = {pool.submit(run, check, found, suite): check for check in longest_first}
        done = {}
        for job in as_completed(jobs):
            done[jobs[job].name] = job.result()
    outcomes = [done[check.name] for check in chosen]
    if options.trails is not None:
        write_trails(outcomes, options.trails)
    compare(outcomes, HISTORIES)
    seconds = time.monotonic() - began
    if options.json:
        print(
            json.dumps(
                {"checks": [each.to_json() for each in outcomes], "seconds": round(seconds, 2)}, indent=2
            )
        )
    else:
        table(outcomes, sys.stdout)
    print(summary(outcomes, seconds), file=sys.stderr)
    if any(outcome.good is False for outcome in outcomes):
        return 1
    return 2 if any(outcome.good is None for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
