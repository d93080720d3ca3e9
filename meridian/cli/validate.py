"""``meridian validate``: everything that is wrong with a graph, without running it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.text import Text

from meridian.cli.codes import Code
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import console_for
from meridian.cli.target import load
from meridian.core.issues import ValidationIssue
from meridian.observability.logging import LogLevel, configure
from meridian.redaction import redactor
from meridian.runtime.plan import build_plan
from meridian.runtime.validate import validate_together

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
"""How levels are shown."""


def validate(target: str, args: Sequence[str], *, as_json: bool) -> Code:
    """Validate a target; return the exit code."""
    return answer(target, as_json, lambda out: _validate(target, args, as_json, out))


def _validate(target: str, args: Sequence[str], as_json: bool, out: TextIO) -> Code:
    configure(LogLevel.WARN, json=not sys.stderr.isatty())
    with asyncio.Runner() as runner:
        graphs = load(target, args, runner)._graphs
        issues = validate_together(graphs)
    errors = sum(issue.level == "error" for issue in issues)
    if as_json:
        write_json(
            out,
            target,
            {
                "valid": not errors,
                "issues": redactor().data([issue._asdict() for issue in issues], max_items=None),
            },
        )
    else:
        console = console_for("stdout")
        for issue in issues:
            console.print(_line(issue), soft_wrap=True)
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
    return Code.FAILED if errors else Code.OK


def _line(issue: ValidationIssue) -> Text:
    return Text.assemble(
        (issue.level, STYLES.get(issue.level, "bold")), redactor().text(f" {issue.code}: {issue.message}")
    )


def count(n: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
