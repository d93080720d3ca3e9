"""Runs a program under py-spy, from its first instruction on.

The program is started by py-spy and never attached to: watching one's own child is permitted in most places where watching a
stranger isn't. Where even that is forbidden (a container without SYS_PTRACE, a strict Yama) `preflight` says so after a
second.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from profiles.checks import Evidence, problems

ROOT: Final = Path(__file__).resolve().parent.parent
LOOK: Final = 0.1
"""Seconds between two looks at the CPU time of the program."""
GRACE: Final = 5.0
"""Seconds that py-spy gets for writing down what it has, once it is asked to end."""

SUMMARY: Final = re.compile(r"Samples: (\d+) Errors: (\d+)")
BUSY: Final = """\
import time
def known_to_preflight(until):
    while time.perf_counter() < until:
        sum(range(1000))
known_to_preflight(time.perf_counter() + 1)
"""


@dataclass(frozen=True, slots=True)
class Mode:
    """How py-spy looks.

    Attributes:
        rate: Samples a second.
        idle: At threads that wait, too.
        gil: Only at the thread that holds the interpreter's lock.
        native: At native functions, too.
    """

    rate: int = 199
    idle: bool = False
    gil: bool = False
    native: bool = False

    def arguments(self) -> list[str]:
        """Return it as arguments of py-spy."""
        flags = [("--idle", self.idle), ("--gil", self.gil), ("--native", self.native)]
        return ["--rate", str(self.rate), *(flag for flag, wanted in flags if wanted)]


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run under py-spy.

    Attributes:
        code: Exit code of py-spy; -1 if it took too long and was ended.
        said: What it and the program wrote to stderr.
        wall: Seconds that it took.
        cpu: Seconds on a CPU of the program and its children, without py-spy's own.
        samples: Samples that py-spy says it took; ``None`` if it didn't say.
        errors: Stacks that it says it couldn't read.
    """

    code: int
    said: str
    wall: float
    cpu: float
    samples: int | None
    errors: int

    def due(self, mode: Mode) -> float | None:
        """Return the seconds in which a sample was due."""
        return None if mode.gil else self.wall if mode.idle else self.cpu


def executable() -> Path | None:
    """Return the py-spy of this environment; ``None`` if it has none."""
    path = Path(sys.executable).with_name("py-spy")
    return path if path.exists() else None


def command(format: str, out: Path, mode: Mode, program: Sequence[str]) -> list[str]:
    """Return the command that records ``program`` into ``out``.

    Args:
        format: ``raw`` (folded), ``speedscope`` or ``flamegraph``.
        out: The file to write.
        mode: How to look.
        program: The program with its arguments, a Python first.
    """
    spy = str(executable() or "py-spy")
    options = ["--format", format, "--output", str(out), "--subprocesses", *mode.arguments()]
    return [spy, "record", *options, "--", *program]


def run(arguments: Sequence[str], limit: float, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a command of `command` and wait for it; an interrupt ends the program too, before it is raised again.

    Args:
        arguments: The command.
        limit: Seconds after which it is ended.
        environment: What the program sees on top of this process's environment.
    """
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # so that an interrupt reaches it from here, once, and all of it
        )
        spent: dict[int, float] = {}
        late = False
        try:
            while process.poll() is None:
                spent.update(_spent(process.pid))
                if not late and time.monotonic() - began > limit:
                    late = True
                    _end(process)
                time.sleep(LOOK)
        finally:
            _end(process)
        wall = time.monotonic() - began
        said.seek(0)
        text = said.read().decode(errors="replace")
    counted = SUMMARY.search(text)
    samples, errors = (int(counted[1]), int(counted[2])) if counted else (None, 0)
    return Ran(-1 if late else process.returncode, text, wall, sum(spent.values()), samples, errors)


def _spent(process: int) -> Iterator[tuple[int, float]]:
    """Give what each descendant of a process spent on a CPU until now, by its id."""
    import psutil

    try:
        for child in psutil.Process(process).children(recursive=True):
            times = child.cpu_times()
            yield child.pid, times.user + times.system
    except psutil.Error:  # one of them ended meanwhile
        pass


def _end(process: subprocess.Popen[bytes]) -> None:
    """End everything that a run started, gently first."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(GRACE)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


def preflight() -> str:
    """Record one second of a busy loop; return why that doesn't work here, or nothing if it does."""
    if executable() is None:
        return "py-spy isn't installed (ci/install profile)"
    try:
        import psutil  # noqa: F401 - whether it is there is the question
    except ImportError:
        return "psutil isn't installed (ci/install profile)"
    with tempfile.TemporaryDirectory() as folder:
        out, busy = Path(folder) / "preflight.folded", Path(folder) / "busy.py"
        busy.write_text(BUSY)
        ran = run(command("raw", out, Mode(), [sys.executable, str(busy)]), limit=30)
        said = " ".join(line.strip() for line in ran.said.splitlines() if line.strip())
        if ran.code != 0 or not out.exists():
            return f"py-spy may not record here: {said[-300:] or f'exit code {ran.code}'}"
        # A busy machine is no reason to give up, hence no expectation of how many.
        seen = Evidence(out.read_text(), ran.samples, ran.errors, Mode().rate, None, ("^known_to_preflight",))
        wrong = [each for each in problems(seen) if "too few" not in each]
        return f"py-spy records nothing useful here: {'; '.join(wrong)}" if wrong else ""
