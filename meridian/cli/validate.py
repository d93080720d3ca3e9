"""``meridian validate``: everything that is wrong with a graph, without running it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TextIO

from rich.text import Text

from meridian.cli.codes import Code
from meridian.cli.several import look_at_each
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


class _Seen(NamedTuple):
    """What validation says of one target.

    Attributes:
        issues: In the order of the graph.
        where: Where edges were declared, by their ids.
        size: Its nodes and edges in words; ``""`` if it is invalid.
    """

    issues: Sequence[ValidationIssue]
    where: dict[str, Place]
    size: str

    @property
    def errors(self) -> int:
        """How many of the issues refuse a run."""
        return sum(issue.level == "error" for issue in self.issues)


def validate(targets: Sequence[str], args: Sequence[str], *, as_json: bool, strict: bool) -> Code:
    """Validate targets; return the exit code."""
    return answer(
        targets[0] if len(targets) == 1 else None,
        as_json,
        lambda out: _validate(targets, args, as_json, strict, out),
    )


def _validate(targets: Sequence[str], args: Sequence[str], as_json: bool, strict: bool, out: TextIO) -> Code:
    looked = look_at_each(targets, lambda target: _look(target, args))
    several = looked.only is None
    errors = sum(each.errors for each in looked.seen.values())
    if as_json:
        issues = [
            {**({"target": target} if several else {}), **_as_dict(issue, each.where)}
            for target, each in looked.seen.items()
            for issue in each.issues
        ]
        write_json(
            out,
            looked.only,
            {
                **(looked.as_dict() if several else {}),
                "valid": not errors and not looked.refused,
                "issues": redactor().data(issues, max_items=None),
            },
        )
    else:
        for target, each in looked.seen.items():
            _show(each, f"{target}: " if several else "")
    if looked.refused:
        return Code.USAGE
    fails = errors or (strict and any(each.issues for each in looked.seen.values()))
    return Code.FAILED if fails else Code.OK


def _look(target: str, args: Sequence[str]) -> _Seen:
    configure(LogLevel.WARN, json=not sys.stderr.isatty())
    with recorded() as places, asyncio.Runner() as runner:
        graphs = load(target, args, runner)._graphs
    issues = validate_together(graphs)
    size = ""
    if not any(issue.level == "error" for issue in issues):
        plan = build_plan(graphs)
        size = f"{count(len(plan.nodes), 'node')}, {count(len(plan.edges), 'edge')}"
    return _Seen(issues, _places_of(graphs, places), size)


def _show(seen: _Seen, target: str) -> None:
    console = console_for("stdout")
    for issue in seen.issues:
        console.print(_line(issue, seen.where), soft_wrap=True)
        if issue.code in FIXES:
            console.print(Text(f"    {FIXES[issue.code]}", style="dim"), soft_wrap=True)
    warnings = len(seen.issues) - seen.errors
    console.print(
        Text.assemble(
            target,
            (f"invalid: {count(seen.errors, 'error')}", "bold red")
            if seen.errors
            else (f"valid: {seen.size}", "bold green"),
            f", {count(warnings, 'warning')}" if warnings else "",
        ),
        soft_wrap=True,
    )


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
