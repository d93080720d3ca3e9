#!/usr/bin/env python3
"""Runs what takes longer than a change may wait for, and leaves one directory with an index.html.

    ci/nightly                         everything: hours
    ci/nightly --short                 the short forms, without what CI runs: a quarter of an hour
    ci/nightly --only stress,profile   these parts
    ci/nightly --list                  the parts and their commands

The directory is build/nightly/DATE-COMMIT/: `index.html` with the state of each part, its time, its pictures and links to its
report, `result.json` with the same for machines, `logs/PART.log`, and a folder for each report. It is written anew after each part
and says that it is partial until the last one has ended, so a night that is stopped, however it is, doesn't pass for a whole
one. Ctrl-C ends the part that runs, with everything that it started, and leaves what there is.

A part that fails does not hide the next ones. A part that can't be had here, or doesn't exist in this version, says so and
fails nothing; nor does what CrossHair finds, because a solver may stumble by itself.

Exit code 0: no part failed. 1: one did, or ran out of time. 2: the command makes no sense, or nothing can be written.
130: interrupted.

Only the standard library, since the environment of the project may not exist yet.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import FrameType

ROOT: Final = Path(__file__).resolve().parent.parent
NIGHTS: Final = ROOT / "build" / "nightly"
SHORT_LIMIT: Final = 840.0
"""Seconds for all parts of the short form."""
GRACE: Final = 20.0
"""Seconds that a part gets for writing down what it has, once it is asked to end."""
HEARTBEAT: Final = 30.0
"""Seconds between two lines of progress where there is no terminal."""
TAIL: Final = 12
"""Lines of a log that the index shows of a part that failed."""

WAITING, RUNNING = "not run", "running"
PASSED, FAILED, TOLD, SKIPPED, ABSENT = "passed", "failed", "told", "skipped", "absent"
LATE, STOPPED = "out of time", "interrupted"

RECIPE: Final = re.compile(r"^make(?:\[\d+\])?: \*\*\* \[.*\] Error (\d+)", re.MULTILINE)
"""make ends with 2 whatever its recipe ended with, and says here what that was."""
CANNOT: Final = (3, 77)
"""Exit codes that say: this can't be done here."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that a night does.

    Attributes:
        name: One word; names its log and its folder.
        title: What it is.
        command: What to call; ``{out}`` is its folder in the night's directory, ``{last}`` the commit of the last whole night.
            Nothing if only the short form has it.
        short: The same for the short form; nothing if that leaves it out.
        limit: Most seconds that it may take in the long form.
        short_limit: In the short form.
        copies: Folders and files that it leaves elsewhere and that go into its folder, relative to the repository.
        short_copies: In the short form.
        pages: Its reports, relative to its folder.
        pictures: Globs of pictures that the index shows, relative to its folder.
        told: Whether a failure is only told.
        environment: What it sees on top of this process's environment.
    """

    name: str
    title: str
    command: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    limit: float = 3600.0
    short_limit: float = 300.0
    copies: tuple[str, ...] = ()
    short_copies: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    told: bool = False
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def make(*verbs: str, arguments: str = "") -> tuple[str, ...]:
    """Return the command for verbs of the Makefile."""
    return ("make", "-s", *verbs, *([f"ARGS={arguments}"] if arguments else []))


def conformance(target: str, engine: str) -> Part:
    """Return the part that puts one of our own targets on one engine under every profile of the kit."""
    command = (".venv/bin/python", "-m", "meridian_conformance.cli", "run", engine, "--target", target)
    return Part(
        f"conformance-{target}-{engine}",
        f"every profile of the conformance kit: {target}, {engine}",
        (*command, "--profile", "all", "--out", "{out}"),
        pages=("report.html",),
    )


NEEDED: Final = tuple(f".venv/.ready-{what}" for what in ("test", "bench", "build", "profile", "fast"))
"""What the parts of the short form need."""

# In the short form what the night is for comes first: flame graphs, slopes, history.
PARTS: Final = (
    Part("setup", "everything that a verb needs", make("setup"), make(*NEEDED), 1800, 480),
    Part("ci", "what CI runs", (".ci/run",), limit=5400),
    Part(
        "profile",
        "flame graphs of the stress scenarios, compared with the last night",
        make("profile", arguments="--seconds 20 --limit 900 --out {out}"),
        # Not the verb: it would build the Rust engine a second time, with symbols, which is a minute.
        (".venv/bin/python", "-m", "profiles", "record", "--native", "--limit", "240", "--out", "{out}"),
        1200,
        300,
        pages=("index.html",),
        pictures=("*/compare.svg", "*/profile.svg"),
    ),
    Part(
        "stress",
        "the stress scenarios, and what grew meanwhile",
        make("stress", arguments="--nightly --out {out}"),
        make("stress", arguments="--short --out {out}"),
        7200,
        240,
        pages=("report.html",),
        pictures=("*.svg", "*/*.svg"),
    ),
    Part(
        "leak",
        "memory stays flat over millions of operations",
        (".venv/bin/python", "ci/leak.py", "100_000_000"),
        (".venv/bin/python", "ci/leak.py"),
        5400,
        120,
    ),
    Part(
        "history",
        "asv: figures over commits",
        make("asv", arguments="night"),
        make("asv", arguments="night --short"),
        7200,
        240,
        copies=("build/asv/html",),
        short_copies=("build/asv/short/html",),
        pages=("html/history.html", "html/index.html"),
    ),
    Part("bench", "benchmark gates", make("bench", arguments="--full"), make("bench"), 1800, 200),
    Part(
        "budget",
        "what metrics cost; instructions, and at length paired ratios",
        make("budget"),
        make("budget", arguments="--lane I"),
        1800,
        240,
    ),
    Part("compare", "beside the last night's commit", (*make("compare"), "BASE={last}")),
    Part(
        "planted",
        "planted regressions, which the budget's lanes have to find",
        (".venv/bin/python", "-m", "asv_bench.planted"),
    ),
    Part(
        "peers",
        "beside other libraries",
        make("bench-peers"),
        limit=1200,
        copies=("build/peers",),
        pictures=("peers/*.svg",),
    ),
    Part("slo", "service levels", make("bench-slo"), limit=600),
    Part(
        "tests",
        "unit tests, searching harder",
        make("test"),
        limit=7200,
        environment={"HYPOTHESIS_PROFILE": "nightly"},
    ),
    *(
        conformance(target, engine)
        for target in ("edge", "ready", "engine", "node")
        for engine in ("python", "rust")
    ),
    Part("faults", "seeded faults of the Rust engine", ("ci/rust", "faults")),
    Part("asan", "the Rust engine under the address sanitizer", ("ci/rust", "asan")),
    Part("tsan", "what threads share, under the thread sanitizer", ("ci/rust", "tsan")),
    Part("crosshair", "CrossHair on policies and reference", make("crosshair"), told=True),
)


@dataclass
class Result:
    """What came of a part.

    Attributes:
        name: Of the part.
        title: What it is.
        state: ``passed``, ``failed``, ``told``, ``skipped``, ``absent``, ``out of time``, ``interrupted``, ``running`` or ``not run``.
        why: One line about it, where there is something to say.
        seconds: How long it took.
        code: Its exit code, make's recipe's rather than make's.
        command: What was called.
        log: Its log, relative to the night's directory.
        pages: Its reports, likewise.
        pictures: Its pictures, likewise.
        tail: The last lines of its log, if it failed.
    """

    name: str
    title: str
    state: str = WAITING
    why: str = ""
    seconds: float = 0.0
    code: int | None = None
    command: str = ""
    log: str = ""
    pages: list[str] = field(default_factory=list[str])
    pictures: list[str] = field(default_factory=list[str])
    tail: list[str] = field(default_factory=list[str])


# ---- processes -------------------------------------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Become the parent of what a part leaves behind, so that it is found and ended (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def descendants(of: int) -> list[int]:
    """Return the processes that descend from a process; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name stands in brackets and may hold anything.
            parent = int(status.read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    found: list[int] = []
    waiting = [of]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def end(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """End a part and everything that it started: first so that it can write down what it has, then at once."""
    for sign, seconds in ((signal.SIGINT, grace), (signal.SIGTERM, grace / 4)):
        try:
            os.killpg(process.pid, sign)
            process.wait(seconds)
            break
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    kill_rest(process)


def kill_rest(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a part, also what left its process group, and wait until it is gone."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    ends = time.monotonic() + GRACE
    while (left := descendants(os.getpid())) and time.monotonic() < ends:
        for each in left:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):  # orphans are ours now
                pass
        except ChildProcessError:
            pass
        time.sleep(0.01)


# ---- a night ---------------------------------------------------------------------------------------------------------


class Night:
    """One night, in one directory.

    Args:
        parts: What to do.
        short: Their short forms.
        out: The directory; it exists.
        limit: Seconds for everything; ``None`` if only the parts' own limits hold.
    """

    def __init__(self, parts: Sequence[Part], *, short: bool, out: Path, limit: float | None) -> None:
        self.parts = parts
        self.short = short
        self.out = out
        self.partial = True
        self.about = about()
        self.results = [Result(part.name, part.title) for part in parts]
        self._limit = limit
        self._began = time.monotonic()
        self._targets = targets()
        self._last = last_commit(NIGHTS)
        self._progress = Progress(len(parts))

    def run(self) -> int:
        """Do every part; return the exit code.

        Raises:
            KeyboardInterrupt: after everything was ended and the index written.
        """
        adopt_orphans()
        (self.out / "logs").mkdir(exist_ok=True)
        self.write()
        try:
            for part, result in zip(self.parts, self.results, strict=True):
                self._progress.begin(result)
                self._part(part, result)
                self._progress.end(result)
                self.write()
            self.partial = False
        except KeyboardInterrupt:
            for result in self.results:
                if result.state == RUNNING:
                    result.state = STOPPED
                    self._progress.end(result)
            raise
        finally:
            self.write()
        return int(any(result.state in (FAILED, LATE) for result in self.results))

    def _part(self, part: Part, result: Result) -> None:
        folder = self.out / part.name
        form = part.short if self.short else part.command
        command = [each.replace("{out}", str(folder)).replace("{last}", self._last) for each in form]
        result.command = " ".join(command).replace(str(ROOT) + os.sep, "")
        if missing := lacking(command, self._targets):
            result.state, result.why = ABSENT, f"this version has no `{missing}`"
            return
        limit = part.short_limit if self.short else part.limit
        if self._limit is not None:
            left = self._limit - (time.monotonic() - self._began)
            if left < 5:
                result.state, result.why = LATE, "no time was left to begin it"
                return
            limit = min(limit, left)
        result.state, result.log = RUNNING, f"logs/{part.name}.log"
        self.write()
        began = time.monotonic()
        try:
            code = self._call(command, part, result, limit)
        finally:
            result.seconds = round(time.monotonic() - began, 1)
            self._gather(part, folder, result)
        result.code = code
        result.state, result.why = self._verdict(part, result, limit)

    def _call(self, command: Sequence[str], part: Part, result: Result, limit: float) -> int | None:
        """Run a command into its log; return its exit code, ``None`` if it took too long."""
        log = self.out / result.log
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "CI": "true", "PYTHONUNBUFFERED": "1", **part.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt reaches it from here, once, and all of it
            )
            ends = time.monotonic() + limit
            try:
                while (code := process.poll()) is None:
                    self._progress.tell(result, log)
                    if time.monotonic() > ends:
                        end(process)
                        return None
                    time.sleep(0.1)
            except KeyboardInterrupt:
                end(process)
                raise
            finally:
                kill_rest(process)
        if (
            command[0] == "make"
            and code != 0
            and (said := RECIPE.findall(log.read_text(errors="replace")[-4000:]))
        ):
            return int(said[-1])
        return code

    def _gather(self, part: Part, folder: Path, result: Result) -> None:
        """Fetch what the part left elsewhere, and note what the index shows of it."""
        for name in part.short_copies if self.short else part.copies:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / source.name, dirs_exist_ok=True)
            elif source.exists():
                folder.mkdir(exist_ok=True)
                shutil.copyfile(source, folder / source.name)
        result.pages = [f"{part.name}/{page}" for page in part.pages if (folder / page).exists()]
        found = (path for glob in part.pictures for path in sorted(folder.glob(glob)))
        result.pictures = [str(path.relative_to(self.out)) for path in dict.fromkeys(found)]
        text = (self.out / result.log).read_text(errors="replace")
        for path in (self.out, ROOT):
            text = text.replace(str(path) + os.sep, "")
        result.tail = [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL:]

    def _verdict(self, part: Part, result: Result, limit: float) -> tuple[str, str]:
        last = result.tail[-1] if result.tail else ""
        if result.code is None:
            return LATE, f"ended after {limit:.0f} s"
        if result.code == 0:
            return PASSED, last
        if result.code in CANNOT:
            said = [line for line in result.tail if not line.startswith("make")]
            return SKIPPED, said[-1] if said else "it can't be done here"
        return (TOLD if part.told else FAILED), f"exit code {result.code}"

    def write(self) -> None:
        """Write the index and result.json as things stand."""
        content = {
            **self.about,
            "short": self.short,
            "partial": self.partial,
            "seconds": round(time.monotonic() - self._began, 1),
            "parts": [asdict(result) for result in self.results],
        }
        replace(self.out / "result.json", json.dumps(content, indent=1) + "\n")
        replace(self.out / "index.html", page(content))


def replace(path: Path, text: str) -> None:
    """Write a file, all of it or nothing."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def targets() -> set[str]:
    """Return what the Makefile can make: verbs, and the stamps of what is set up."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    return set(re.findall(r"^([\w./-]+):", text, re.MULTILINE))


def last_commit(nights: Path) -> str:
    """Return the commit of the last night that came to its end, or the one before this one."""
    for result in sorted(nights.glob("*/result.json"), reverse=True):
        try:
            night = json.loads(result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if not night["partial"] and git("cat-file", "-t", night["commit"]) == "commit":
            return str(night["commit"])
    return "HEAD~1"


def lacking(command: Sequence[str], targets: set[str]) -> str:
    """Return what a command needs and this version doesn't have: a target of the Makefile, a module; nothing if all is there."""
    if command[0] == "make" and command[2] not in targets:
        return f"make {command[2]}"
    if command[1:2] == ["-m"]:
        package, _, module = command[2].partition(".")
        if (ROOT / package).is_dir() and module and not (ROOT / package / f"{module}.py").exists():
            return f"python -m {command[2]}"
    return ""


def about() -> dict[str, Any]:
    """Return what a reader has to know: the commit, the date, the machine's kind."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "--short=12", "HEAD") or "unknown",
        "subject": git("log", "-1", "--format=%s"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 2),
    }


def git(*arguments: str) -> str:
    """Return what git says; nothing if it says nothing."""
    try:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


# ---- what is said meanwhile ------------------------------------------------------------------------------------------


class Progress:
    """Says on stderr how far the night is: one line kept up to date on a terminal, else a line now and then.

    Args:
        total: How many parts there are.
    """

    COLOURS: Final = {
        PASSED: "32",
        FAILED: "31;1",
        LATE: "31;1",
        TOLD: "33",
        SKIPPED: "33",
        ABSENT: "33",
        STOPPED: "33",
    }

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0
        self._began = self._told = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def begin(self, result: Result) -> None:
        """Say that a part begins."""
        self._number += 1
        self._began = self._told = time.monotonic()
        self._say(f"{result.title} …")

    def tell(self, result: Result, log: Path) -> None:
        """Say that a part goes on, and what it said last."""
        now = time.monotonic()
        if now - self._told < (0.5 if self._terminal else HEARTBEAT):
            return
        self._told = now
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 400))
            lines = re.split(r"[\r\n]+", file.read().decode(errors="replace").strip())
        self._say(f"{result.name}, {now - self._began:.0f} s: {lines[-1]}")

    def end(self, result: Result) -> None:
        """Say what came of a part."""
        state = f"{result.state} in {result.seconds:.0f} s"
        if self._terminal:
            state = f"\x1b[{self.COLOURS.get(result.state, '0')}m{state}\x1b[0m"
        self._say(f"{result.name} {state}{f': {result.why}' if result.why else ''}", last=True)

    def _say(self, text: str, *, last: bool = False) -> None:
        line = f"nightly: {self._number}/{self._total} {text}"
        if not self._terminal:
            print(line, file=sys.stderr, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        shown = line if last else line[:width]
        print(f"\r\x1b[K{shown}", end="\n" if last else "", file=sys.stderr, flush=True)


# ---- the page --------------------------------------------------------------------------------------------------------

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 2em auto; padding: 0 1em; color: #1f2937; background: #fff; }
h1 { margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 1px solid #e5e7eb; } .muted { color: #6b7280; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3em .8em .3em 0; text-align: left; vertical-align: top; }
tr { border-bottom: 1px solid #f3f4f6; } td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.state { border-radius: 999px; padding: .1em .7em; font-size: 13px; white-space: nowrap; background: #f3f4f6; }
.passed { background: #dcfce7; color: #166534; } .failed, .late { background: #fee2e2; color: #991b1b; }
.told, .skipped, .absent, .stopped { background: #fef3c7; color: #92400e; } .running { background: #dbeafe; color: #1e40af; }
.banner { background: #fef3c7; border: 1px solid #f59e0b; border-radius: 6px; padding: .5em .9em; }
pre { background: #f9fafb; border: 1px solid #e5e7eb; border-radius: 6px; padding: .7em; overflow-x: auto; font-size: 12.5px; }
code { font: 12.5px ui-monospace, Menlo, Consolas, monospace; }
iframe { width: 100%; height: 640px; border: 1px solid #e5e7eb; border-radius: 6px; }
img { max-width: 100%; border: 1px solid #e5e7eb; border-radius: 6px; margin: .3em 0; }
"""
CLASSES: Final = {LATE: "late", STOPPED: "stopped", WAITING: "waiting"}


def page(night: Mapping[str, Any]) -> str:
    """Return the index of a night, from its result.json."""
    parts = night["parts"]
    counts = {
        state: sum(part["state"] == state for part in parts)
        for state in dict.fromkeys(part["state"] for part in parts)
    }
    banner = ""
    if night["partial"]:
        banner = '<p class="banner"><b>Partial.</b> This night has not come to its end; what is here is what there was until then.</p>'
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Meridian, {escape(night["date"][:10])}</title><style>{STYLE}</style>'
        f"<h1>{'A short night' if night['short'] else 'A night'} of Meridian</h1>"
        f'<p class="muted">{escape(night["date"])}; commit <code>{escape(night["commit"])}</code>'
        f"{' with changes' if night['changed'] else ''}: {escape(night['subject'])}; {escape(night['machine'])}, load {night['load']}; "
        f"{clock(night['seconds'])}.</p>{banner}"
        f"<p>{', '.join(f'{count} {state}' for state, count in counts.items())}.</p>"
        "<table><tr><th>part</th><th></th><th>time</th><th>report</th><th></th></tr>"
        f"{''.join(row(part) for part in parts)}</table>{''.join(section(part) for part in parts)}</html>\n"
    )


def row(part: Mapping[str, Any]) -> str:
    """Return a part's row of the table."""
    links = [f'<a href="{escape(page)}">{escape(Path(page).stem)}</a>' for page in part["pages"]]
    links += [f'<a href="{escape(part["log"])}">log</a>'] if part["log"] else []
    state = part["state"]
    name = f'<a href="#{part["name"]}">{escape(part["title"])}</a>' if part["log"] else escape(part["title"])
    return (
        f"<tr><td>{name}</td><td><span class='state {CLASSES.get(state, state)}'>{state}</span></td>"
        f"<td class='n'>{clock(part['seconds']) if part['log'] else ''}</td><td>{' · '.join(links)}</td>"
        f"<td class='muted'>{escape(part['why'][:200])}</td></tr>"
    )


def section(part: Mapping[str, Any]) -> str:
    """Return what there is to see of a part that ran."""
    if not part["log"]:
        return ""
    lines = [
        f'<h2 id="{part["name"]}">{escape(part["title"])}</h2><p><code>{escape(part["command"])}</code></p>'
    ]
    lines += [f'<p><a href="{escape(page)}">{escape(page)}</a></p>' for page in part["pages"]]
    lines += [
        f'<a href="{escape(picture)}"><img loading="lazy" src="{escape(picture)}" alt="{escape(picture)}"></a>'
        for picture in part["pictures"]
    ]
    if part["pages"] and not part["pictures"]:  # its pictures are in its report
        report = escape(part["pages"][0])
        lines.append(f'<iframe loading="lazy" src="{report}" title="{report}"></iframe>')
    if part["tail"]:
        shown = "" if part["state"] == PASSED and part["pages"] else " open"
        tail = escape("\n".join(part["tail"]))
        lines.append(f"<details{shown}><summary>the end of its log</summary><pre>{tail}</pre></details>")
    return "".join(lines)


def clock(seconds: float) -> str:
    """Return a duration for people."""
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


# ---- the command -----------------------------------------------------------------------------------------------------


def chosen(parts: Sequence[Part], *, short: bool, only: str) -> list[Part]:
    """Return the parts to do.

    Raises:
        ValueError: there is no such part, or not in this form.
    """
    there = [part for part in parts if (part.short if short else part.command)]
    names = [part.name for part in there]
    asked = [name for name in only.split(",") if name] or names
    for name in asked:
        if name not in names:
            raise ValueError(
                f"there is no part {name!r}{' in the short form' if short else ''}; there are {', '.join(names)}"
            )
    return [part for part in there if part.name in asked]


def listing(parts: Sequence[Part], *, short: bool) -> Iterator[str]:
    """Give a line for each part."""
    for part in parts:
        yield f"{part.name:<26} {' '.join(part.short if short else part.command)}"


def directory(out: Path | None) -> Path:
    """Make the night's directory and return it.

    Raises:
        OSError: it can't be made, or isn't empty.
    """
    stamp = f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}-{git('rev-parse', '--short=12', 'HEAD') or 'unknown'}"
    made = (out or NIGHTS / stamp).resolve()
    made.mkdir(parents=True, exist_ok=True)
    if any(made.iterdir()):
        raise OSError(f"{made} is not empty")
    return made


def main(arguments: Sequence[str] | None = None, parts: Sequence[Part] = PARTS) -> int:
    """Do what the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(prog="ci/nightly", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="the short forms, within a quarter of an hour")
    parser.add_argument("--only", default="", metavar="PARTS", help="these parts, separated by commas")
    parser.add_argument("--list", action="store_true", help="name the parts and end")
    parser.add_argument("--out", type=Path, help="the directory (build/nightly/DATE-COMMIT)")
    parser.add_argument("--json", action="store_true", help="result.json on stdout at the end")
    options = parser.parse_args(arguments)
    try:
        there = chosen(parts, short=options.short, only=options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(listing(there, short=options.short)))
        return 0
    try:
        out = directory(options.out)
    except OSError as error:
        print(f"nightly: can't write: {error}", file=sys.stderr)
        return 2
    night = Night(there, short=options.short, out=out, limit=SHORT_LIMIT if options.short else None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        code = night.run()
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        print(f"nightly: can't write: {error}", file=sys.stderr)
        return 2
    print(
        f"nightly: {'interrupted, partial' if code == 130 else 'complete'}: {out / 'index.html'}",
        file=sys.stderr,
    )
    if options.json:
        print((out / "result.json").read_text(encoding="utf-8"), end="")
    return code


def interrupted(number: int, frame: FrameType | None) -> None:
    """End the night."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
