"""What the system knows of a process, also where it doesn't answer: from ``/proc``, without asking it anything."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PROC = Path("/proc")

STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting for a device",
    "T": "stopped",
    "t": "traced",
    "Z": "dead",
    "X": "dead",
    "I": "idle",
}

_WORDS = frozenset({"meridian", "run"})
_OPTION = re.compile(r"--[a-z][a-z0-9-]{0,40}")

ARGUMENT = "<argument>"


@dataclass(frozen=True, slots=True)
class Runtime:
    """A process.

    Attributes:
        pid: Its number.
        answered: It answered; otherwise only the system was asked.
        meridian: Version of the runtime that it runs, or ``None`` if it didn't say.
        runs: Ids of its runs that are under way.
        socket: ``default`` if its socket is where it is looked for, ``named`` if it was named; ``None`` if there is none.
        state: ``running``, ``sleeping``, ``stopped``, ``traced``, ``dead``, ``idle`` or ``waiting for a device``; ``None`` where
            the system doesn't say, here as below.
        command: What it was started with: the program, names of options, and ``<argument>`` for anything else.
        same_interpreter: It runs the interpreter that made this bundle, so packages are those of both.
        threads: How many it has.
        open_files: File descriptors that are open.
        memory_bytes: Resident memory.
        cpu_s: Seconds of processor time that it used.
        age_s: Seconds since it was started.
    """

    pid: int | None
    answered: bool
    meridian: str | None = None
    runs: tuple[str, ...] = ()
    socket: str | None = None
    state: str | None = None
    command: tuple[str, ...] | None = None
    same_interpreter: bool | None = None
    threads: int | None = None
    open_files: int | None = None
    memory_bytes: int | None = None
    cpu_s: float | None = None
    age_s: float | None = None


def shown_command(words: Iterable[str]) -> tuple[str, ...]:
    """Return what is told of a command line: its shape, and no word that somebody else chose."""
    given = list(words)
    if not given:
        return ()
    # A program is known by its kind; its name could be any text.
    kind = re.match(r"python|meridian", os.path.basename(given[0]))
    shown = [kind[0] if kind is not None else "<program>"]
    for i, word in enumerate(given[1:], 1):
        before = given[i - 1]
        name = word.partition("=")[0]
        if word in ("-m", "-c", "-u", "-O", "-OO", "-I", "-E", "-P", "-B", "-X", "-W", "--"):
            shown.append(word)
        elif _OPTION.fullmatch(name):
            shown.append(name if name == word else f"{name}={ARGUMENT}")
        elif word in _WORDS and (before in ("-m", "meridian") or os.path.basename(before) == "meridian"):
            shown.append(word)
        else:
            shown.append(ARGUMENT)
    return tuple(shown)


def facts_of(pid: int, proc: Path = PROC) -> dict[str, object]:
    """Return what the system tells of a process, as fields of `Runtime`; those that it doesn't tell are left out."""
    place = proc / str(pid)
    facts: dict[str, object] = {}
    stat = _text(place / "stat").rpartition(")")[2].split()
    if len(stat) > 21:
        tick = os.sysconf("SC_CLK_TCK")
        facts["state"] = STATES.get(stat[0])
        facts["cpu_s"] = (int(stat[11]) + int(stat[12])) / tick
        facts["threads"] = int(stat[17])
        facts["memory_bytes"] = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
        uptime = _text(proc / "uptime").split()
        if uptime:
            facts["age_s"] = max(float(uptime[0]) - int(stat[19]) / tick, 0.0)
    command = _text(place / "cmdline")
    if command:
        facts["command"] = shown_command(command.rstrip("\0").split("\0"))
    try:
        facts["open_files"] = len(os.listdir(place / "fd"))
        own = proc / "self" / "exe"
        facts["same_interpreter"] = os.path.realpath(place / "exe") == os.path.realpath(own)
    except OSError:
        pass
    return facts


def variables_of(pid: int, proc: Path = PROC) -> dict[str, str] | None:
    """Return the environment that a process was started with, or ``None`` where the system doesn't tell."""
    said = _text(proc / str(pid) / "environ")
    if not said:
        return None
    return {name: value for name, _, value in (each.partition("=") for each in said.split("\0")) if name}


def folder_of(pid: int, proc: Path = PROC) -> Path | None:
    """Return the current folder of a process, or ``None`` where the system doesn't tell."""
    try:
        return Path(os.readlink(proc / str(pid) / "cwd"))
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
