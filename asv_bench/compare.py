"""How this checkout compares with another commit, on both lanes: ``python -m asv_bench.compare main`` (or ``make compare BASE=main``).

The base is checked out under ``build/compare/``, once per commit. Where its Rust sources are this checkout's, the installed
``meridian_fast`` serves both; else its own is built there, and without cargo only the Python engine is compared.

Exit code: 0 green or yellow; 1 when an operation got slower; 2 when something broke; 130 when interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from asv_bench import instructions, paired
from asv_bench.engines import PYTHON
from asv_bench.instructions import LaneError, engines_of
from asv_bench.record import hear_interruptions, progress
from asv_bench.trees import ROOT, TreeError, tree
from asv_bench.verdict import RED
from asv_bench.watched import OPERATIONS

KEPT = ROOT / "build" / "compare"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def commit_of(base: str) -> str:
    """Return the commit that a name stands for.

    Raises:
        LaneError: there is none.
    """
    found = _git("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if found.returncode:
        raise LaneError(f"there is no commit {base!r}")
    return found.stdout.strip()


def checked_out(commit: str) -> Path:
    """Return a folder with that commit in it.

    Raises:
        LaneError: git refuses.
    """
    folder = KEPT / commit[:12]
    if not (folder / "meridian").is_dir():
        _git("worktree", "prune")
        done = _git("worktree", "add", "--detach", "--force", str(folder), commit)
        if done.returncode:
            raise LaneError(f"git can't check {commit[:12]} out: {done.stderr.strip()}")
    return folder


def extension_of(base: Path, commit: str) -> Path | None:
    """Return the folder with the base's own ``meridian_fast``, built if need be; ``None`` where the installed one is the same.

    Raises:
        LaneError: it can't be built; without cargo, too.
    """
    if _git("diff", "--quiet", commit, "--", "fast").returncode == 0:
        return None
    site = base / "build" / "site"
    if not site.is_dir():
        progress(f"compare: building meridian_fast of {commit[:12]} ...\n")
        if not (base / ".venv").exists():
            (base / ".venv").symlink_to(ROOT / ".venv")
        wheels = base / "build" / "wheels"
        done = subprocess.run(
            [base / "ci" / "rust", "build", wheels], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LaneError(f"meridian_fast of {commit[:12]} can't be built: {done.stderr.strip()[-500:]}")
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(site)
    return site


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m asv_bench.compare", description=__doc__.splitlines()[0])
    parser.add_argument("base", help="a branch, tag or commit")
    parser.add_argument(
        "operation", nargs="*", help=f"of {', '.join(OPERATIONS)}; all on lane I, some on lane R by default"
    )
    parser.add_argument("--engine", choices=("python", "rust"), help="on this engine only")
    parser.add_argument("--lane", choices=("I", "R"), help="this lane only; both by default")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.operation if name not in OPERATIONS]:
        parser.error(f"no operation {', '.join(unknown)}: there are {', '.join(OPERATIONS)}")
    counted: list[dict[str, Any]] = []
    timed: list[dict[str, Any]] = []
    code = 0
    try:
        commit = commit_of(options.base)
        folder = checked_out(commit)
        with ExitStack() as stack:
            head = stack.enter_context(tree("head"))
            engines = [options.engine] if options.engine else engines_of(head)
            extension = None
            if engines != [PYTHON]:
                try:
                    extension = extension_of(folder, commit)
                except LaneError as error:
                    progress(f"compare: the Rust engine isn't compared, since {error}\n")
                    engines = [PYTHON]
            base = stack.enter_context(tree(commit[:12], folder, extension=extension))
            if options.lane != "R":
                if why := instructions.missing():
                    progress(f"compare: lane I isn't measured, since {why}\n")
                else:
                    names = options.operation or list(OPERATIONS)
                    there = dict(instructions.measured(base, engines, names))
                    counted = instructions.rows(dict(instructions.measured(head, engines, names)), there)
            if options.lane != "I":
                timed.extend(paired.rows(base, head, engines, options.operation or paired.USUAL))
    except (LaneError, TreeError) as error:
        progress(f"compare: {error}\n")
        code = 2
    except KeyboardInterrupt:
        progress("compare: interrupted\n")
        code = 130
    if options.json:
        print(json.dumps({"base": options.base, "lane_i": counted, "lane_r": timed, "partial": code != 0}))
    else:
        if counted:
            print(
                f"Lane I, instructions of one operation; base is {options.base}\n\n{instructions.table(counted)}\n"
            )
        if timed:
            print(f"Lane R, processor time over that of {options.base}\n\n{paired.table(timed)}")
        if code:
            print("(partial)")
    return code or int(any(row.get("verdict") == RED for row in (*counted, *timed)))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
