"""Changes the core's code a little, thousands of times, and asks the tests each time whether they notice.

    python ci/mutation.py                            every module that matters
    python ci/mutation.py --module ring --module ready
    python ci/mutation.py --module ring --again      only what survived last time, and what wasn't tried

mutmut makes the mutants and runs, for each, those of the chosen tests that reach it. A mutant that survives is a test that is
missing, or is on the reviewed list of those that may (`ci/mutation-survivors.toml`), with a reason. What is held is that list and
not a score: a survivor that isn't on it is a fault, and so is an entry whose mutant is gone or gets killed by now. Entries name a
mutant by its function and by what was changed, so they outlive moved lines. A mutant whose tests end in a timeout is killed.

Ctrl-C ends it with what is known so far: new survivors are told, missing ones prove nothing. Works in build/mutation/.

Exit code 0: no new survivor and no stale entry. 1: there are some. 2: it couldn't be done. 3: it was interrupted, and no new
survivor was found until then.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
ALLOWED: Final = ROOT / "ci" / "mutation-survivors.toml"
WORK: Final = ROOT / "build" / "mutation"

REASONS: Final = ("equivalent: ", "not worth it: ")
"""How the reason of an entry begins."""

MODULES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "policies": (
        "meridian/core/policies.py",
        (
            "meridian/_tests/core/test_policies.py",
            "meridian/_tests/v1/test_v1_section_04_policies.py",
            "meridian/_tests/engine/test_ring_model.py",
        ),
    ),
    "ready": (
        "meridian/engine/ready.py",
        (
            "meridian/_tests/engine/test_ready_queue.py",
            "meridian/_tests/engine/test_bands.py",
            "meridian/_tests/engine/test_corners_of_the_steps.py",
            "conformance/tests/test_formal_histories.py",
        ),
    ),
    "ring": (
        "meridian/engine/ring.py",
        (
            "meridian/_tests/engine/test_ring.py",
            "meridian/_tests/engine/test_ring_model.py",
            "meridian/_tests/engine/test_corners_of_the_steps.py",
            "meridian/_tests/engine/test_corners_of_the_kernel.py",
            "meridian/_tests/core/test_corners_of_the_core.py",
            "meridian/_tests/v1/test_v1_section_05_edge.py",
            "meridian/_tests/engine/test_block.py",
            "conformance/tests/test_formal_histories.py",
        ),
    ),
    "step": (
        "meridian/engine/step.py",
        (
            "meridian/_tests/engine/test_corners_of_the_steps.py",
            "meridian/_tests/engine/test_corners_of_the_kernel.py",
            "meridian/_tests/engine/test_block.py",
            "meridian/_tests/engine/test_graphs.py",
        ),
    ),
}
"""What is mutated, and the fast tests that should notice; the shortest first."""

UNREVIEWED: Final = ("step",)
"""Modules without a reviewed list yet: they run only when they are named."""

COPIED: Final = ("meridian", "conformance", "docs", "pyproject.toml")
SETTINGS: Final = """\
[mutmut]
source_paths=meridian
only_mutate={path}
also_copy=
    conformance
    docs
pytest_add_cli_args=
    -q
    -p
    no:cacheprovider
pytest_add_cli_args_test_selection=
{tests}
use_git_change_detection=false
timeout_constant=5
timeout_multiplier=5
"""

KILLED, TIMEOUT, SURVIVED, UNREACHED, UNTRIED = "killed", "timeout", "survived", "unreached", "untried"
STATUS: Final = {
    0: SURVIVED,
    5: UNREACHED,
    33: UNREACHED,
    24: TIMEOUT,
    -24: TIMEOUT,
    36: TIMEOUT,
    152: TIMEOUT,
}
"""By mutmut's exit code for a mutant; ``None`` is untried and all others are killed, for they say that something broke."""


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """A mutant by what it is, rather than where.

    Attributes:
        function: Module, class and function.
        was: Lines that were taken out, without their indentation.
        became: Lines that stand there instead.
    """

    function: str
    was: str
    became: str

    def entry(self, times: int) -> str:
        """Return it as an entry of the list, its reason left to the reviewer."""
        lines = ["[[survivor]]", f"function = {_quoted(self.function)}"]
        lines += [f"was = {_quoted(self.was)}", f"became = {_quoted(self.became)}"]
        lines += [f"times = {times}"] if times > 1 else []
        return "\n".join([*lines, 'reason = ""'])


@dataclass
class Outcome:
    """What came of one module.

    Attributes:
        module: Its name.
        counts: How many mutants ended how.
        survivors: Those that no test noticed, and how many there are of each.
        partial: Not all were tried.
        new: Survivors that aren't on the list.
        stale: Entries that no survivor stands behind; only known when all were tried.
    """

    module: str
    counts: Counter[str] = field(default_factory=Counter)
    survivors: Counter[Mutant] = field(default_factory=Counter)
    partial: bool = False
    new: Counter[Mutant] = field(default_factory=Counter)
    stale: Counter[Mutant] = field(default_factory=Counter)

    def judge(self, allowed: Counter[Mutant]) -> None:
        """Compare with the list."""
        of_this = Counter(
            {each: n for each, n in allowed.items() if each.function.startswith(f"{self.module}.")}
        )
        self.new = self.survivors - of_this
        self.stale = Counter() if self.partial else of_this - self.survivors

    def to_json(self) -> dict[str, Any]:
        """Return the form of the result file."""
        return {
            "module": self.module,
            "partial": self.partial,
            "mutants": sum(self.counts.values()),
            "counts": dict(self.counts),
            "allowed": sum((self.survivors - self.new).values()),
            "new": [_as_json(each, n) for each, n in sorted(self.new.items())],
            "stale": [_as_json(each, n) for each, n in sorted(self.stale.items())],
        }


class Unusable(Exception):  # noqa: N818 - what happened, not what went wrong here
    """The list can't be read, or mutmut failed by itself."""


def allowed_survivors(path: Path = ALLOWED) -> Counter[Mutant]:
    """Read the list of survivors that may be.

    Raises:
        Unusable: an entry has no reason, or there are two for one mutant.
    """
    found: Counter[Mutant] = Counter()
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("survivor", []):
        mutant = Mutant(entry["function"], entry["was"], entry["became"])
        if not entry["reason"].startswith(REASONS):
            raise Unusable(
                f"{path.name}: the reason for {mutant} has to begin with one of {', '.join(REASONS)}"
            )
        if mutant in found:
            raise Unusable(f"{path.name}: there are two entries for {mutant}")
        found[mutant] = entry.get("times", 1)
    return found


# ---- mutmut -------------------------------------------------------------------------------------------------------------


def prepare(module: str, again: bool) -> Path:
    """Make the folder in which mutmut works on one module, or get it ready once more; return it."""
    path, tests = MODULES[module]
    folder = WORK / module
    if not again:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "target")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / name, folder / name)
    selected = "\n".join(f"    {test}" for test in tests)
    (folder / "setup.cfg").write_text(SETTINGS.format(path=path, tests=selected), encoding="utf-8")
    meta = _meta(folder, module)
    if meta.exists():
        said = json.loads(meta.read_text(encoding="utf-8"))
        codes = said["exit_code_by_key"]
        said["exit_code_by_key"] = {
            name: None if status(code) in (SURVIVED, UNREACHED) else code for name, code in codes.items()
        }
        meta.write_text(json.dumps(said), encoding="utf-8")
        (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)  # which test reaches what
    return folder


def run(module: str, folder: Path, jobs: int, tell: Callable[[str], None]) -> bool:
    """Try the mutants of one module; return whether it came to its end.

    Raises:
        Unusable: mutmut failed by itself; its last words are in the text.
    """
    log = folder / "mutmut.log"
    # The `mutation` profile of the tests looks at the same examples each time, and doesn't make a failing one small. What is
    # mutated is the reference, so no test may run on another engine.
    env = {
        **os.environ,
        "CI": "true",
        "HYPOTHESIS_PROFILE": "mutation",
        "MERIDIAN_ENGINE": "python",
        "PYTHONHASHSEED": "0",
    }
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs)]
    with log.open("wb") as to:
        # In a session of its own, so that Ctrl-C comes to it once, from here.
        child = subprocess.Popen(
            command, cwd=folder, env=env, stdout=to, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while child.poll() is None:
                time.sleep(1)
                tell(progress(module, statuses(folder, module).values()))
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            return False
    if child.returncode:
        last = re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace").strip())[-12:]
        raise Unusable(f"mutmut failed on {module} ({log.relative_to(ROOT)}):\n" + "\n".join(last))
    return True


def status(code: int | None) -> str:
    """Say what mutmut's exit code for one mutant means."""
    return UNTRIED if code is None else STATUS.get(code, KILLED)


def statuses(folder: Path, module: str) -> dict[str, str]:
    """Return what became of each mutant so far, by mutmut's name for it."""
    try:
        said = json.loads(_meta(folder, module).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or being written at this moment
        return {}
    return {name: status(code) for name, code in said["exit_code_by_key"].items()}


def _meta(folder: Path, module: str) -> Path:
    return folder / "mutants" / f"{MODULES[module][0]}.meta"


def outcome_of(module: str, folder: Path, jobs: int) -> Outcome:
    """Gather what became of a module's mutants."""
    outcome = Outcome(module)
    found = statuses(folder, module)
    outcome.counts.update(found.values())
    outcome.partial = not found or UNTRIED in outcome.counts
    survivors = [name for name, became in found.items() if became in (SURVIVED, UNREACHED)]
    with ThreadPoolExecutor(jobs) as pool:
        for name, diff in zip(survivors, pool.map(lambda name: show(name, folder), survivors), strict=True):
            outcome.survivors[mutant_of(module, name, diff)] += 1
    return outcome


def show(name: str, folder: Path) -> str:
    """Return what mutmut says about a mutant."""
    command = [sys.executable, "-m", "mutmut", "show", name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def mutant_of(module: str, name: str, diff: str) -> Mutant:
    """Return a mutant by what it is.

    Args:
        module: The module's name here.
        name: mutmut's name: ``package.module.xǁClassǁmethod__mutmut_1`` or ``package.module.x_function__mutmut_1``.
        diff: What ``mutmut show`` says.
    """
    function = name.rpartition("__mutmut_")[0].rpartition(".")[2]
    function = ".".join(function.split("ǁ")[1:]) if "ǁ" in function else function.removeprefix("x_")
    sides: dict[str, list[str]] = {"-": [], "+": []}
    for line in diff.splitlines():
        if line[:1] in sides and not line.startswith(("---", "+++")):
            sides[line[0]].append(line[1:].strip())
    return Mutant(f"{module}.{function}", "\n".join(sides["-"]), "\n".join(sides["+"]))


# ---- telling ------------------------------------------------------------------------------------------------------------


def progress(module: str, found: Iterable[str]) -> str:
    """Say in one line how far it is."""
    counts = Counter(found)
    if not counts:
        return f"{module}: making mutants, and finding out which test reaches what"
    tried = sum(counts.values()) - counts[UNTRIED]
    survived = counts[SURVIVED] + counts[UNREACHED]
    return f"{module}: {tried} of {sum(counts.values())} mutants tried, {survived} survived"


class Teller:
    """Shows progress: on a terminal in one line, elsewhere now and then."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.last = ""
        self.when = 0.0

    def __call__(self, text: str) -> None:
        """Tell, if there is something new to tell."""
        now = time.monotonic()
        if text == self.last or (not self.terminal and now - self.when < 30):
            return
        self.last, self.when = text, now
        print(
            f"\r\033[K{text}" if self.terminal else text,
            end="" if self.terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        """Leave the line."""
        if self.terminal and self.last:
            print(file=sys.stderr)
        self.last = ""


def report(outcomes: Sequence[Outcome]) -> str:
    """Return the table, and what is to be done."""
    rows: list[tuple[str, ...]] = [("module", "mutants", "killed", "timeout", "allowed", "new", "stale", "")]
    for each in outcomes:
        total, counts = sum(each.counts.values()), each.counts
        allowed = sum((each.survivors - each.new).values())
        numbers = (total, counts[KILLED], counts[TIMEOUT], allowed, sum(each.new.values()))
        stale = "?" if each.partial else str(sum(each.stale.values()))
        partial = f"PARTIAL: {counts[UNTRIED]} untried" if each.partial else ""
        rows.append((each.module, *map(str, numbers), stale, partial))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for each in outcomes:
        for mutant, n in sorted(each.new.items()):
            lines += ["", f"# {each.module}: no test notices this", mutant.entry(n)]
        for mutant, n in sorted(each.stale.items()):
            lines += ["", f"# {each.module}: stale, nothing like this survives ({n} too many on the list)"]
            lines += [mutant.entry(n).rpartition("\n")[0]]
    return "\n".join(lines)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the exit code."""
    if any(each.new or each.stale for each in outcomes):
        return 1
    return 3 if any(each.partial for each in outcomes) else 0


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML string too


def _as_json(mutant: Mutant, times: int) -> Mapping[str, Any]:
    return {"function": mutant.function, "was": mutant.was, "became": mutant.became, "times": times}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="ci/mutation.py", description="Mutation testing of the core.")
    parser.add_argument("--module", action="append", choices=MODULES, help="only this one; may be repeated")
    parser.add_argument("--again", action="store_true", help="keep what was killed last time")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="how many mutants at once (default: one per core)",
    )
    options = parser.parse_args(arguments)
    chosen = options.module or [name for name in MODULES if name not in UNREVIEWED]
    outcomes: list[Outcome] = []
    tell = Teller()
    try:
        allowed = allowed_survivors()
        for module in chosen:
            folder = prepare(module, options.again)
            ended = run(module, folder, options.jobs, tell)
            tell.end()
            outcome = outcome_of(module, folder, options.jobs)
            outcome.judge(allowed)
            outcomes.append(outcome)
            if not ended:
                break
    except KeyboardInterrupt:  # before its mutants ran, or when they had: that module counts as not finished
        tell.end()
    except Unusable as error:
        tell.end()
        print(f"mutation: {error}", file=sys.stderr)
        return 2
    result = {"partial": len(outcomes) < len(chosen) or any(each.partial for each in outcomes)}
    WORK.mkdir(parents=True, exist_ok=True)
    result_file = WORK / "result.json"
    result_file.write_text(
        json.dumps({**result, "modules": [each.to_json() for each in outcomes]}, indent=2, ensure_ascii=False)
        + "\n",
        encoding="utf-8",
    )
    print(report(outcomes))
    skipped = chosen[len(outcomes) :]
    if skipped:
        print(f"PARTIAL: not finished: {', '.join(skipped)}")
    return exit_code(outcomes) or (3 if skipped else 0)


if __name__ == "__main__":
    raise SystemExit(main())
