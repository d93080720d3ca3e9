"""Proves that the conformance kit finds mistakes in the Rust engine: each seeded fault has to be caught by its own rule.

    python ci/rust_faults.py [FAULT ...]    all of them by default

Needs a meridian_fast that was built with the cargo feature `faults`; `ci/rust faults` makes one, in a folder of its own. Without
a fault everything has to pass. Exit code 1 if a fault is missed or a rule is broken without one.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from meridian.engine.select import extension
from meridian_conformance import backends, checks, rules, runner, selftest
from meridian_conformance.checks import EFFORTS
from meridian_conformance.verdicts import Verdict

SEEDS = 2
"""Under how many seeds each fault has to be caught."""

fast: Any = extension()
"""The extension; its stub knows nothing of faults, which are never installed."""


def sound() -> list[str]:
    """Return what the Rust engine breaks without a fault."""
    return [
        f"without a fault: {target}: {found.rule} {found.verdict}"
        for target in backends.REFERENCES
        for found in runner.run(
            backends.load("rust", target),
            [name for name in checks.profiles(target) if name != "perf"],
            target=target,
            probe=False,
        ).rules
        if found.verdict in (Verdict.FAIL, Verdict.ERROR)
    ]


def caught(fault: str, rule: rules.Rule) -> selftest.Caught:
    """Look for one fault with the checks of its rule."""
    backend = backends.load("rust", rule.target)
    backend.name = fault
    fast.set_fault(fault)
    try:
        return selftest.examine(backend, rule, SEEDS, EFFORTS["pr"])
    finally:
        fast.set_fault(None)


def main(names: list[str]) -> int:
    """Look for these faults, or for all; return the exit code."""
    known: dict[str, str] = fast.faults()
    if unknown := [name for name in names if name not in known]:
        print(
            f"rust_faults: there is no fault {', '.join(unknown)}; there are {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    began = time.monotonic()
    problems = [] if names else sound()
    found = []
    for name in names or known:
        each = caught(name, rules.find(known[name]))
        if not each.ok:
            print(f"rust_faults: {name} was missed by {each.rule}", file=sys.stderr, flush=True)
        found.append(each)
    report = selftest.Report(found, problems)
    print(report.text())
    print(f"in {time.monotonic() - began:.0f} s")
    return 0 if report.green else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
