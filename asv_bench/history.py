"""Figures over commits, with asv; and a count of what came out.

    python -m asv_bench.history check                does everything run? configuration, discovery, each benchmark once
    python -m asv_bench.history run [COMMIT...]      measure commits (HEAD), each in an environment with both wheels
    python -m asv_bench.history compare BASE [HEAD]  measure two in turns and print what differs
    python -m asv_bench.history publish              the pages, from all that was measured
    python -m asv_bench.history night [--short]      run HEAD, then publish; short: each benchmark once, in this environment

asv ignores keys of its configuration that it doesn't know, and its exit code says little. So the configuration is checked first,
and afterwards the result files are read and counted (`asv_bench.tally`). What came of a run is told on stderr, in
``build/asv/run.json``, and with ``--json`` on stdout.

Exit codes: 0 each case has its figure or a reason to have none, 1 one has neither, 2 wrong usage or configuration, 130 interrupted:
what was measured until then is kept and marked as partial.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asv_bench import once, page
from asv_bench.benchmarks._engine import SKIPPED
from asv_bench.engines import PYTHON, ROOT, RUST
from asv_bench.tally import Case, Tally, exactly, matching, modules, reasons_in, stored, tally, unknown_keys

CONFIGURATION = ROOT / "asv_bench" / "asv.conf.json"
OUT = ROOT / "build" / "asv"
SHORT = OUT / "short"
"""Of the short form of the night, whose single samples don't belong into the history."""
DONE, INCOMPLETE, USAGE, INTERRUPTED = 0, 1, 2, 130


class HistoryError(Exception):
    """It can't begin; the text says why."""


def say(text: str) -> None:
    print(f"history: {text}", file=sys.stderr, flush=True)


def discover(pattern: str) -> list[Case]:
    """Return the cases whose name a regular expression finds.

    Raises:
        HistoryError: there are none.
    """
    if chosen := matching(once.discover(), pattern):
        return chosen
    raise HistoryError(f"no benchmark is called like {pattern!r}")


def commit_of(name: str) -> str:
    """Return the full hash of a commit.

    Raises:
        HistoryError: git doesn't know it.
    """
    command = ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    asked = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if asked.returncode:
        raise HistoryError(f"git knows no commit {name!r} here")
    return asked.stdout.strip()


@contextmanager
def alone() -> Iterator[None]:
    """Be the only one that measures in this checkout: two would exchange the package under each other's benchmarks.

    Raises:
        HistoryError: somebody else does.
    """
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HistoryError("another run measures in this checkout: wait for it") from error
        yield


# ---- asv -------------------------------------------------------------------------------------------------------------


def configuration() -> dict[str, Any]:
    """Return asv's configuration.

    Raises:
        HistoryError: asv would ignore some of it.
    """
    from asv.config import Config
    from asv.util import load_json

    loaded: dict[str, Any] = load_json(str(CONFIGURATION), Config.api_version, js_comments=True)
    # asv reads this one without having it in its table of keys.
    if wrong := unknown_keys(loaded, {*vars(Config()), "build_cache_size"}):
        raise HistoryError(f"{CONFIGURATION.name}: asv would ignore {', '.join(wrong)}")
    return loaded


class Asv:
    """asv with the project's configuration.

    Args:
        short: Keep environments, results and pages in `SHORT`.

    Attributes:
        path: Of the configuration.
        results: Folder of the result files.
        html: Folder of the pages.

    Raises:
        HistoryError: the configuration isn't right.
    """

    def __init__(self, *, short: bool = False) -> None:
        loaded = configuration()
        self.path = CONFIGURATION
        if short:
            self.path = SHORT / CONFIGURATION.name
            loaded |= {"repo": str(ROOT), "benchmark_dir": str(once.SUITE), "version": 1}
            loaded |= {"env_dir": "env", "results_dir": "results", "html_dir": "html"}
            SHORT.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(loaded, indent=4), encoding="utf-8")
        self.results = self.path.parent / loaded["results_dir"]
        self.html = (self.path.parent / loaded["html_dir"]).resolve()

    def __call__(self, *arguments: str, noted: Path | None = None) -> int:
        """Run asv and return its exit code. What it says goes to stderr.

        Args:
            arguments: As on a command line.
            noted: Where benchmarks write why they are skipped.

        Raises:
            KeyboardInterrupt: it was interrupted, and has ended.
        """
        # asv makes its environments with the first python3.x that it finds: this one.
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        if noted:
            environment[SKIPPED] = str(noted)
        command = [sys.executable, "-m", "asv", *arguments, "--config", str(self.path)]
        # A session of its own, so that it is told of an interruption once, by us.
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=sys.stderr, start_new_session=True
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            raise

    def know_this_machine(self) -> None:
        """Answer, the first time, asv's questions about the machine with what it finds out itself."""
        from asv.machine import Machine, MachineCollection
        from asv.util import UserError

        try:
            MachineCollection.load(Machine.get_unique_machine_name())
        except UserError:
            self("machine", "--yes")

    @property
    def marked(self) -> Path:
        """The file that says which commits have only some of the figures; not among the results, where asv would read it."""
        return self.results.parent / "partial.json"

    def marks(self) -> dict[str, tuple[int, int]]:
        """Return the commits that have only some of the figures: how many, and of how many."""
        return json.loads(self.marked.read_text(encoding="utf-8")) if self.marked.exists() else {}


# ---- running ---------------------------------------------------------------------------------------------------------


class Run:
    """What is asked of asv, and what came of it.

    Args:
        asv: With which configuration.
        cases: What to run.
        commits: Full hashes.

    Attributes:
        tallies: What came out, by commit.
        changes: Where two are compared, the ratio of what changed, by case.
    """

    def __init__(self, asv: Asv, cases: Sequence[Case], commits: Sequence[str]) -> None:
        self.asv = asv
        self.cases = cases
        self.commits = commits
        self.began = time.time()
        self.interrupted = False
        self.tallies: list[Tally] = []
        self.changes: dict[str, float] = {}

    def take(self, steps: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Take asv's steps, then count and write down what came of them.

        Args:
            steps: What to call each, and asv's arguments.

        Raises:
            HistoryError: somebody else does so in this checkout.
        """
        with alone():
            self._take(steps)

    def _take(self, steps: Sequence[tuple[str, Sequence[str]]]) -> None:
        noted = OUT / "skipped"
        noted.unlink(missing_ok=True)
        try:
            self.asv.know_this_machine()
            for i, (title, arguments) in enumerate(steps):
                say(f"{i + 1} of {len(steps)}: {title} ({time.time() - self.began:.0f} s so far)")
                self.asv(*arguments, noted=noted)
        except KeyboardInterrupt:
            self.interrupted = True
        reasons = reasons_in(noted)
        for commit in self.commits:
            made = tally(commit, self.cases, stored(self.asv.results, commit, self.began), reasons)
            self.tallies.append(made)
            say(str(made))
        if self.interrupted:
            say("interrupted: what was measured is kept, and marked as partial")
        self._write()

    @property
    def partial(self) -> bool:
        """Something that was asked for has neither a figure nor a reason to have none."""
        return self.interrupted or not all(each.complete for each in self.tallies)

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.interrupted else INCOMPLETE if self.partial else DONE

    def as_json(self) -> dict[str, Any]:
        return {
            "partial": self.partial,
            "began": datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.began, 1),
            "commits": [each.as_json() for each in self.tallies],
            "changes": self.changes,
        }

    def _write(self) -> None:
        (OUT / "run.json").write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
        marks = self.asv.marks()
        for each in self.tallies:
            if not each.complete:
                marks[each.name] = (each.figures.total(), each.expected)
            elif (
                each.expected >= marks.get(each.name, (0, 0))[1]
            ):  # a smaller selection says nothing about the rest
                marks.pop(each.name, None)
        self.asv.marked.write_text(json.dumps(marks, indent=2) + "\n", encoding="utf-8")


def by_module(cases: Sequence[Case], *arguments: str) -> list[tuple[str, list[str]]]:
    """Return a step for each module of benchmarks: asv writes down what it measured when it ends, so it had better end often."""
    return [
        (module, ["run", *arguments, *exactly(case for case in cases if case.module == module)])
        for module in modules(cases)
    ]


def measure(asv: Asv, names: Sequence[str], pattern: str, options: Sequence[str]) -> Run:
    """Measure commits, one after the other, each in the environment that asv makes for it."""
    run = Run(asv, discover(pattern), [commit_of(name) for name in names])
    run.take(
        [
            (f"{commit[:8]}, {module}", step)
            for commit in run.commits
            for module, step in by_module(run.cases, f"{commit}^!", *options)
        ]
    )
    return run


def measure_here(asv: Asv, pattern: str) -> Run:
    """Run each benchmark once on each engine in this environment, and call it HEAD."""
    head, cases = commit_of("HEAD"), discover(pattern)
    few = [case for engine in (PYTHON, RUST) for case in once.smallest(cases, engine)]
    run = Run(asv, few, [head])
    here = ("--environment", f"existing:{sys.executable}", "--set-commit-hash", head, "--quick")
    run.take(by_module(few, *here))
    return run


def compare(asv: Asv, base: str, head: str, pattern: str, options: Sequence[str], factor: float) -> Run:
    """Measure two commits in turns and print what differs by more than a factor."""
    run = Run(asv, discover(pattern), [commit_of(base), commit_of(head)])
    OUT.mkdir(parents=True, exist_ok=True)
    hashes = OUT / "commits"
    hashes.write_text("\n".join(run.commits) + "\n", encoding="utf-8")
    run.take([("both commits, in turns", ["run", f"HASHFILE:{hashes}", *options, *exactly(run.cases)])])
    names = {case.name for case in run.cases}
    for course in page.read(asv.results, run.commits):
        for name, each in page.changes(course, *run.commits, factor).items():
            if name in names:
                run.changes[name] = each.ratio
                before, after = (
                    page.shown(one.value, course.unit(name)) for one in (each.before, each.after)
                )
                say(f"{each.ratio - 1:+.0%}, {before} to {after}: {name}")
    if not run.changes and not run.partial:
        say(f"nothing changed clearly by more than a factor of {factor:g}")
    return run


def ancestry() -> list[str]:
    """Return HEAD and what it stands on, the oldest first."""
    command = ["git", "rev-list", "--reverse", "--topo-order", "HEAD"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def publish(asv: Asv) -> int:
    """Make the pages, and check that they show what was measured; return the exit code."""
    shown = asv.html / "index.json"
    shown.unlink(missing_ok=True)  # that of the last time says nothing about this one
    asv("publish")
    benchmarks = json.loads(shown.read_text(encoding="utf-8"))["benchmarks"] if shown.exists() else {}
    graphs = {path.stem for path in (asv.html / "graphs" / "summary").glob("*.json")} & set(benchmarks)
    if graphs:
        say(f"{asv.html / 'index.html'}: {len(graphs)} benchmarks have a graph")
    else:
        say(
            "asv's own pages show nothing: they show commits of main, and none was measured or there is no main"
        )
    partial = {
        commit: f"{figures} of {expected} cases" for commit, (figures, expected) in asv.marks().items()
    }
    for commit, what in partial.items():
        say(f"partial: {commit[:8]} has figures of {what} only")
    made = asv.html / "history.html"
    rows = page.write(made, page.read(asv.results, ancestry()), partial)
    say(f"{made}: {rows} cases have a figure")
    return DONE if rows else INCOMPLETE


# ---- checking --------------------------------------------------------------------------------------------------------


def check() -> int:
    """Say whether everything runs: the configuration, asv's own check, and each benchmark once on each engine."""
    code = DONE
    if Asv()("check", "--environment", f"existing:{sys.executable}"):
        say("asv's own check found something")
        code = INCOMPLETE
    cases = once.discover()
    for engine in (PYTHON, RUST):
        say(f"each benchmark once, on {engine}")
        command = [sys.executable, "-m", "asv_bench.once", engine]
        asked = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
        made = judged(engine, once.smallest(cases, engine), map(json.loads, asked.stdout.splitlines()))
        say(str(made))
        if not made.complete or asked.returncode:
            code = INCOMPLETE
    return code


def judged(engine: str, wanted: Iterable[Case], answers: Iterable[Mapping[str, Any]]) -> Tally:
    """Count what ran once."""
    results: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for answer in answers:
        results[answer["case"]] = None if "error" in answer else answer.get("figure", math.nan)
        if answer.get("skipped"):
            reasons[answer["case"]] = answer["skipped"]
    return tally(engine, wanted, results, reasons)


# ---- the command line ------------------------------------------------------------------------------------------------


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.history",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("check")
    run, compare = commands.add_parser("run"), commands.add_parser("compare")
    commands.add_parser("publish")
    night = commands.add_parser("night")
    for each in (run, compare, night):
        each.add_argument(
            "--bench", default="", metavar="REGEX", help="only the cases that are called like this"
        )
        each.add_argument("--rounds", type=int, help="processes for each case (2 where times are measured)")
        each.add_argument("--json", action="store_true", help="what came out, as one JSON object on stdout")
    for each in (run, compare):
        each.add_argument(
            "--quick", action="store_true", help="each case once: does it run? The figures are poor"
        )
    run.add_argument("commits", nargs="*", default=["HEAD"], metavar="COMMIT")
    compare.add_argument("base")
    compare.add_argument("head", nargs="?", default="HEAD")
    compare.add_argument(
        "--factor", type=float, default=1.1, help="show what differs by more than that (1.1)"
    )
    night.add_argument("--short", action="store_true", help="each benchmark once, in this environment")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    asked = arguments(argv)
    for each in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # whoever started this in the background may have let it ignore them
        signal.signal(each, signal.default_int_handler)
    try:
        if asked.command == "check":
            return check()
        asv = Asv(short=asked.command == "night" and asked.short)
        if asked.command == "publish":
            return publish(asv)
        options = ["--attribute", f"rounds={asked.rounds}"] if asked.rounds else []
        if asked.command == "compare":
            options = ["--quick"] if asked.quick else ["--interleave-rounds", *options]
            run = compare(asv, asked.base, asked.head, asked.bench, options, asked.factor)
        elif asked.command == "run":
            run = measure(asv, asked.commits, asked.bench, ["--quick"] if asked.quick else options)
        else:
            run = (
                measure_here(asv, asked.bench)
                if asked.short
                else measure(asv, ["HEAD"], asked.bench, options)
            )
            publish(asv)
        if asked.json:
            print(json.dumps(run.as_json(), indent=2))
        return run.exit_code
    except HistoryError as error:
        say(str(error))
        return USAGE
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
