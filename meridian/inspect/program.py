"""Which program a process runs, so that somebody can tell one from another."""

from __future__ import annotations

import re
from pathlib import Path

from meridian.redaction import redactor
from meridian.redaction.names import clean

PROC = Path("/proc")

_LONGEST = 60
"""Most characters of a program that are told."""

_WITH_VALUE = ("-X", "-W")
"""Options of the interpreter whose value is the next word."""

_TARGET = re.compile(r"[\w./-]+\.py(:[\w.]+)?|[\w.]+:[\w.]+")


def program_of(pid: int, proc: Path = PROC) -> str:
    """Return which program a process runs, ``app.py`` or ``meridian app.py:build``; ``""`` where the system doesn't tell.

    Of its command line no other word is told: what somebody gave it may be a secret.
    """
    try:
        said = (proc / str(pid) / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    command, *rest = said.split("\0")
    name = _last(command)
    if name.startswith("python"):
        name, rest = _run_by_python(name, rest)
    if name == "meridian":
        name = " ".join([name, *filter(_TARGET.fullmatch, rest)][:2])
    return clean(redactor().text(name), _LONGEST)


def _run_by_python(python: str, rest: list[str]) -> tuple[str, list[str]]:
    """Return the module or script that an interpreter runs, and what follows; else its own name."""
    i = 0
    while i < len(rest) and rest[i].startswith("-"):
        if rest[i] == "-c":
            return f"{python} -c", []
        if rest[i] == "-m":
            return "".join(rest[i + 1 : i + 2]), rest[i + 2 :]
        i += 2 if rest[i] in _WITH_VALUE else 1
    return _last("".join(rest[i : i + 1])) or python, rest[i + 1 :]


def _last(path: str) -> str:
    return path.rpartition("/")[2]
