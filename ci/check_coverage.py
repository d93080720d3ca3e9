"""Holds the branch coverage of the core at its floor.

    python ci/check_coverage.py             reads build/coverage/report.json, written by `coverage json`

Counts branches only (a total that mixes in lines flatters), over `meridian/core`, `engine` and `runtime` together.
Prints each of their modules that misses a branch. Exit code 1 below the floor, 2 without a report.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "build" / "coverage" / "report.json"
FOLDERS = ("meridian/core/", "meridian/engine/", "meridian/runtime/")
FLOOR_PERCENT = 95.0


def main() -> int:
    """Compare the report with the floor; return the exit code."""
    if not REPORT.is_file():
        print(f"{REPORT.relative_to(ROOT)} is missing: run `make coverage`", file=sys.stderr)
        return 2
    report = json.loads(REPORT.read_text())
    total = covered = 0
    for name, entry in sorted(report["files"].items()):
        path = name.replace("\\", "/")
        if not path.startswith(FOLDERS):
            continue
        summary = entry["summary"]
        total += summary["num_branches"]
        covered += summary["covered_branches"]
        if summary["covered_branches"] < summary["num_branches"]:
            print(f"  {path}: {summary['covered_branches']} of {summary['num_branches']} branches")
    percent = 100.0 * covered / total if total else 100.0
    everything = report["totals"]
    print(
        f"coverage: core, engine and runtime {covered} of {total} branches = {percent:.1f} % "
        f"(floor {FLOOR_PERCENT:g} %); the whole package, lines and branches: {everything['percent_covered']:.1f} %"
    )
    return 0 if percent >= FLOOR_PERCENT else 1


if __name__ == "__main__":
    raise SystemExit(main())
