"""What is completed in the shell: TARGET, nodes, rules, processes. Nothing of the user's is run or imported for it."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any


def complete_target(incomplete: str) -> list[str]:
    """Return what TARGET may go on with: .py files and folders, and behind the colon what a file defines."""
    place, colon, begun = incomplete.rpartition(":")
    if colon:
        path = Path(place) if place.endswith(".py") else Path(*place.split(".")).with_suffix(".py")
        from meridian.cli.target import defined

        return [f"{place}:{name}" for name in defined(path) or () if name.startswith(begun)]
    folder, slash, begun = incomplete.rpartition("/")
    found: list[str] = []
    try:
        for path in sorted(Path(folder + slash or ".").iterdir()):
            if not path.name.startswith(begun) or path.name.startswith((".", "__")):
                continue
            if path.is_dir():
                found.append(f"{folder}{slash}{path.name}/")
            elif path.suffix == ".py":
                found.append(f"{folder}{slash}{path.name}")
    except OSError:
        return []
    return found


@contextmanager
def whole_words(shell: str) -> Generator[None]:
    """Let a shell and typer mean the same word while a completion is asked for and answered; otherwise do nothing.

    bash takes ``:`` and ``=`` for words of their own, and replaces only what stands behind them: of ``app.py:bu`` the ``bu``. zsh and
    fish take ``--option=value`` for one word and replace the whole, whereas typer tells only what the value may be.

    Args:
        shell: The one that asks, or ``""`` if none does.
    """
    if shell == "bash":
        mended = _behind_colon(os.environ)
    elif shell in ("zsh", "fish"):
        mended = _behind_equals(shell, os.environ.get("_TYPER_COMPLETE_ARGS", ""))
    else:
        yield
        return
    with io.StringIO() as said:
        try:
            with redirect_stdout(said):
                yield
        finally:
            sys.stdout.write(mended(said.getvalue()))


def _behind_colon(asked: MutableMapping[str, str]) -> Callable[[str], str]:
    """Put the words of bash together again, and return what takes from each answer what bash keeps anyway."""
    words, current = asked.get("COMP_WORDS", "").split("\n"), asked.get("COMP_CWORD", "")
    if not current.isdecimal():
        return str
    at = int(current)
    whole: list[str] = []
    kept, goes_on = "", False
    for word in words[: at + 1]:
        if word == "=" and whole and whole[-1].startswith("--"):  # as if a blank stood there
            whole.append("")
            kept, goes_on = "", True
        elif word == ":" and len(whole) > 1:
            whole[-1] += word
            kept, goes_on = whole[-1], True
        elif goes_on:
            whole[-1] += word
            goes_on = False
        else:
            whole.append(word)
            kept = ""
    asked["COMP_WORDS"] = "\n".join(whole)
    asked["COMP_CWORD"] = str(len(whole) - (at < len(words)))
    return lambda said: "".join(line.removeprefix(kept) for line in said.splitlines(keepends=True))


def _behind_equals(shell: str, line: str) -> Callable[[str], str]:
    """Return what makes answers of the values of ``--option=``, if the last word of a line is one."""
    begun = re.search(r"(?<=\s)--[\w-]+=(?=\S*$)", line)
    if begun is None:
        return str
    if shell == "zsh":  # what it is told is a piece of its own code
        return lambda said: f"compset -P 1 '*='; {said}"
    return lambda said: "".join(begun[0] + each for each in said.splitlines(keepends=True) if each.strip())


def complete_command(ctx: Any, incomplete: str) -> list[str]:
    """Return the commands there are, or those below the ones that are named already."""
    command = ctx.find_root().command
    for name in ctx.params.get("names") or ():
        command = getattr(command, "commands", {}).get(name)
    return [name for name in getattr(command, "commands", {}) if name.startswith(incomplete)]


def complete_pid() -> list[str]:
    """Return the processes that let themselves be looked at."""
    from meridian.cli.codes import CommandError
    from meridian.cli.process import inspected

    try:
        return [str(pid) for pid in inspected()]
    except CommandError:
        return []


def complete_node(incomplete: str) -> list[str]:
    """Return the names of nodes that begin like this."""
    from meridian.nodes.catalogue import catalogue

    begun = incomplete.lower()
    return [entry.name for entry in catalogue() if entry.name.lower().startswith(begun)]


def complete_rule(incomplete: str) -> list[str]:
    """Return the ids of lint rules that begin like this; after a comma, that the last one may go on with."""
    from meridian.lint import rules

    done, comma, begun = incomplete.rpartition(",")
    return [f"{done}{comma}{id}" for id in rules() if id.startswith(begun)]


def complete_schema(incomplete: str) -> list[str]:
    """Return the names of published schemas that begin like this."""
    from meridian.cli.schema import PUBLISHED

    return [name for name in PUBLISHED if name.startswith(incomplete)]
