"""What is recorded, in which order, and what is kept of it.

Folded stacks of every scenario on every engine come first, since they are what counts; then timelines for speedscope, then
native stacks where Rust runs, then memray. Whatever there is no time for any more is said to be missing. Before each recording
`run.json` and the index are written anew, with ``"partial": true`` until the last one, so that a run that is stopped, however it is, doesn't pass
for a whole one.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from profiles import checks, compare, flame, folded, report, spy

ROOT: Final = spy.ROOT
ENGINES: Final = ("python", "rust")
SELECTION: Final = ("overload", "bursts", "churn", "error-storm")
"""Scenarios of `make profile`: what is sustained, what comes and goes, what is made anew, what fails."""
SYMBOLS: Final = ROOT / "build" / "rust-symbols" / "site"
"""Where `ci/rust symbols` leaves a meridian_fast whose functions have names."""
EXTENSION: Final = "meridian_fast"
HISTORY: Final = ROOT / "build" / "profiles" / "history"
KEEP_RUNS: Final = 30
"""The history forgets what is older."""
TIMELINE_SECONDS: Final = 3.0
NATIVE_SECONDS: Final = 6.0
STARTING: Final = 4.0
"""Seconds that a program takes for starting, at most, when the machine isn't very busy."""

KEPT, REJECTED, MISSING = "kept", "rejected", "missing"
FOLDED, NATIVE, TIMELINE, ALLOCATIONS = "folded", "native", "speedscope", "memray"


def seconds_within(limit: float, recordings: int) -> float:
    """Return how long each folded recording may take, so that there is time for the other kinds, too: from 5 to 10 seconds.

    Args:
        limit: Seconds for everything.
        recordings: How many folded ones there will be.
    """
    return round(max(5.0, min(10.0, 0.4 * limit / recordings)), 1)


class RecordError(Exception):
    """Nothing can be recorded as asked for; says why."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to record, and how.

    Attributes:
        scenarios: Names.
        engines: ``python``, ``rust`` or both.
        mode: How py-spy looks; native recordings come on top.
        native: Record native functions, too, where Rust runs.
        memray: Record allocations, too.
        seconds: For each of the folded recordings.
        seed: Of each scenario.
        limit: Seconds for everything.
    """

    scenarios: tuple[str, ...]
    engines: tuple[str, ...]
    mode: spy.Mode
    native: bool = False
    memray: bool = False
    seconds: float = 10.0
    seed: int = 1
    limit: float = 280.0


@dataclass
class Recording:
    """One artefact, or why there is none.

    Attributes:
        scenario: What ran.
        engine: On which engine.
        kind: ``folded``, ``native``, ``speedscope`` or ``memray``.
        verdict: ``kept``, ``rejected`` or ``missing``.
        reasons: Why it isn't kept.
        command: What was called, the interpreter by its name.
        samples: How many were taken.
        errors: Stacks that couldn't be read.
        wall: Seconds that it took.
        cpu: Seconds on a CPU of the program.
        files: What is kept, by what it is, relative to the run's folder.
        played: What came of the scenario: its verdict, and what grew by second over its second half.
        compared: The earlier run, and the functions whose share changed; ``None`` if there is none.
    """

    scenario: str
    engine: str
    kind: str
    verdict: str = MISSING
    reasons: list[str] = field(default_factory=lambda: ["it was not reached"])
    command: list[str] = field(default_factory=list[str])
    samples: int = 0
    errors: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    files: dict[str, str] = field(default_factory=dict[str, str])
    played: dict[str, Any] = field(default_factory=dict[str, Any])
    compared: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Names its folder: the scenario and the engine."""
        return f"{self.scenario}-{self.engine}"

    def keep(self) -> None:
        """Say that it is kept."""
        self.verdict, self.reasons = KEPT, []

    def reject(self, *reasons: str) -> None:
        """Say why it is thrown away."""
        self.verdict, self.reasons = REJECTED, list(reasons)

    def miss(self, reason: str) -> None:
        """Say why it was not recorded."""
        self.verdict, self.reasons = MISSING, [reason]


def scenarios() -> dict[str, str]:
    """Return the scenarios that there are, each with its sentence.

    Raises:
        RecordError: `stress` can't tell.
    """
    asked = subprocess.run(
        [sys.executable, "-m", "stress", "--list", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise RecordError(f"the scenarios of stress/ can't be listed: {asked.stderr.strip()[-300:]}")
    return {each["name"]: each["sentence"] for each in json.loads(asked.stdout)}


def missing_rust() -> str:
    """Say why the Rust engine can't be had here; nothing if it can."""
    from meridian.engine.select import choose

    choice = choose("auto")
    return "" if choice.name == "rust" else f"there is no Rust engine here ({choice.reason})"


def planned(choice: Choice) -> list[Recording]:
    """Return what there is to record, in order."""
    pairs = [(scenario, engine) for scenario in choice.scenarios for engine in choice.engines]
    plan = [Recording(scenario, engine, FOLDED) for scenario, engine in pairs]
    plan += [Recording(scenario, engine, TIMELINE) for scenario, engine in pairs]
    if choice.native:
        plan += [Recording(scenario, engine, NATIVE) for scenario, engine in pairs if engine == "rust"]
    if choice.memray:
        plan += [Recording(scenario, engine, ALLOCATIONS) for scenario, engine in pairs]
    return plan


class Run:
    """Records what was chosen into a folder.

    Args:
        choice: What.
        out: The folder; it exists and is empty.
        against: A run's folder, or one of many runs, to compare with.
        tell: Told what is going on.
    """

    def __init__(self, choice: Choice, out: Path, against: Path, tell: Callable[[str], None]) -> None:
        self.choice = choice
        self.out = out
        self.against = against
        self.partial = True
        self.recordings = planned(choice)
        self.about = about()
        self._tell = tell
        self._began = time.monotonic()
        self._ends = self._began + choice.limit

    def record(self) -> None:
        """Record everything that there is time for."""
        do = {
            FOLDED: self._folded,
            NATIVE: self._native,
            TIMELINE: self._timeline,
            ALLOCATIONS: self._allocations,
        }
        try:
            for number, recording in enumerate(self.recordings, 1):
                self._tell(f"{number} of {len(self.recordings)}: {recording.name}, {recording.kind}")
                self._save()
                try:
                    do[recording.kind](recording)
                finally:
                    for unchecked in self.out.glob("*/*.raw"):
                        unchecked.unlink()
                if recording.reasons:
                    self._tell(f"    {recording.verdict}: {'; '.join(recording.reasons)}")
            self.partial = False
        finally:
            self._save()

    @property
    def whole(self) -> bool:
        """Whether each folded recording is kept, and nothing interrupted the run."""
        return not self.partial and all(
            each.verdict == KEPT for each in self.recordings if each.kind == FOLDED
        )

    def _save(self) -> None:
        content = {
            **self.about,
            "partial": self.partial,
            "took": round(time.monotonic() - self._began, 1),
            "seed": self.choice.seed,
            "mode": asdict(self.choice.mode),
            "recordings": [asdict(each) for each in self.recordings],
        }
        beside = self.out / "run.json.new"
        beside.write_text(json.dumps(content, indent=1) + "\n")
        beside.replace(self.out / "run.json")
        report.write(self.out, content)

    # ---- the kinds ---------------------------------------------------------------------------------------------

    def _folded(self, recording: Recording) -> None:
        self._stacks(recording, self.choice.mode, self.choice.seconds, "profile", {})

    def _native(self, recording: Recording) -> None:
        if not SYMBOLS.exists():
            recording.miss("there is no meridian_fast with symbols (ci/rust symbols builds one)")
            return
        mode = replace(self.choice.mode, native=True)
        self._stacks(recording, mode, NATIVE_SECONDS, "native", {"PYTHONPATH": str(SYMBOLS)})

    def _stacks(
        self,
        recording: Recording,
        mode: spy.Mode,
        seconds: float,
        stem: str,
        environment: Mapping[str, str],
    ) -> None:
        """Record folded stacks; if they are a profile, keep them, draw them and compare them."""
        raw = self.out / recording.name / f"{stem}.raw"
        ran = self._spied(recording, "raw", raw, mode, seconds, environment)
        if ran is None:
            return
        text = raw.read_text(errors="replace") if raw.exists() else ""
        seen = checks.Evidence(
            text, ran.samples, ran.errors, mode.rate, ran.due(mode), self._known(recording.scenario),
            native=mode.native, extension=EXTENSION if recording.engine == "rust" else "",
        )  # fmt: skip
        recording.samples, recording.errors = ran.samples or 0, ran.errors
        wrong = checks.problems(seen) + self._unplayed(recording, ran)
        if wrong:
            recording.reject(*wrong)
            return
        stacks = checks.kept(text)
        self._keep(recording, "folded", f"{stem}.folded", folded.write(stacks))
        title = f"{recording.scenario} on the {recording.engine} engine{', native' if mode.native else ''}"
        self._keep(recording, "flame graph", f"{stem}.svg", flame.svg(stacks, title))
        self._compare(recording, stacks, stem, title)
        recording.keep()

    def _timeline(self, recording: Recording) -> None:
        raw = self.out / recording.name / "speedscope.raw"
        ran = self._spied(recording, "speedscope", raw, self.choice.mode, TIMELINE_SECONDS, {})
        if ran is None:
            return
        recording.samples, recording.errors = ran.samples or 0, ran.errors
        text = raw.read_text(errors="replace") if raw.exists() else ""
        wrong = checks.timeline_problems(text, self._known(recording.scenario))
        wrong += self._unplayed(recording, ran)
        if wrong:
            recording.reject(*wrong)
            return
        self._keep(recording, "speedscope", "profile.speedscope.json", text)
        recording.keep()

    def _allocations(self, recording: Recording) -> None:
        if find_spec("memray") is None:
            recording.miss("memray isn't installed (ci/install memray)")
            return
        folder = self.out / recording.name
        raw, page = folder / "memray.raw", folder / "memray.html"
        if not self._time_for(recording, TIMELINE_SECONDS):
            return
        program = [sys.executable, "-m", "memray", "run", "--quiet", "--force", "--output", str(raw), "-m"]
        program += self._program(recording, TIMELINE_SECONDS)[2:]
        recording.command = _shown(program)
        draw = [sys.executable, "-m", "memray", "flamegraph", "--force", "--output", str(page), str(raw)]
        for command in (program, draw):
            ran = spy.run(command, limit=60)
            recording.wall += ran.wall
            if ran.code != 0:
                recording.reject(f"memray ended with exit code {ran.code}: {ran.said.strip()[-200:]}")
                return
        recording.files["allocations"] = str(page.relative_to(self.out))
        recording.keep()

    # ---- how ---------------------------------------------------------------------------------------------------

    def _time_for(self, recording: Recording, seconds: float) -> bool:
        left = self._ends - time.monotonic()
        if left < seconds + STARTING:
            recording.miss(f"no time was left ({max(left, 0):.0f} s)")
            return False
        (self.out / recording.name).mkdir(exist_ok=True)
        return True

    def _program(self, recording: Recording, seconds: float) -> list[str]:
        folder = self.out / recording.name / "stress" / recording.kind
        options = ["--engine", recording.engine, "--seconds", f"{seconds:g}", "--seed", str(self.choice.seed)]
        return [sys.executable, "-m", "stress", recording.scenario, *options, "--out", str(folder)]

    def _spied(
        self,
        recording: Recording,
        format: str,
        out: Path,
        mode: spy.Mode,
        seconds: float,
        environment: Mapping[str, str],
    ) -> spy.Ran | None:
        if not self._time_for(recording, seconds):
            return None
        command = spy.command(format, out, mode, self._program(recording, seconds))
        recording.command = _shown(command)
        limit = min(seconds * 3 + 30, self._ends - time.monotonic())
        ran = spy.run(command, limit, {"PYTHONHASHSEED": "0", **environment})
        recording.wall, recording.cpu = round(ran.wall, 2), round(ran.cpu, 2)
        return ran

    def _unplayed(self, recording: Recording, ran: spy.Ran) -> list[str]:
        """Say what kept the scenario itself from being played to its end."""
        result = self.out / recording.name / "stress" / recording.kind / recording.scenario / "result.json"
        try:
            played = json.loads(result.read_text())
        except (OSError, ValueError):
            last = " ".join(ran.said.split())[-200:]
            return [f"the scenario left no result, and py-spy ended with exit code {ran.code}: {last}"]
        recording.played = {"verdict": played["verdict"], **slopes(played)}
        if played["engine"] != recording.engine:
            return [f"it ran on the {played['engine']} engine"]
        if played["partial"] or ran.code == -1:
            return ["the scenario didn't come to its end in time"]
        return []

    def _known(self, scenario: str) -> tuple[str, ...]:
        module = scenario.replace("-", "_")
        return (rf"stress/scenarios/{module}\.py\)$", r"meridian/runtime/run\.py\)$")

    def _keep(self, recording: Recording, what: str, file: str, text: str) -> None:
        path = self.out / recording.name / file
        path.write_text(text)
        recording.files[what] = str(path.relative_to(self.out))

    def _compare(
        self, recording: Recording, stacks: Mapping[folded.Stack, int], stem: str, title: str
    ) -> None:
        earlier = before(self.against, recording.name, stem, asdict(self.choice.mode), self.out)
        if earlier is None:
            return
        old, about_old = earlier
        found = compare.changes(old, stacks)
        which = f"{about_old['commit']} of {about_old['date']}"
        folder = self.out / recording.name
        stem = "compare" if stem == "profile" else f"compare-{stem}"
        content = compare.as_json(found, old, stacks)
        self._keep(recording, "comparison", f"{stem}.json", json.dumps(content, indent=1) + "\n")
        compare.plot(found, f"{title}: against {which}", folder / f"{stem}.svg")
        recording.files["comparison plot"] = f"{recording.name}/{stem}.svg"
        recording.compared = {
            "with": which,
            "same machine": about_old["machine"] == self.about["machine"],
            **content,
        }


def before(
    against: Path, name: str, stem: str, mode: Mapping[str, Any], but: Path
) -> tuple[dict[folded.Stack, int], dict[str, Any]] | None:
    """Return the stacks and the run.json of the latest run that recorded the same in the same way; ``None`` if none did.

    Args:
        against: A run's folder, or one with many.
        name: Scenario and engine.
        stem: ``profile`` or ``native``.
        mode: How py-spy looked.
        but: A run that doesn't count.
    """
    runs = [against] if (against / "run.json").exists() else sorted(against.glob("*/"), reverse=True)
    for run in runs:
        try:
            about = json.loads((run / "run.json").read_text())
            text = (run / name / f"{stem}.folded").read_text()
            stacks = folded.read(text)
        except (OSError, ValueError):
            continue
        if stacks and about.get("mode") == mode and run.resolve() != but.resolve():
            return dict(stacks), about
    return None


def remember(out: Path, history: Path) -> Path:
    """Copy what a later run compares with into the history, and forget what is too old; return the new entry.

    Raises:
        RecordError: there is no room for it, say.
    """
    about_run = json.loads((out / "run.json").read_text())
    entry = history / f"{about_run['date'].replace(':', '').replace('+0000', 'Z')}-{about_run['commit']}"
    try:
        for stacks in out.glob("*/*.folded"):
            kept = entry / stacks.relative_to(out)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(stacks, kept)
        entry.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(out / "run.json", entry / "run.json")
        for old in sorted(history.glob("*/"))[:-KEEP_RUNS]:
            shutil.rmtree(old)
    except OSError as error:
        raise RecordError(f"the history can't be kept in {history}: {error.strerror}") from error
    return entry


def slopes(played: Mapping[str, Any]) -> dict[str, Any]:
    """Return how fast memory, descriptors and threads grew over the second half of a play, as psutil saw it.

    Args:
        played: The scenario's result.json.
    """
    from stress.slope import theil_sen

    columns = {"rss": 3, "descriptors": 4, "threads": 5}
    samples = played["samples"][len(played["samples"]) // 2 :]
    thinned = samples[:: max(1, len(samples) // 60)]
    by_second = {
        name: round(theil_sen([(each[0], each[column]) for each in thinned]), 3)
        for name, column in columns.items()
    }
    return {"by second": by_second, "readings": len(thinned), "judged": played["memory"]}


def about() -> dict[str, Any]:
    """Return what a reader has to know about a run: versions, the machine's kind, the commit, the date."""
    import meridian

    versions = {"python": platform.python_version(), "meridian": meridian.__version__}
    for package in ("py-spy", "psutil", "matplotlib", "meridian-fast", "memray"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": (_git("rev-parse", "--short=12", "HEAD") or "unknown") + ("-changed" if changed else ""),
        "versions": versions,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "load": round(os.getloadavg()[0], 2),
    }


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def _shown(command: Sequence[str]) -> list[str]:
    """Return a command with paths that are the same on every machine."""
    return [
        each.replace(str(Path(sys.executable).parent) + os.sep, ".venv/bin/").replace(str(ROOT) + os.sep, "")
        for each in command
    ]
