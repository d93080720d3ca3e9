"""``meridian validate``: everything that is wrong with a graph, without running it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.text import Text

from meridian.cli.codes import Code
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import console_for
from meridian.cli.target import load
from meridian.core.issues import FIXES, IssueOfEdge, ValidationIssue
from meridian.core.places import Place, Places, recorded, shown_path
from meridian.core.subgraph import Subgraph
from meridian.observability.logging import LogLevel, configure
from meridian.redaction import redactor
from meridian.runtime.plan import build_plan
from meridian.runtime.validate import validate_together

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
"""How levels are shown."""


def validate(target: str, args: Sequence[str], *, as_json: bool, strict: bool) -> Code:
    """Validate a target; return the exit code."""
    return answer(target, as_json, lambda out: _validate(target, args, as_json, strict, out))


def _validate(target: str, args: Sequence[str], as_json: bool, strict: bool, out: TextIO) -> Code:
    configure(LogLevel.WARN, json=not sys.stderr.isatty())
    with recorded() as places, asyncio.Runner() as runner:
        graphs = load(target, args, runner)._graphs
    issues = validate_together(graphs)
    where = _places_of(graphs, places)
    errors = sum(issue.level == "error" for issue in issues)
    if as_json:
        write_json(
            out,
            target,
            {
                "valid": not errors,
                "issues": redactor().data([_as_dict(issue, where) for issue in issues], max_items=None),
            },
        )
    else:
        console = console_for("stdout")
        for issue in issues:
            console.print(_line(issue, where), soft_wrap=True)
            if issue.code in FIXES:
                console.print(Text(f"    {FIXES[issue.code]}", style="dim"), soft_wrap=True)
        if errors:
            said = (f"invalid: {count(errors, 'error')}", "bold red")
        else:
            plan = build_plan(graphs)
            said = (
                f"valid: {count(len(plan.nodes), 'node')}, {count(len(plan.edges), 'edge')}",
                "bold green",
            )
        warnings = len(issues) - errors
        console.print(
            Text.assemble(said, f", {count(warnings, 'warning')}" if warnings else ""), soft_wrap=True
        )
    return Code.FAILED if errors or (strict and issues) else Code.OK


def _places_of(graphs: Iterable[Subgraph], places: Places) -> dict[str, Place]:
    """Return where edges were declared, by their ids within the whole plan."""
    found: dict[str, Place] = {}
    todo = [(graph, "") for graph in graphs]
    while todo:
        graph, prefix = todo.pop()
        for edge in graph.edges:
            place = places.of(edge)
            if place is not None:
                found[prefix + edge.id] = place
        inner = ((node, f"{prefix}{key}/") for key, node in graph.nodes.items())
        todo += (each for each in inner if isinstance(each[0], Subgraph))
    return found


def _place(issue: ValidationIssue, where: dict[str, Place]) -> tuple[str, int] | None:
    place = where.get(issue.edge) if isinstance(issue, IssueOfEdge) else None
    return None if place is None else (shown_path(place.file), place.line)


def _as_dict(issue: ValidationIssue, where: dict[str, Place]) -> dict[str, Any]:
    file, line = _place(issue, where) or (None, None)
    return {**issue._asdict(), "fix": FIXES.get(issue.code), "file": file, "line": line}


def _line(issue: ValidationIssue, where: dict[str, Place]) -> Text:
    place = _place(issue, where)
    return Text.assemble(
        "" if place is None else f"{place[0]}:{place[1]}: ",
        (issue.level, STYLES.get(issue.level, "bold")),
        redactor().text(f" {issue.code}: {issue.message}"),
    )


def count(n: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
