"""``meridian schema``: a graph as it was declared, and the schemas that Meridian publishes."""

from __future__ import annotations

import asyncio
import difflib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from meridian.cli.codes import Code, CommandError
from meridian.cli.streams import answer, write_file
from meridian.cli.target import load
from meridian.diagnostics.schema import manifest_schema
from meridian.introspect.graph import declared
from meridian.introspect.schema import comparison_schema, graph_schema, profile_schema, snapshot_schema
from meridian.observability.logging import LogLevel, configure
from meridian.runtime.validate import validate_together

PUBLISHED: Mapping[str, Callable[[], dict[str, Any]]] = {
    "snapshot": snapshot_schema,
    "profile": profile_schema,
    "comparison": comparison_schema,
    "graph": graph_schema,
    "bundle-manifest": manifest_schema,
}
"""What is published in docs/reference, as ``NAME.schema.json``."""


def export(target: str, args: Sequence[str], file: Path | None, *, compact: bool) -> Code:
    """Write what a target declares; return the exit code."""
    return answer(target, True, lambda out: _export(target, args, file, compact, out))


def _export(target: str, args: Sequence[str], file: Path | None, compact: bool, out: TextIO) -> Code:
    configure(LogLevel.WARN, json=not sys.stderr.isatty())
    with asyncio.Runner() as runner:
        scheduler = load(target, args, runner)
    errors = [issue for issue in validate_together(scheduler._graphs) if issue.level == "error"]
    if errors:
        raise CommandError(
            f"the graph is invalid, see meridian validate: {errors[0].code}: {errors[0].message}",
            code=Code.FAILED,
            extra={"issues": [issue._asdict() for issue in errors]},
        )
    made = declared(scheduler._graphs, scheduler._cfg, scheduler._bands, scheduler._capacities)
    text = (
        json.dumps(made.as_dict(), indent=None if compact else 2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    if file is None:
        out.write(text)
    else:
        write_file(file, text)
    return Code.OK


def show(name: str) -> Code:
    """Write a published schema; return the exit code."""
    return answer(None, False, lambda out: _show(name, out))


def _show(name: str, out: TextIO) -> Code:
    make = PUBLISHED.get(name)
    if make is None:
        near = difflib.get_close_matches(name, PUBLISHED, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PUBLISHED)}"
        raise CommandError(f"there is no schema {name!r}: {hint}")
    out.write(json.dumps(make(), indent=2, ensure_ascii=False) + "\n")
    return Code.OK
