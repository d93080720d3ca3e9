"""Plays several scenarios, each in a process of its own, one after the other, on one engine or both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from stress import record, scenarios
from stress.cli import Line, form_of

if TYPE_CHECKING:
    import argparse
    from pathlib import Path
    from types import FrameType

WITHIN_S: Final = 235.0
"""The usual form ends within five minutes, the drawing of the report included: when it is late, the remaining plays get less."""

START_S: Final = 1.5
"""What a process takes to start and to end, roughly."""

PATIENCE_S: Final = 150.0
"""A process that goes on for so long after its time was up is ended: its own watch should have seen to that."""


class Suite:
    """One run of several scenarios.

    Args:
        options: Of the command.
        names: Which scenarios.
        engines: On which engines.
    """

    def __init__(self, options: argparse.Namespace, names: list[str], engines: list[str]) -> None:
        self.options = options
        self.folder: Path = options.out
        self.pairs = [(name, engine) for name in names for engine in engines]
        self.form = form_of(options)
        self.interrupted = False
        self._child: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Play everything, write the result and the report, and return the result."""
        self._result([], partial=True)  # can it be written at all?
        kept = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        plays: list[dict[str, Any]] = []
        try:
            for i, (name, engine) in enumerate(self.pairs):
                if self.interrupted:
                    break
                plays.append(self._play(name, engine, self.pairs[i:]))
                self._result(plays, partial=True)
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
        result = self._result(plays, partial=self.interrupted or len(plays) < len(self.pairs))
        self._report(result)
        return result

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.interrupted = True
        if self._child is not None:
            self._child.send_signal(signal.SIGINT)

    def _play(self, name: str, engine: str, left: list[tuple[str, str]]) -> dict[str, Any]:
        options, folder = self.options, self.folder / engine
        seconds = self._seconds(name, left)
        command = [sys.executable, "-m", "stress", name, "--engine", engine, "--seed", str(options.seed)]
        command += ["--out", str(folder), "--seconds", f"{seconds:.2f}"]
        if options.rounds is not None:
            command += ["--rounds", str(options.rounds)]
        if options.planted is not None:
            command += ["--planted", options.planted]
        line = Line(f"{name} on {engine}")
        path = folder / name / "result.json"
        path.unlink(missing_ok=True)
        began = time.monotonic()
        # In a session of its own: an interruption from the terminal is handed on once, and not twice.
        with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as child:
            self._child = child
            try:
                errors = self._wait(child, line, began, seconds)
            finally:
                self._child = None
        result = record.read(path)
        if result is None or (result["partial"] and not self.interrupted):
            result = self._without_result(name, engine, child.returncode, result, errors)
            record.write(path, result)
        if result["verdict"] == record.BROKEN:
            record.write_text(path.with_name("stderr.txt"), errors)  # where it stood still, say
        line.end(result)
        return result

    def _wait(self, child: subprocess.Popen[bytes], line: Line, began: float, seconds: float) -> str:
        while True:
            try:
                _, errors = child.communicate(timeout=0.2)
            except subprocess.TimeoutExpired:
                elapsed = time.monotonic() - began
                line.passing(elapsed)
                if elapsed > seconds + PATIENCE_S:
                    os.killpg(child.pid, signal.SIGKILL)
            else:
                return errors.decode(errors="replace")

    def _seconds(self, name: str, left: list[tuple[str, str]]) -> float:
        """Return how long a play may take: what its form says, or less if the others would get too late."""
        if self.options.seconds is not None:
            return float(self.options.seconds)
        index = ("short", "usual", "nightly").index(self.form)
        wanted = [scenarios.load(each).seconds[index] for each, _ in left]
        if self.form != "usual":
            return wanted[0]
        there = WITHIN_S - (time.monotonic() - self._began) - START_S * len(left)
        return wanted[0] * min(1.0, max(there / sum(wanted), 0.05))

    def _without_result(
        self, name: str, engine: str, code: int, begun: dict[str, Any] | None, errors: str
    ) -> dict[str, Any]:
        """Return a result for a play whose process ended without one, or with the one that it ``begun`` with."""
        last = [line for line in errors.splitlines() if line.strip()][-1:]
        seed = self.options.seed
        known: dict[str, Any] = {
            "scenario": name, "sentence": scenarios.load(name).sentence, "engine": engine, "seed": seed, "form": self.form,
            "rounds": 0, "messages": 0, "elapsed_s": 0.0, "invariants": {}, "memory": None, "samples": [],
            "replay": f"python -m stress {name} --engine {engine} --seed {seed}",
        }  # fmt: skip
        known |= begun or {}
        if self.interrupted:
            return {**known, "partial": True, "verdict": record.PARTIAL, "error": None}
        error = (
            f"the process ended with code {code} and without a result{': ' if last else ''}{''.join(last)}"
        )
        return {**known, "partial": False, "verdict": record.BROKEN, "error": error}

    def _result(self, plays: list[dict[str, Any]], *, partial: bool) -> dict[str, Any]:
        verdicts = [play["verdict"] for play in plays]
        worst = next((each for each in (record.BROKEN, record.PARTIAL) if each in verdicts), None)
        worst = worst or (record.PARTIAL if partial else None)
        worst = worst or (record.INCONCLUSIVE if record.INCONCLUSIVE in verdicts else record.KEPT)
        result = {
            "verdict": worst,
            "partial": partial,
            "form": self.form,
            "seed": self.options.seed,
            "elapsed_s": round(time.monotonic() - self._began, 3),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "missing": [f"{name} on {engine}" for name, engine in self.pairs[len(plays) :]],
            "plays": [{key: value for key, value in play.items() if key != "samples"} for play in plays],
        }
        record.write(self.folder / "result.json", result)
        return result

    def _report(self, result: dict[str, Any]) -> None:
        from stress import report

        print("stress: drawing the report", file=sys.stderr)
        path = report.write(self.folder)
        counts = ", ".join(
            f"{n} {verdict}"
            for verdict in (record.KEPT, record.INCONCLUSIVE, record.BROKEN, record.PARTIAL)
            if (n := sum(play["verdict"] == verdict for play in result["plays"]))
        )
        missing = f", {len(result['missing'])} not played" if result["missing"] else ""
        print(f"stress: {counts or 'nothing played'}{missing}; {path}", file=sys.stderr)
