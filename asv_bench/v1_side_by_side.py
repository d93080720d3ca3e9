"""Meridian beside meridian-runtime 1.2.0: the same programs on both, in turns.

    python -m asv_bench.v1_side_by_side [--json] [--only chain,fan] [--rounds N] [--seconds S] [--venv FOLDER]

1.2.0 is installed with pip into a virtual environment of its own, which is kept for the next time, and is only ever started:
a program is one file (`v1_programs.py`), run by either interpreter in a fresh process. What a process reports is CPU time per
message. Each round runs both, the first of a round being the second of the next; the result is the median of the rounds'
ratios, with the interval in which the median of another such series would lie 19 times out of 20.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from asv_bench.record import ROOT, Table, hear_interruptions, offer_to_save, progress, record, save, source
from asv_bench.v1_programs import PROGRAMS
from asv_bench.verdict import LEAST_ROUNDS, interval

PROGRAM = Path(__file__).with_name("v1_programs.py")
VERSION = "1.2.0"
ROUNDS = 7
SECONDS = 0.5
LIMIT_S = 120
"""A program that takes longer than this is given up."""


class SetupError(Exception):
    """1.2.0 can't be had here; says why."""


class ProgramError(Exception):
    """A program failed on one side; says how."""


@dataclass
class Row:
    """What is known about one program."""

    name: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    failed: str = ""

    @property
    def ratios(self) -> list[float]:
        """How many times as fast Meridian was, by round."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        made: dict[str, Any] = {"program": self.name, "rounds": len(self.ours)}
        if self.failed:
            made["failed"] = self.failed
        if self.ours:
            low, high = interval(self.ratios)
            made |= {
                "ratio": round(median(self.ratios), 3),
                "spread": [round(low, 3), round(high, 3)],
                "meridian_us": round(median(self.ours) * 1e6, 3),
                "v1_us": round(median(self.theirs) * 1e6, 3),
            }
        return made


def interpreter(venv: Path) -> Path:
    """Return the Python of the environment that has 1.2.0, making it on first use.

    Raises:
        SetupError: it can't be made.
    """
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    ask = [str(python), "-c", "from importlib import metadata; print(metadata.version('meridian-runtime'))"]
    if python.exists() and _said(ask) == VERSION:
        return python
    progress(f"installing meridian-runtime {VERSION} into {venv} ")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"meridian-runtime=={VERSION}"],
    ):  # fmt: skip
        done = subprocess.run(command, env=clean(), capture_output=True, text=True, check=False)
        progress(".")
        if done.returncode:
            progress("\n")
            told = (done.stderr or done.stdout).strip().splitlines()
            raise SetupError(
                f"meridian-runtime {VERSION} could not be installed into {venv} (is there a network, and a package index?): "
                f"{told[-1] if told else f'exit code {done.returncode}'}"
            )
    progress("\n")
    if _said(ask) != VERSION:
        raise SetupError(f"{venv} was made, but has no meridian-runtime {VERSION}")
    return python


def _said(command: list[str]) -> str:
    try:
        return subprocess.run(command, env=clean(), capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def clean() -> dict[str, str]:
    """The environment without what would lead one interpreter into the other's packages."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PYTHONHASHSEED": "0"}


def measure(python: Path, name: str, seconds: float) -> dict[str, Any]:
    """Run a program in a fresh process; return what it reports.

    Raises:
        ProgramError: it failed, or took too long.
    """
    command = [str(python), str(PROGRAM), name, f"{seconds:.3f}"]
    try:
        done = subprocess.run(
            command, cwd=PROGRAM.parent, env=clean(), capture_output=True, text=True, timeout=LIMIT_S, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ProgramError(f"took longer than {LIMIT_S} s") from None
    if done.returncode:
        raise ProgramError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(row: Row, ours: Path, theirs: Path, rounds: int, seconds: float) -> None:
    """Fill a row, round by round."""
    results: dict[str, Any] = {}
    for i in range(rounds):
        found: dict[str, float] = {}
        sides = [("Meridian", ours), (VERSION, theirs)]
        for side, python in sides if i % 2 == 0 else reversed(sides):
            try:
                said = measure(python, row.name, seconds)
            except ProgramError as error:
                row.failed = f"{side}: {error}"
                return
            results[side] = said["result"]
            found[side] = said["seconds"]
        if results["Meridian"] != results[VERSION]:
            row.failed = f"{VERSION} computed {results[VERSION]}, Meridian {results['Meridian']}"
            return
        row.ours.append(found["Meridian"])
        row.theirs.append(found[VERSION])
        progress(".")


def table(rows: list[Row]) -> str:
    """Lay the rows out as text."""
    lines = [("program", "µs per message in 1.2.0", "in Meridian", "times as fast", "95 % of medians", "")]
    for row in rows:
        found = row.as_json()
        if row.ours:
            low, high = found["spread"]
            lines.append((row.name, f"{found['v1_us']:,.1f}", f"{found['meridian_us']:,.1f}",
                          f"{found['ratio']:.1f}", f"{low:.1f} .. {high:.1f}", row.failed))  # fmt: skip
        else:
            lines.append((row.name, "-", "-", "-", "", row.failed or "not measured"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 1 <= i <= 3 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def kept(rows: list[Row]) -> dict[str, Any]:
    """Return the record that the documentation quotes."""
    from meridian.engine.select import choose

    others = {"engine": choose(os.environ.get("MERIDIAN_ENGINE", "auto")).name, "meridian-runtime": VERSION}
    found = {row.name: row.as_json() for row in rows if row.ours}
    laid = [
        [name, f"{each['v1_us']:,.1f}", f"{each['meridian_us']:,.1f}", f"{each['ratio']:.1f}",
         "{:.1f} to {:.1f}".format(*each["spread"])]
        for name, each in found.items()
    ]  # fmt: skip
    columns = ["program", "µs per message in 1.2.0:", "in Meridian:", "times as fast:", "95 % of medians"]
    return record("make bench-v1", found, {"programs": Table(columns, laid)}, others)


def main(arguments: list[str] | None = None) -> int:
    """Compare, print; return the exit code: 2 if 1.2.0 can't be had, 1 if a program failed, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.v1_side_by_side",
        description=f"Compare Meridian with meridian-runtime {VERSION}.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    parser.add_argument("--only", metavar="chain,fan", help="these programs only")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}, at least {LEAST_ROUNDS}"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"of each process (default {SECONDS:g})"
    )
    parser.add_argument(
        "--venv",
        type=Path,
        default=ROOT / "build" / f"v1-{VERSION}",
        help="where 1.2.0 lives or is installed",
    )
    offer_to_save(parser)
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else list(PROGRAMS)
    if unknown := [name for name in names if name not in PROGRAMS]:
        parser.error(f"no program {', '.join(unknown)}: there are {', '.join(PROGRAMS)}")
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds {options.rounds}: at least {LEAST_ROUNDS}")
    try:
        theirs = interpreter(options.venv)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 2
    rows = [Row(name) for name in names]
    partial = False
    try:
        for row in rows:
            progress(f"{row.name:<9}")
            compare(row, Path(sys.executable), theirs, options.rounds, options.seconds)
            progress(f" {row.failed}\n")
    except KeyboardInterrupt:
        partial = True
        progress(" interrupted\n")
        for row in rows:  # half a round is none
            del row.ours[len(row.theirs) :]
    found = kept(rows)
    if options.save and not partial:
        save("v1", found)
    if options.json:
        print(json.dumps({"programs": [row.as_json() for row in rows], **found, "partial": partial}))
    else:
        print(table(rows))
        print(
            f"\nCPU time of whole runs; handlers that do real work shrink every ratio.{' Interrupted.' if partial else ''}\n"
            f"{source(found)}"
        )
    if partial:
        return 130
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
