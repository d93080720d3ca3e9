"""What is completed in the shell: TARGET, nodes, rules, processes. Nothing of the user's is run or imported for it."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any


def complete_target(incomplete: str) -> list[str]:
    """Return what TARGET may go on with: .py files and folders, and behind the colon what a file defines."""
    place, colon, begun = incomplete.rpartition(":")
    if colon:
        path = Path(place) if place.endswith(".py") else Path(*place.split(".")).with_suffix(".py")
        return [f"{place}:{name}" for name in _defined(path) if name.startswith(begun)]
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


def complete_args(ctx: Any, incomplete: str) -> list[str]:
    """Return what TARGET may go on with behind its colon, where the shell takes that for a word of its own.

    bash does: of ``app.py:bu`` it makes the three words ``app.py``, ``:`` and ``bu``, and replaces only the last one.
    """
    place, given = ctx.params.get("target"), list(ctx.params.get("args") or ())
    if not place or given != [":"]:
        return []
    return [each.rpartition(":")[2] for each in complete_target(f"{place}:{incomplete}")]


def mend_words() -> None:
    """Undo what bash does to a line: it takes ``:`` and ``=`` for words of their own.

    Behind a colon at the end an empty word begins. ``--option=value`` is told as ``--option value``, of which bash replaces the
    last word only, as it should.
    """
    words, current = os.environ.get("COMP_WORDS", "").split("\n"), os.environ.get("COMP_CWORD", "")
    if not current.isdecimal():
        return
    at = int(current)
    if words[at : at + 1] == [":"]:
        at += 1
    for i in range(min(at, len(words) - 1), 1, -1):
        if words[i] == "=" and words[i - 1].startswith("--"):
            del words[i]
            at -= i < at
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(words), str(at)


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


def _defined(path: Path) -> list[str]:
    """Return the public functions and variables at the top of a file."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    names: list[str] = []
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.append(statement.name)
        elif isinstance(statement, ast.Assign):
            names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.append(statement.target.id)
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]
