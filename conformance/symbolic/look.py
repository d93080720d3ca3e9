#!/usr/bin/env python3
"""Lets CrossHair look for trouble: in the decision that the policies share, and in the reference edge under the kit.

    python conformance/symbolic/look.py             all of it; a table on stdout
    python conformance/symbolic/look.py policy      the checks whose name begins so

CrossHair runs code on terms instead of numbers, and asks a solver for numbers that lead elsewhere. Each check that must find
nothing has a twin with a bug that random search doesn't find: a search that finds nothing there proves nothing here. What the kit
finds is played again without CrossHair before it counts. No finding is no proof, but where it says that all paths were gone through.

Needs crosshair-tool and hypothesis-crosshair (ci/requirements/crosshair.txt).

Exit code 0: all is as it should be. 1: something isn't. 2: it couldn't be checked.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
OUT: Final = HERE.parent.parent / "build" / "crosshair"
SECONDS: Final = 900
INCONCLUSIVE: Final = 3
"""The kit's exit code where nothing was broken, and something not seen often enough."""
RULES, ENGINE, TWIN = "decisions.by_the_rules", "decisions.by_the_engine", "decisions.by_the_twin"


class Wrong(Exception):  # noqa: N818 - what came of a check, not what went wrong here
    """It isn't as it should be; the text says how."""


@dataclass(frozen=True, slots=True)
class Check:
    """One look.

    Attributes:
        name: What it is called.
        look: Returns the verdict, or raises `Wrong`.
    """

    name: str
    look: Callable[[], str]


def contract_holds() -> str:
    """The engine's decision keeps its contract, on all paths."""
    said = _crosshair("check", "--report_all", ENGINE)
    if "error:" in said or said.count("Confirmed over all paths") != _postconditions(ENGINE):
        raise Wrong(_last_line(said))
    return "confirmed over all paths"


def contract_can_fail() -> str:
    """The contract is found broken where it is, which is at one capacity."""
    said = _crosshair("check", "--report_all", TWIN)
    if "65537" not in said or "error:" not in said:
        raise Wrong(f"NOT CAUGHT: {_last_line(said)}")
    return "caught"


def decisions_are_equal() -> str:
    """The engine decides as the kit's model does, on all paths."""
    said = _crosshair("diffbehavior", RULES, ENGINE)
    if "No differences found" not in said or "All paths exhausted" not in said:
        raise Wrong(_last_line(said))
    return "no difference on all paths"


def decisions_can_differ() -> str:
    """A decision that is wrong at one capacity is found to differ."""
    said = _crosshair("diffbehavior", RULES, TWIN)
    if "capacity=65537" not in said:
        raise Wrong(f"NOT CAUGHT: {_last_line(said)}")
    return "caught"


def kit_finds_nothing() -> str:
    """The reference breaks no rule; failure files of those that it breaks are left in build/crosshair."""
    shutil.rmtree(OUT, ignore_errors=True)
    done = _kit("run", "python", "--effort", "crosshair", "--profile", "core", "--out", str(OUT))
    if done.returncode in (0, INCONCLUSIVE):  # so few histories may leave a rare situation out
        return "no rule was broken"
    broken = sorted(path.stem for path in (OUT / "failures").glob("*.json"))
    if not broken:
        raise Wrong(f"the kit failed: {_last_line(done.stdout)}")
    raise Wrong(f"BREAKS {', '.join(broken)} (build/crosshair/failures)")


def kit_can_find() -> str:
    """The kit finds an edge that forgets one number, and its failure file shows it without CrossHair."""
    with tempfile.TemporaryDirectory(prefix="meridian-symbolic-") as folder:  # no examples of earlier nights
        done = _kit(
            "run", "twin:Backend", "--effort", "crosshair", "--profile", "core", "--out", ".", cwd=folder
        )
        failure = Path(folder) / "failures" / "EDGE-104.json"
        if done.returncode != 1 or not failure.exists() or "12345" not in failure.read_text(encoding="utf-8"):
            raise Wrong(f"NOT CAUGHT: {_last_line(done.stdout)}")
        again = _kit("replay", str(failure), "--backend", "twin:Backend")
        right = _kit("replay", str(failure), "--backend", "python")
    if (again.returncode, right.returncode) != (1, 0):
        raise Wrong("caught, but the failure file doesn't show it")
    return "caught by EDGE-104, and replayed"


CHECKS: Final = (
    Check("policy.contract", contract_holds),
    Check("policy.contract.twin", contract_can_fail),
    Check("policy.difference", decisions_are_equal),
    Check("policy.difference.twin", decisions_can_differ),
    Check("kit.reference", kit_finds_nothing),
    Check("kit.twin", kit_can_find),
)


def _postconditions(function: str) -> int:
    """Return how many postconditions a function of `decisions` has: each is confirmed by itself."""
    import decisions

    return str(getattr(decisions, function.partition(".")[2]).__doc__).count("post:")


def _crosshair(*arguments: str) -> str:
    return _call("crosshair", *arguments, "--per_condition_timeout", "60").stdout


def _kit(*arguments: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    return _call("meridian_conformance.cli", *arguments, cwd=cwd)


def _call(module: str, *arguments: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a module of this environment.

    Raises:
        Wrong: it took too long.
    """
    try:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            check=False,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Wrong(f"{module} took more than {SECONDS} s") from None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="look.py", description="Lets CrossHair look for trouble.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only checks whose name begins so")
    options = parser.parse_args(arguments)
    chosen = [check for check in CHECKS if check.name.startswith(tuple(options.names) or ("",))]
    if not chosen:
        print(f"crosshair: there are {', '.join(check.name for check in CHECKS)}", file=sys.stderr)
        return 2
    missing = [name for name in ("crosshair", "hypothesis_crosshair_provider") if find_spec(name) is None]
    if missing:
        print(f"crosshair: {' and '.join(missing)} not installed: run `make crosshair`", file=sys.stderr)
        return 2
    wrong = 0
    for check in chosen:
        began = time.monotonic()
        try:
            verdict = check.look()
        except Wrong as found:
            wrong += 1
            verdict = str(found)
        print(f"{check.name:<22}  {time.monotonic() - began:>5.0f} s  {verdict}", flush=True)
    print(f"crosshair: {len(chosen) - wrong} of {len(chosen)} checks are as they should be", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
