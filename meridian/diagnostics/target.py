"""TARGET, loaded in a process of its own: its code may fail, hang, exit or crash without taking the bundle with it.

``python -m meridian.diagnostics.target TARGET ARGS`` writes one JSON object to stdout: what is wrong with the graph, and, where
it is valid, its nodes and edges. What TARGET's own code prints goes nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meridian.diagnostics.errors import DiagnosticsError
from meridian.diagnostics.topology import Graph, declared, graph_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meridian.core.scheduler import Scheduler

_SEEN_ABOVE = ": see its traceback above"


@dataclass(frozen=True, slots=True)
class Issue:
    """What is wrong with a graph.

    Attributes:
        rule: Stable id, such as ``NO_SRC_PORT``.
        level: ``error`` or ``warning``.
        message: The place, the value and the fix.
    """

    rule: str
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Smell:
    """What ``meridian lint`` finds in a graph.

    Attributes:
        rule: Id of the rule.
        level: ``error``, ``warning`` or ``note``.
        node: Name of the node, or ``None``.
        edge: Id of the edge, or ``None``.
        what: What was found.
        fix: What to do instead.
        file: Where it stands, or ``None``.
        line: The line there, or ``None``.
    """

    rule: str
    level: str
    node: str | None
    edge: str | None
    what: str
    fix: str
    file: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class Issues:
    """All that is wrong with the graph of TARGET, and what smells.

    Attributes:
        valid: A run would not be refused.
        issues: What validation found, in the order in which it did.
        smells: What lint found, errors first; rules that the project ignores are left out.
    """

    valid: bool
    issues: tuple[Issue, ...]
    smells: tuple[Smell, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What TARGET declares.

    Attributes:
        issues: What is wrong with it.
        graph: Its nodes and edges, or ``None`` if it isn't valid.
    """

    issues: Issues
    graph: Graph | None


def load_target(target: str, args: Sequence[str], timeout_s: float) -> Loaded:
    """Load a target in a process of its own.

    Raises:
        DiagnosticsError: it can't be loaded; says why.
    """
    command = [sys.executable, "-m", "meridian.diagnostics.target", target, *args]
    try:
        ran = subprocess.run(  # noqa: S603 - our own interpreter and module; TARGET is what the user asks for
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DiagnosticsError(f"loading it took longer than {timeout_s:g} s") from None
    try:
        said: Any = json.loads(ran.stdout)
        if said["error"] is not None:
            raise DiagnosticsError(str(said["error"]))
        issues = tuple(Issue(each["rule"], each["level"], each["message"]) for each in said["issues"])
        smells = tuple(Smell(**each) for each in said["smells"])
        graph = None if said["graph"] is None else graph_from(said["graph"])
        return Loaded(Issues(bool(said["valid"]), issues, smells), graph)
    except (ValueError, KeyError, TypeError):
        how = f"signal {-ran.returncode}" if ran.returncode < 0 else f"exit code {ran.returncode}"
        raise DiagnosticsError(f"its process ended with {how} before the graph was there") from None


def file_of(target: str) -> Path | None:
    """Return the file that a target names, or ``None`` if it names a module."""
    place = target.rpartition(":")[0] or target
    return Path(place) if place.endswith(".py") else None


def main(target: str, args: Sequence[str]) -> None:
    """Load a target and say what it declares; then exit, whatever its code left running."""
    from meridian.cli.codes import CommandError
    from meridian.cli.streams import output
    from meridian.cli.target import load

    with output(as_json=True) as out:
        try:
            with asyncio.Runner() as runner:
                record = _told(load(target, args, runner))
        except CommandError as error:
            record = {"error": str(error).removesuffix(_SEEN_ABOVE)}
        out.write(json.dumps(record))
        out.flush()
        os._exit(0)


def _told(scheduler: Scheduler) -> dict[str, Any]:
    from meridian.core.errors import ConfigError
    from meridian.lint import Settings, lint, read_settings
    from meridian.runtime.plan import build_plan
    from meridian.runtime.validate import validate_together

    graphs = scheduler._graphs
    try:
        settings = read_settings()
    except ConfigError:  # what the project wants is not to be known; a bundle is no place to complain
        settings = Settings()
    issues = validate_together(graphs)
    valid = all(issue.level != "error" for issue in issues)
    return {
        "error": None,
        "valid": valid,
        "issues": [{"rule": issue.code, "level": issue.level, "message": issue.message} for issue in issues],
        "smells": [
            {field.name: getattr(each, field.name) for field in fields(Smell)}
            for each in lint(scheduler, settings=settings)
        ],
        "graph": asdict(declared(build_plan(graphs))) if valid else None,
    }


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
